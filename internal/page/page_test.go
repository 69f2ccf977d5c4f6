package page

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/segmill/segmill/internal/backtest"
)

// evil is text that would be markup where it is not written as text.
const evil = `"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;{{.}}`

func frame(n int) backtest.Frame {
	until := "2026-02-01T00:00:00.000Z"
	f := backtest.Frame{Until: &until, Every: "day", Timezone: evil}
	for i := range n {
		f.Periods = append(f.Periods, fmt.Sprintf("2026-%03d", i))
	}
	return f
}

func squares(n int) (l []int) {
	for i := range n {
		l = append(l, i*i%17)
	}
	return l
}

func sizesOf(n int) *backtest.Sizes {
	return &backtest.Sizes{Size: 3, Share: 0.125, Entered: 4, Exited: 1, OverTime: backtest.SizesOverTime{Size: squares(n), Entered: squares(n), Exited: squares(n)}}
}

func firings(n int) *backtest.Firings {
	return &backtest.Firings{Fired: 7, OverTime: backtest.FiringsOverTime{Fired: squares(n)}}
}

func diff(n int) *backtest.Diff {
	d := &backtest.Diff{Frame: frame(n), Old: backtest.Input{Rules: []string{"old" + evil}, Lines: 9}, New: backtest.Input{Rules: []string{"new" + evil}, Lines: 10, Customers: 1}}
	text := evil
	d.Reading = []backtest.ReadingChange{{Name: evil, Old: &text}}
	only := backtest.OnlyOverTime{OnlyOld: squares(n), OnlyNew: squares(n)}
	for _, c := range []backtest.Change{backtest.Changed, backtest.Added, backtest.Removed, backtest.Affected, backtest.Unchanged} {
		s := backtest.SegmentDiff{
			ID: string(c) + evil, Change: c, OldWhen: evil, NewWhen: "new " + evil, Old: sizesOf(n), New: sizesOf(n), Ever: 2, OverTime: only,
			Examples: []backtest.Example{
				{Customer: evil, In: "old", Since: "a", Until: &text, Old: map[string]string{evil: evil}},
				{Customer: "c", In: "new", Since: "a", Old: map[string]string{"a": ""}, New: map[string]string{"a": "1"}},
			},
		}
		x := backtest.TriggerDiff{ID: s.ID, Kind: evil, Change: c, OldWhen: evil, Old: firings(n), New: firings(n), Examples: []backtest.Instant{{Customer: evil, In: "new", At: "a", Why: evil}}}
		switch c {
		case backtest.Added:
			s.Old, x.Old = nil, nil
		case backtest.Removed:
			s.New, x.New = nil, nil
		default:
		}
		d.Segments, d.Triggers = append(d.Segments, s), append(d.Triggers, x)
	}
	return d
}

func backtestOf(n int) *backtest.Backtest {
	return &backtest.Backtest{
		Frame: frame(n), Input: backtest.Input{Rules: []string{evil}, Bad: 1},
		Segments: []backtest.Segment{{ID: evil, Expected: evil, Sizes: *sizesOf(n)}, {ID: "none"}},
		Triggers: []backtest.Trigger{{ID: evil, Kind: evil, Firings: *firings(n)}},
	}
}

// pages are pages of reports of all shapes.
func pages(t *testing.T) map[string]string {
	t.Helper()
	m := map[string]string{}
	for _, n := range []int{0, 1, 2, 5, 400, 2000} {
		for name, write := range map[string]func(io.Writer) error{
			"diff":     func(w io.Writer) error { return Diff(w, diff(n)) },
			"backtest": func(w io.Writer) error { return Backtest(w, backtestOf(n)) },
		} {
			var b strings.Builder
			if err := write(&b); err != nil {
				t.Fatalf("%s of %d periods: %v", name, n, err)
			}
			m[fmt.Sprint(name, n)] = b.String()
		}
	}
	var b strings.Builder
	if err := Diff(&b, &backtest.Diff{}); err != nil {
		t.Fatal(err)
	}
	m["empty"] = b.String()
	return m
}

