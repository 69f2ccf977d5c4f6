package backtest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/history"
	"github.com/segmill/segmill/schemas"
)

const oldRules = `version: 1
segments:
  - {id: loyal, objective: o, owner: w, review_by: 2099-01-01, when: "count(purchase, days(30)) >= 3"}
  - {id: gone, objective: o, owner: w, review_by: 2099-01-01, when: did(web)}
triggers:
  - {id: silent, kind: inactivity, after: 20d}
`

const newRules = `version: 1
segments:
  - {id: loyal, objective: o, owner: w, review_by: 2099-01-01, when: "count(purchase, days(30)) >= 2"}
  - {id: fresh, objective: o, owner: w, review_by: 2099-01-01, when: count(purchase) == 1}
triggers:
  - {id: silent, kind: inactivity, after: 30d}
`

// compareFiles compares the rules over files, which hold the given texts.
func compareFiles(t *testing.T, opt Options, texts ...string) (*Diff, error) {
	t.Helper()
	var readers []*schemas.Reader
	var rules []Rules
	for _, text := range []string{oldRules, newRules} {
		e := fixture.NewEngine(t, text)
		r, err := schemas.NewReader(schemas.Config{Catalog: e.Catalog(), Layouts: e.Layout})
		if err != nil {
			t.Fatal(err)
		}
		readers, rules = append(readers, r), append(rules, Rules{Engine: e})
	}
	var sources []*history.Source
	for i, text := range texts {
		sources = append(sources, &history.Source{Name: fmt.Sprint("f", i), In: strings.NewReader(text)})
	}
	h := history.Open(t.Context(), sources, history.Options{Readers: readers})
	defer h.Close()
	return Compare(h, rules[0], rules[1], opt)
}

func defaults() Options {
	return Options{Zone: time.UTC, From: math.MinInt64, Until: engine.Never, Latest: math.MaxInt64, Grace: 2000, Bad: func(*history.Line, error) {}}
}

func jsonOf(t *testing.T, d *Diff) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteJSON(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// However a history is cut into files, the report is the same.
func TestFiles(t *testing.T) {
	for _, seed := range fixture.Seeds(t, 10) {
		r := rand.New(rand.NewPCG(seed, 0))
		files := make([]strings.Builder, 1+r.IntN(6))
		var whole strings.Builder
		at := engine.Millis(1_767_225_600_000)
		for i := range r.IntN(2000) {
			at += engine.Millis(1 + r.IntN(7_200_000))
			stream := []string{"web", "purchase"}[r.IntN(2)]
			line := fmt.Sprintf(`{"stream":%q,"event_id":"e%d","customer_id":"c%d","occurred_at":%q,"name":"page_viewed"}`+"\n", stream, i, r.IntN(50), at)
			whole.WriteString(line)
			files[r.IntN(len(files))].WriteString(line)
		}
		var texts []string
		for i := range files {
			texts = append(texts, files[i].String())
		}
		want, err := compareFiles(t, defaults(), whole.String())
		if err != nil {
			t.Fatal(err)
		}
		got, err := compareFiles(t, defaults(), texts...)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(jsonOf(t, want), jsonOf(t, got)); d != "" {
			t.Errorf("seed %d: %s", seed, d)
		}
	}
}

// Without examples, no customer is named.
func TestNoExamples(t *testing.T) {
	line := `{"stream":"purchase","event_id":"e","customer_id":"anna","occurred_at":"2026-01-01T00:00:00Z"}`
	opt := defaults()
	named, err := compareFiles(t, opt, line)
	if err != nil {
		t.Fatal(err)
	}
	opt.NoExamples = true
	unnamed, err := compareFiles(t, opt, line)
	if err != nil {
		t.Fatal(err)
	}
	with, without := jsonOf(t, named), jsonOf(t, unnamed)
	if !strings.Contains(with, "anna") || strings.Contains(without, "anna") || strings.Contains(strings.Join(unnamed.Lines(), "\n"), "anna") {
		t.Errorf("%s\n%s", with, without)
	}
}

// A file that cannot be read is an error and no report.
func TestUnreadable(t *testing.T) {
	e := fixture.NewEngine(t, oldRules)
	r, err := schemas.NewReader(schemas.Config{Catalog: e.Catalog(), Layouts: e.Layout})
	if err != nil {
		t.Fatal(err)
	}
	h := history.Open(t.Context(), []*history.Source{{Name: "f", In: iotest.ErrReader(errors.New("no disk"))}}, history.Options{Readers: []*schemas.Reader{r}})
	defer h.Close()
	if b, err := Run(h, Rules{Engine: e}, defaults()); err == nil || b != nil {
		t.Errorf("%v, %v", b, err)
	}
}

// Periods become longer when there would be too many, and nothing that was counted is lost.
func TestPeriods(t *testing.T) {
	day := engine.Millis(86_400_000)
	for _, c := range []struct {
		every Every
		span  engine.Millis
		want  string
		n     int
	}{
		{Auto, 0, "hour", 1},
		{Auto, 3*day - 1, "hour", 72},
		{Auto, 3 * day, "day", 4},
		{Auto, 400*day - 1, "day", 400},
		{Auto, 400 * day, "week", 58},
		{Hour, 80 * day, "hour", 1921},
		{Hour, 90 * day, "day", 91},
		{Day, 2500 * day, "week", 358},
		{Week, 36 * 366 * day, "week", 1883},
		{Day, 3 * day, "day", 4},
	} {
		for _, backwards := range []bool{false, true} {
			l := newTimeline(c.every, time.UTC, math.MinInt64)
			tally := l.tally()
			r := rand.New(rand.NewPCG(1, 2))
			instants := []engine.Millis{0, c.span}
			for range 100 {
				instants = append(instants, engine.Millis(r.Int64N(int64(c.span)+1)))
			}
			if slices.Sort(instants); backwards {
				slices.Reverse(instants)
			}
			for _, at := range instants {
				l.add(tally, at, 1, 0)
			}
			s, labels := l.series(tally), l.labels()
			if l.every.String() != c.want || len(labels) != c.n || s.up != len(instants) || s.Size[len(s.Size)-1] != len(instants) {
				t.Errorf("%v of %d days: %d periods of a %s, %d counted; want %d of a %s", c.every, c.span/day, len(labels), l.every, s.up, c.n, c.want)
			}
		}
	}
}

// What late events change at one instant of the clock is no difference, even if each of them
// changes a part of it.
func TestDifferenceOfNoTime(t *testing.T) {
	line := func(id, customer, at string) string {
		return fmt.Sprintf(`{"stream":"purchase","event_id":%q,"customer_id":%q,"occurred_at":%q}`+"\n", id, customer, at)
	}
	text := `{"stream":"email","event_id":"e1","customer_id":"other","occurred_at":"2026-01-02T00:00:02Z","action":"sent"}` + "\n" + // the clock is at midnight
		line("e2", "late", "2026-01-01T00:00:00Z") + line("e3", "late", "2026-01-01T00:00:01Z") + line("e4", "late", "2026-01-01T00:00:02Z")
	d, err := compareFiles(t, defaults(), text)
	if err != nil {
		t.Fatal(err)
	}
	for i := range d.Segments {
		if s := &d.Segments[i]; s.ID == "loyal" && (s.Both != 1 || s.Ever != 0 || len(s.Examples) > 0) {
			t.Errorf("%+v", s)
		}
	}
	if d.New.Late != 3 {
		t.Errorf("%d late", d.New.Late)
	}
}
