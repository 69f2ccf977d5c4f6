package history

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/schemas"
)

const rules = `version: 1
segments:
  - {id: bought, objective: o, owner: w, review_by: 2099-01-01, when: did(purchase)}
`

func reader(t *testing.T, text string) *schemas.Reader {
	t.Helper()
	e := fixture.NewEngine(t, text)
	r, err := schemas.NewReader(schemas.Config{Catalog: e.Catalog(), Layouts: e.Layout, Reading: e.Plan().Spec.Reading})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func purchase(id string, at engine.Millis) string {
	return fmt.Sprintf(`{"stream":"purchase","event_id":%q,"customer_id":"c","occurred_at":%q}`, id, at)
}

// all reads a history to its end or to its first error: the names and numbers of the lines.
func all(t *testing.T, opt Options, sources ...*Source) (l []string, err error) {
	t.Helper()
	h := Open(t.Context(), sources, opt)
	defer h.Close()
	for {
		line, err := h.Next()
		if errors.Is(err, io.EOF) {
			return l, nil
		}
		if err != nil {
			return l, err
		}
		l = append(l, fmt.Sprint(line.Source.Name, line.Number))
	}
}

const start engine.Millis = 1_767_225_600_000

// The lines of a file stay in their order, those of several files come in that of time, and
// equal ones in that of the files.
func TestOrder(t *testing.T) {
	source := func(name string, at ...engine.Millis) *Source {
		var b strings.Builder
		for i, t := range at {
			if t < 0 {
				b.WriteString("no event\n")
				continue
			}
			b.WriteString(purchase(fmt.Sprint(name, i), start+t) + "\n")
		}
		return &Source{Name: name, In: strings.NewReader(b.String())}
	}
	for _, c := range []struct {
		sources []*Source
		want    string
	}{
		{[]*Source{source("a", 1, 3), source("b", 2, 4)}, "a1 b1 a2 b2"},
		{[]*Source{source("a", 5, 1, 6), source("b", 2, 7)}, "b1 a1 a2 a3 b2"}, // a late one
		{[]*Source{source("a", 1), source("b", 1), source("c", 1)}, "a1 b1 c1"},
		{[]*Source{source("a", 1, -1, 9), source("b", 2), source("c")}, "a1 a2 b1 a3"},
		{[]*Source{source("a"), source("b")}, ""},
		{[]*Source{source("jan", 1, 2, 3), source("feb", 4, 5)}, "jan1 jan2 jan3 feb1 feb2"},
	} {
		got, err := all(t, Options{Readers: []*schemas.Reader{reader(t, rules)}}, c.sources...)
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("got %q, %v, want %s", got, err, c.want)
		}
	}
}

// Of sorted files of any length, every line comes once, in the order of time.
func TestSortedFiles(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		var sources []*Source
		lines, at := 0, map[string]engine.Millis{}
		for i := range 1 + r.IntN(40) {
			name, now := fmt.Sprint("f", i, "/"), start
			var b strings.Builder
			n := r.IntN(pick(r, 3, 30, 3000))
			for k := range n {
				now += engine.Millis(r.IntN(1000))
				b.WriteString(purchase(fmt.Sprint(name, k), now) + "\n")
				at[fmt.Sprint(name, k+1)] = now
			}
			lines += n
			sources = append(sources, &Source{Name: name, In: strings.NewReader(b.String())})
		}
		got, err := all(t, Options{Readers: []*schemas.Reader{reader(t, rules)}}, sources...)
		if err != nil || len(got) != lines {
			t.Fatalf("seed %d: %d of %d lines, %v", seed, len(got), lines, err)
		}
		if !slices.IsSortedFunc(got, func(a, b string) int { return int(at[a] - at[b]) }) {
			t.Errorf("seed %d: out of order", seed)
		}
		slices.Sort(got)
		if len(slices.Compact(got)) != lines {
			t.Errorf("seed %d: lines came twice", seed)
		}
	}
}

func pick[T any](r *rand.Rand, l ...T) T { return l[r.IntN(len(l))] }

// A line is read under each rule set.
func TestTwoRuleSets(t *testing.T) {
	line := strings.Replace(purchase("a", start), "{", `{"currency":"USD","revenue":"10",`, 1)
	money := func(rate string) string {
		return "version: 1\ndefaults: {currency: EUR}\nreadings: {rates: {USD: " + rate + "}}\nsegments:\n" +
			"  - {id: paid, objective: o, owner: w, review_by: 2099-01-01, when: sum(purchase.revenue) > 1}\n"
	}
	h := Open(t.Context(), []*Source{{Name: "a", In: strings.NewReader(line)}}, Options{Readers: []*schemas.Reader{reader(t, money("0.5")), reader(t, money("2"))}})
	defer h.Close()
	got, err := h.Next()
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for i := range got.Read {
		for _, v := range got.Read[i].Events[0].Fields {
			values = append(values, v.String())
		}
	}
	if len(got.Read) != 2 || !slices.Contains(values, "5.00") || !slices.Contains(values, "20.00") {
		t.Errorf("%q", values)
	}
}

// What cannot be read is an error with the name of the file, behind what could be read
// before it; whoever stops early leaves nothing running.
func TestErrors(t *testing.T) {
	opt := Options{Readers: []*schemas.Reader{reader(t, rules)}}
	good := func() *Source { return &Source{Name: "good", In: strings.NewReader(purchase("a", start))} }
	broken := io.MultiReader(strings.NewReader(purchase("b", start+1)+"\n"), iotest.ErrReader(errors.New("no disk")))
	for want, in := range map[string]io.Reader{
		"bad: no disk":            broken,
		"bad: the array does not": strings.NewReader("[" + purchase("b", start+1)),
		"bad: gzip: ":             strings.NewReader("\x1f\x8bno"),
	} {
		_, err := all(t, opt, good(), &Source{Name: "bad", In: in})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	endless := &Source{Name: "endless", In: endless{}}
	h := Open(ctx, []*Source{good(), endless}, opt)
	for range 10_000 {
		if _, err := h.Next(); err != nil {
			t.Fatal(err)
		}
	}
	h.Close()
	h = Open(ctx, []*Source{endless}, opt)
	stop()
	for {
		if _, err := h.Next(); err != nil {
			if !strings.Contains(err.Error(), "context canceled") {
				t.Error(err)
			}
			break
		}
	}
	h.Close()
}

// endless is a file that never ends.
type endless struct{}

// Read is part of io.Reader.
func (endless) Read(p []byte) (int, error) { return copy(p, "{}\n"), nil }
