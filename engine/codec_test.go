package engine_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/triggers"
)

var update = flag.Bool("update", false, "write the golden files")

const codecRules = `
version: 1
segments:
  - {id: all, objective: test, owner: test, review_by: 2030-01-01, when: "count(purchase) == 0 || count(purchase) > 0"}
  - {id: some, objective: test, owner: test, review_by: 2030-01-01, when: "count(purchase, days(30)) >= 2 && sum(purchase.revenue, days(60)) > 10"}
  - {id: many, objective: test, owner: test, review_by: 2030-01-01, when: "distinct(web.url) > 1 || distinct(web.url, days(3)) > 0 || min(purchase.revenue) < 1 || max(purchase.revenue) > 1 || avg(purchase.revenue) > 3"}
  - {id: who, objective: test, owner: test, review_by: 2030-01-01, when: "age(profile.birth_date) > 30 && profile.country == 'FR' && consented('email') && first(web) < last(web)"}
triggers:
  - {id: cart, kind: abandoned_cart}
  - {id: silent, kind: inactivity, after: 10d}
  - {id: birthday, kind: anniversary, date: profile.birth_date}
  - {id: big, kind: rule, when: last(purchase.revenue) > 100}
`

func testEngine(t testing.TB, text string) *engine.Engine {
	t.Helper()
	var files []rule.File // of at most a megabyte each
	for head, rest := "", text; rest != ""; {
		n := min(len(rest), rule.MaxFileSize/2)
		if n < len(rest) {
			n = strings.LastIndex(rest[:n], "\n") + 1
		}
		files = append(files, rule.File{Name: fmt.Sprintf("test%d.yaml", len(files)), Data: []byte(head + rest[:n])})
		head, rest = "version: 1\nsegments:\n", rest[n:]
	}
	known := map[string]*time.Location{}
	zones := func(name string) (*time.Location, bool) {
		if l, ok := known[name]; ok {
			return l, true
		}
		l, err := time.LoadLocation(name)
		if err == nil {
			known[name] = l
		}
		return l, err == nil
	}
	set, err := rule.Parse(files, schemas.Catalog(), triggers.Kinds(), zones)
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
	return e
}

// history gives a customer something of everything.
func history(t testing.TB, e *engine.Engine, c *engine.Customer) {
	t.Helper()
	r, err := schemas.NewReader(schemas.Config{Layouts: e.Layout})
	if err != nil {
		t.Fatal(err)
	}
	x := e.Evaluator()
	var out engine.Output
	for _, line := range []string{
		`{"stream":"profile","event_id":"p1","customer_id":"c","occurred_at":"2026-01-01T00:00:00Z","birth_date":"1980-02-29","country":"FR","time_zone":"Europe/Paris"}`,
		`{"stream":"consent","event_id":"k1","customer_id":"c","occurred_at":"2026-01-01T00:00:01Z","channel":"email","state":"granted"}`,
		`{"stream":"web","event_id":"w1","customer_id":"c","occurred_at":"2026-01-02T10:00:00Z","name":"page_viewed","url":"/a"}`,
		`{"stream":"web","event_id":"w2","customer_id":"c","occurred_at":"2026-01-02T10:05:00Z","name":"product_added","url":"/b","currency":"EUR","items":[{"product_id":"p","quantity":2,"price":"9.99"}]}`,
		`{"stream":"purchase","event_id":"b1","customer_id":"c","occurred_at":"2026-01-04T00:00:00Z","revenue":"12.50"}`,
		`{"stream":"purchase","event_id":"b2","customer_id":"c","occurred_at":"2026-01-20T00:00:00Z","revenue":"250"}`,
		`{"stream":"web","event_id":"w3","customer_id":"c","occurred_at":"2026-03-02T10:05:00Z","name":"product_added","items":[{"product_id":"q"}]}`,
	} {
		var ev engine.Event
		if _, err := r.ReadJSONLine([]byte(line), &ev, nil); err != nil {
			t.Fatal(err)
		}
		x.Apply(c, &ev, ev.At-2000, &out)
	}
}

