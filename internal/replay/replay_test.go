package replay

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/triggers"
)

const grace engine.Millis = 2000

const rules = `version: 1
segments:
  - {id: recent, objective: o, owner: w, review_by: 2099-01-01, when: "did(web, hours(1))"}
triggers:
  - {id: silent, kind: inactivity, after: 1d}
`

// newFile returns a replay that writes what it emits to the buffer, and bad lines
// too.
func newFile(t *testing.T, rules string) (*File, *bytes.Buffer) {
	t.Helper()
	zones := func(name string) (*time.Location, bool) {
		l, err := time.LoadLocation(name)
		return l, err == nil && name != ""
	}
	set, err := rule.Parse([]rule.File{{Name: "r.yaml", Data: []byte(rules)}}, schemas.Catalog(), triggers.Kinds(), zones)
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Compile(set.Spec, zones)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(p, triggers.New(p), engine.Options{Zones: zones})
	if err != nil {
		t.Fatal(err)
	}
	reader, err := schemas.NewReader(schemas.Config{Catalog: e.Catalog(), Layouts: e.Layout})
	if err != nil {
		t.Fatal(err)
	}
	out := &bytes.Buffer{}
	return &File{
		Runner: &Runner{Engine: e, Grace: grace, Emit: func(l []engine.Effect) {
			for i := range l {
				fmt.Fprintln(out, l[i].At, l[i].Customer, l[i].Action, l[i].Name)
			}
		}},
		Decoder: Decoder{Reader: reader}, Until: engine.Never, Latest: math.MaxInt64,
		Bad: func(line int, err error) { fmt.Fprintf(out, "%d: %v\n", line, err) },
	}, out
}

func web(id int, customer, at string) string {
	return fmt.Sprintf(`{"stream":"web","event_id":"w%d","customer_id":%q,"occurred_at":%q,"name":"page_viewed"}`, id, customer, at)
}

func lines(l ...string) *strings.Reader { return strings.NewReader(strings.Join(l, "\n")) }