// A page is well-formed, has no script, and asks for nothing: every reference is one to a
// place on the page itself.
func TestSelfContained(t *testing.T) {
	for name, text := range pages(t) {
		ids, links := map[string]bool{}, []string{}
		d := xml.NewDecoder(strings.NewReader(text))
		d.Entity = xml.HTMLEntity
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			e, ok := token.(xml.StartElement)
			if !ok {
				continue
			}
			if e.Name.Local == "script" || e.Name.Local == "img" || e.Name.Local == "link" || e.Name.Local == "iframe" {
				t.Errorf("%s has a %s", name, e.Name.Local)
			}
			for _, a := range e.Attr {
				switch a.Name.Local {
				case "id":
					ids[a.Value] = true
				case "href":
					links = append(links, a.Value)
				case "src", "srcset", "style", "action", "data", "poster":
					t.Errorf("%s: %s has %s", name, e.Name.Local, a.Name.Local)
				}
				if strings.HasPrefix(a.Name.Local, "on") {
					t.Errorf("%s: %s has %s", name, e.Name.Local, a.Name.Local)
				}
			}
		}
		for _, l := range links {
			if place, err := url.PathUnescape(l); err != nil || !strings.HasPrefix(l, "#") || !ids[strings.TrimPrefix(place, "#")] {
				t.Errorf("%s has a link to %s", name, l)
			}
		}
		if strings.Contains(text, "url(") || strings.Contains(text, "@import") || strings.Contains(text, "ZgotmplZ") || strings.Contains(text, "NaN") {
			t.Errorf("%s has a reference in its style, or something that was filtered out", name)
		}
	}
}

// Texts are shown as they are.
func TestTextsAreShown(t *testing.T) {
	d := xml.NewDecoder(strings.NewReader(pages(t)["diff5"]))
	d.Entity = xml.HTMLEntity
	var shown strings.Builder
	for {
		token, err := d.Token()
		if err != nil {
			break
		}
		if c, ok := token.(xml.CharData); ok {
			shown.Write(c)
		}
	}
	for _, want := range []string{evil, "old: a = absent", "new: a = 1", "12.5 %", "4 → 4", "– → 4", "4 → –"} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("%q is not shown", want)
		}
	}
}

// Every mark of a chart is within it.
func TestCharts(t *testing.T) {
	for _, n := range []int{1, 2, 3, 119, 120, 121, 2000} {
		f := frame(n)
		for _, c := range []chart{
			sizes("a", f.Periods, series{"old", "old", squares(n)}, series{"new", "new", squares(n)}),
			flow("b", f.Periods, [2][]int{squares(n), squares(n)}, [2][]int{squares(n), squares(n)}),
			flow("b", f.Periods, [2][]int{}, [2][]int{squares(n), squares(n)}),
			counts("c", f.Periods, series{"new", "new", make([]int, n)}),
		} {
			if len(c.Hits) == 0 || len(c.Hits) > mostBins {
				t.Errorf("%d periods: %d places", n, len(c.Hits))
			}
			for _, r := range append(c.Bars, c.Hits...) {
				var x, y, w, h float64
				if _, err := fmt.Sscan(r.X, &x); err != nil {
					t.Fatal(err)
				}
				_, _ = fmt.Sscan(r.Y+" "+r.Width+" "+r.Height, &y, &w, &h)
				if x < left-1 || y < top-1 || w < 0 || h < 0 || x+w > chartWidth-right+1 || y+h > chartHeight-bottom+1 {
					t.Errorf("%d periods: %+v is outside", n, r)
				}
			}
		}
	}
	for n, want := range map[int]int{0: 0, 1: 1, 5: 6, 9: 10, 11: 20, 239: 300, 4496: 6000} {
		if got := nice(n); got != want {
			t.Errorf("nice(%d) = %d, want %d", n, got, want)
		}
	}
}

// Of very many rules, those that most became of are drawn, and the others are in the table.
func TestManyRules(t *testing.T) {
	b := &backtest.Backtest{Frame: frame(2)}
	for i := range 3 * mostRules {
		s := backtest.Segment{ID: fmt.Sprint("s", i), Sizes: *sizesOf(2)}
		s.Entered = i
		b.Segments = append(b.Segments, s)
	}
	s := segments(b)
	if len(s.Rules) != mostRules || s.Rules[0].ID != "s200" || len(s.Table.Rows) != 300 || s.More != "200 more are in the table only." {
		t.Errorf("%d drawn, the first is %s; %d rows; %s", len(s.Rules), s.Rules[0].ID, len(s.Table.Rows), s.More)
	}
}