// Bytes of every version of the format are kept in testdata and must stay
// readable: each gives the same customer.
func TestCustomerGolden(t *testing.T) {
	t.Run("customer", func(t *testing.T) { golden(t, "customer", codecRules, history) })
	t.Run("coarse", func(t *testing.T) { golden(t, "coarse", coarseRules, coarseHistory) })
}

// goldenChange is the change that has brought customers over in versions 4 and 6.
const goldenChange = 7

func golden(t *testing.T, name, rules string, make func(testing.TB, *engine.Engine, *engine.Customer)) {
	const versions = 6
	e := testEngine(t, rules)
	c := e.NewCustomer("c")
	make(t, e, c)
	got := e.Append(nil, c)
	c.SetBrought(goldenChange)
	brought := e.Append(nil, c)
	c.SetBrought(0)
	c.ForgetIDs()
	bare := e.Append(nil, c)
	newest := map[string][]byte{}
	for _, b := range [][]byte{got, brought} {
		newest[filepath.Join("testdata", fmt.Sprintf("%s-v%d.bin", name, b[0]))] = b
	}
	for file, b := range newest {
		if !*update {
			break
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob("testdata/" + name + "-v*.bin")
	if err != nil || len(files) != versions {
		t.Fatalf("%d files of %d versions (%v)", len(files), versions, err)
	}
	for _, file := range files {
		old, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if b, ok := newest[file]; ok && !bytes.Equal(b, old) {
			t.Errorf("the bytes of a customer changed: a new format needs a new version and its own golden file\n got %x\nwant %x", b, old)
		}
		d, err := e.Decode("c", old)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if isBrought := old[0] == 4 || old[0] == 6; isBrought != (d.Brought() == goldenChange) {
			t.Errorf("%s: brought over by change %d", file, d.Brought())
		}
		d.SetBrought(0)
		want := got
		if old[0] < 3 { // their event ids have no stream
			d.ForgetIDs()
			want = bare
		}
		if again := e.Append(nil, d); !bytes.Equal(again, want) {
			t.Errorf("%s, read and written again:\n got %x\nwant %x", file, again, want)
		}
		if wake, err := engine.WakeOf(old); err != nil || wake != c.Wake() || wake != d.Wake() || wake == engine.Never {
			t.Errorf("%s: wake in the head %v, %v; in the customer %v", file, wake, err, c.Wake())
		}
	}
}

const coarseRules = `
version: 1
segments:
  - {id: s, objective: t, owner: t, review_by: 2030-01-01, when: "count(purchase, days(365)) > 10 && sum(purchase.revenue, days(365)) > 10"}
`

// coarseHistory gives a customer lists that are past their cap.
func coarseHistory(t testing.TB, e *engine.Engine, c *engine.Customer) {
	t.Helper()
	fields := make([]expr.Value, len(e.Layout(plan.Purchase).Paths))
	fields[e.Layout(plan.Purchase).Slot("kind")] = expr.StringValue("completed")
	ev := engine.Event{Stream: plan.Purchase, Customer: "c", Source: "/unknown", At: 1_700_000_000_000, Fields: fields}
	x := e.Evaluator()
	var out engine.Output
	for i := range aggregate.MaxEntries + 10 {
		ev.ID, ev.At = fmt.Sprint(i), ev.At+86_400_000/20
		fields[e.Layout(plan.Purchase).Slot("revenue")] = expr.DecimalValue(int64(1_2345 * (i%7 - 1)))
		x.Apply(c, &ev, ev.At, &out)
	}
}

// A list that passes its cap says so.
func TestCoarseningIsCounted(t *testing.T) {
	e := testEngine(t, `
version: 1
segments:
  - {id: s, objective: t, owner: t, review_by: 2030-01-01, when: "count(purchase, days(365)) > 10"}
`)
	c := e.NewCustomer("c")
	x := e.Evaluator()
	var out engine.Output
	ev := engine.Event{
		Stream: plan.Purchase, Customer: "c", Source: "/unknown", At: 1_700_000_000_000,
		Fields: []expr.Value{expr.StringValue("completed")},
	}
	for i := range 2*aggregate.MaxEntries + 1 {
		ev.ID, ev.At = fmt.Sprint(i), ev.At+1000
		x.Apply(c, &ev, ev.At, &out)
		if want := 0; i < aggregate.MaxEntries && out.Stats.Coarsened != want {
			t.Fatalf("%d lists are coarse after %d events", out.Stats.Coarsened, i+1)
		}
	}
	if out.Stats.Coarsened != 1 {
		t.Errorf("%d lists became coarse, not 1", out.Stats.Coarsened)
	}
}

// A customer whose lists pass the size limit is made smaller, and stays readable.
func TestGiantCustomerIsCoarsened(t *testing.T) {
	text := "version: 1\nsegments:\n"
	for i := range 25 {
		text += "  - {id: s" + string(rune('a'+i/26)) + string(rune('a'+i%26)) + ", objective: t, owner: t, review_by: 2030-01-01, when: \"sum(purchase.revenue, purchase.total != " +
			expr.IntValue(int64(i)).String() + ".5, days(365)) > 10\"}\n"
	}
	e := testEngine(t, text)
	r, err := schemas.NewReader(schemas.Config{Layouts: e.Layout})
	if err != nil {
		t.Fatal(err)
	}
	c := e.NewCustomer("c")
	x := e.Evaluator()
	var out engine.Output
	var ev engine.Event
	line := []byte(`{"stream":"purchase","event_id":"b1","customer_id":"c","occurred_at":"2026-01-04T00:00:00Z","revenue":"123456.78","total":"1.25"}`)
	if _, err := r.ReadJSONLine(line, &ev, nil); err != nil {
		t.Fatal(err)
	}
	const n = 4000
	for i := range n {
		ev.ID = "e" + expr.IntValue(int64(i)).String()
		ev.At += 60_123
		x.Apply(c, &ev, ev.At, &out)
	}
	b := e.Append(nil, c)
	if len(b) > engine.MaxCustomerBytes {
		t.Fatalf("%d bytes", len(b))
	}
	d, err := e.Decode("c", b)
	if err != nil {
		t.Fatal(err)
	}
	if again := e.Append(nil, d); !bytes.Equal(again, b) {
		t.Error("read and written again, the bytes differ")
	}
	if got := e.Memberships(d); len(got) != 25 {
		t.Errorf("member of %d segments, not 25", len(got))
	}
}

func FuzzDecode(f *testing.F) {
	e := testEngine(f, codecRules)
	c := e.NewCustomer("c")
	f.Add(e.Append(nil, c))
	history(f, e, c)
	f.Add(e.Append(nil, c))
	files, err := filepath.Glob("testdata/customer-v*.bin")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := e.Decode("c", b)
		if err != nil {
			return
		}
		var out engine.Output
		e.Evaluator().Advance(d, 2_000_000_000_000, &out)
		if _, err := e.Decode("c", e.Append(nil, d)); err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
	})
}

// Bytes that a later version has written are said to be that, with what to do about it.
func TestLaterFormat(t *testing.T) {
	e := testEngine(t, "version: 1")
	b := e.Append(nil, e.NewCustomer("c"))
	b[0] = 7
	const want = "its format is 7, and this version reads 1 to 6: use the version that wrote it, or a later one"
	if _, err := e.Decode("c", b); !errors.Is(err, engine.ErrFormat) || !strings.Contains(err.Error(), want) {
		t.Error(err)
	}
	if _, err := engine.WakeOf(b[:1]); !errors.Is(err, engine.ErrFormat) || !strings.Contains(err.Error(), want) {
		t.Error(err)
	}
}