func run(t *testing.T, f *File, l ...string) Counts {
	t.Helper()
	c, err := f.Run(lines(l...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestOrderOfTimers: what is due fires in the order of its instant and, at one
// instant, of the customer, before the event that made it due is passed.
func TestOrderOfTimers(t *testing.T) {
	f, out := newFile(t, rules)
	run(t, f,
		web(1, "b", "2026-01-01T10:00:00Z"), web(2, "c", "2026-01-01T10:00:00Z"), web(3, "a", "2026-01-01T10:00:00Z"),
		web(4, "d", "2026-01-01T10:00:01Z"), web(5, "e", "2026-01-01T11:00:02Z"),
		web(6, "b", "2026-01-01T11:00:02.999Z"), web(7, "e", "2026-01-01T11:00:03Z"))
	want := `2026-01-01T10:00:00.000Z b entered recent
2026-01-01T10:00:00.000Z c entered recent
2026-01-01T10:00:00.000Z a entered recent
2026-01-01T10:00:01.000Z d entered recent
2026-01-01T11:00:02.000Z e entered recent
2026-01-01T11:00:00.000Z a exited recent
2026-01-01T11:00:00.000Z b exited recent
2026-01-01T11:00:00.000Z c exited recent
2026-01-01T11:00:02.999Z b entered recent
2026-01-01T11:00:01.000Z d exited recent
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

// TestClock: while lines come the clock is grace behind; at the end it is turned
// to the greatest event time, or to Until.
func TestClock(t *testing.T) {
	input := []string{web(1, "a", "2026-01-01T10:00:00Z"), web(2, "b", "2026-01-01T11:00:01Z"), web(3, "c", "2026-01-01T10:59:00Z")}
	f, out := newFile(t, rules)
	run(t, f, input...)
	if got := out.String(); !strings.HasSuffix(got, "c entered recent\n2026-01-01T11:00:00.000Z a exited recent\n") {
		t.Errorf("without an end:\n%s", got)
	}

	f, out = newFile(t, rules)
	f.Until = millis(t, "2026-01-02T11:00:00.999Z")
	if c := run(t, f, append(input, web(4, "d", "2026-01-02T11:00:01Z"))...); c.Skipped != 1 || c.Lines != 4 {
		t.Errorf("counts %+v", c)
	}
	got := out.String()
	if !strings.HasSuffix(got, "2026-01-02T10:00:00.000Z a fired silent\n2026-01-02T10:59:00.000Z c fired silent\n") || strings.Contains(got, " d ") {
		t.Errorf("until:\n%s", got)
	}

	f, out = newFile(t, rules)
	f.Until = millis(t, "2026-01-02T00:00:00Z")
	if c := run(t, f); c != (Counts{}) || out.Len() > 0 {
		t.Errorf("an empty file: %+v\n%s", c, out)
	}
}

func millis(t *testing.T, s string) engine.Millis {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return engine.Millis(at.UnixMilli())
}

func TestLines(t *testing.T) {
	f, out := newFile(t, rules)
	f.Latest = millis(t, "2026-01-01T12:00:00Z")
	padding := strings.Repeat("x", maxLine)
	c := run(t, f,
		"\xef\xbb\xbf"+web(1, "a", "2026-01-01T10:00:00Z")+"\r",
		"", "  ",
		web(1, "a", "2026-01-01T10:00:00Z"),
		"null",
		`{"stream":"web","padding":"`+padding+`"}`,
		strings.Replace(web(2, "b", "2026-01-01T10:00:00Z"), "{", `{"padding":"`+padding[:maxLine-200]+`",`, 1),
		web(3, "c", "2026-01-01T12:00:00.001Z"),
		web(4, "d", "2026-01-01T12:00:00Z")) // without a newline
	if want := (Counts{Lines: 9, Bad: 3, Duplicates: 1}); c != want {
		t.Errorf("counts %+v, want %+v", c, want)
	}
	for _, want := range []string{
		"5: a file has no erasures: ", "6: 1048606 bytes long, more than 1048576\n",
		"8: occurred_at 2026-01-01T12:00:00.001Z is after 2026-01-01T12:00:00.000Z, the latest accepted: use --now",
		" a entered", " b entered", " d entered",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

type broken struct{ error }

func (b broken) Read([]byte) (int, error) { return 0, b.error }

// docs/semantics.md, 12.3: a line that is a batch of messages is as many events, as on a
// topic, in order of time, and each of them is bad or late by itself.
func TestBatchInALine(t *testing.T) {
	f, out := newFile(t, rules)
	f.Latest = millis(t, "2026-01-03T00:00:00Z")
	f.Until = millis(t, "2026-01-02T00:00:00Z")
	page := func(id, customer, at string) string {
		return fmt.Sprintf(`{"type":"page","messageId":%q,"userId":%q,"timestamp":%q}`, id, customer, at)
	}
	c := run(t, f,
		`{"sentAt":"2026-01-01T12:00:00Z","batch":[`+strings.Join([]string{
			page("m2", "b", "2026-01-01T10:00:01Z"), page("m1", "a", "2026-01-01T10:00:00Z"), page("m1", "a", "2026-01-01T10:00:00Z"),
			`{"type":"page","messageId":"m3","timestamp":"2026-01-01T10:00:00Z"}`, `{"type":"delete","messageId":"m4","userId":"a"}`,
			page("m5", "c", "2026-01-02T00:00:00.001Z"), page("m6", "d", "2026-01-03T00:00:00.001Z"),
			web(7, "e", "2026-01-01T10:00:02Z"),
		}, ",")+`]}`,
		web(8, "f", "2026-01-01T10:00:03Z"), `{"batch":[]}`, `{"batch":[{}]}`)
	if want := (Counts{Lines: 4, Bad: 4, Duplicates: 1, Skipped: 1}); c != want {
		t.Errorf("counts %+v, want %+v", c, want)
	}
	for _, want := range []string{
		"2026-01-01T10:00:00.000Z a entered recent\n2026-01-01T10:00:01.000Z b entered recent\n2026-01-01T10:00:02.000Z e entered recent\n",
		"1: occurred_at 2026-01-03T00:00:00.001Z is after", "f entered recent\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestReadFails(t *testing.T) {
	f, out := newFile(t, rules)
	if _, err := f.Run(broken{fmt.Errorf("no disk")}); err == nil || out.Len() > 0 {
		t.Errorf("error %v, output %s", err, out)
	}
}

// TestOneWakePerCustomer: events that move a customer's wake-up leave nothing
// behind in the due index.
func TestOneWakePerCustomer(t *testing.T) {
	f, _ := newFile(t, rules)
	at := millis(t, "2026-01-01T10:00:00Z")
	const customers = 10
	var all []string
	for i := range 5000 {
		all = append(all, web(i, fmt.Sprint("c", i%customers), (at+engine.Millis(i)*1000).String()))
	}
	run(t, f, all...)
	if n := f.Runner.due.Len(); n > customers || f.Runner.Customers() != customers {
		t.Errorf("%d wake-ups for %d customers", n, f.Runner.Customers())
	}
	for n := f.Runner.due.Len(); n > 0; n-- {
		c, at, _ := f.Runner.due.First()
		if at != c.Wake() || f.Runner.customers[c.ID] != c {
			t.Errorf("the wake-up of %s is at %s, its own is %s", c.ID, at, c.Wake())
		}
		f.Runner.due.Set(c, &c.place, engine.Never)
	}
}

// TestSameTwice: a file gives the same bytes each time, but for emitted_at.
func TestSameTwice(t *testing.T) {
	var all []string
	at := millis(t, "2026-01-01T10:00:00Z")
	for i := range 3000 {
		all = append(all, web(i, fmt.Sprint("c", i*i%97), (at+engine.Millis(i*7919%100_000_000)).String()))
	}
	replay := func(emitted engine.Millis) string {
		f, _ := newFile(t, rules)
		enc, err := schemas.NewEncoder(schemas.JSON, "replay", schemas.IDs{})
		if err != nil {
			t.Fatal(err)
		}
		var b []byte
		f.Runner.Emit = func(l []engine.Effect) {
			for i := range l {
				var o schemas.Output
				enc.Append(nil, &o, &l[i], emitted)
				b = append(append(b, o.Value...), '\n')
			}
		}
		run(t, f, all...)
		return string(b)
	}
	emitted := regexp.MustCompile(`"emitted_at":"[^"]*"`)
	one, two := replay(at), replay(at+1)
	if one == two || len(one) < 10_000 {
		t.Error("emitted_at is not in the output, or hardly anything is")
	}
	if emitted.ReplaceAllString(one, "") != emitted.ReplaceAllString(two, "") {
		t.Error("the second time it was different")
	}
}
