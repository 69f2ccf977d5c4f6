package schemas

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/encode"
	"github.com/segmill/segmill/schemas/registry"
	"github.com/segmill/segmill/schemas/scalar"
)

// topics are the input topics of all tests.
var topics = map[string]plan.Stream{
	"events.web": plan.Web, "events.email": plan.Email,
	"events.purchase": plan.Purchase, "events.profile": plan.Profile, "events.consent": plan.Consent,
}

func topicOf(s plan.Stream) string { return "events." + s.String() }

// mapKeys are the keys of the free-form maps that tests read.
var mapKeys = []string{"plan", "tier"}

// allLayouts reads everything of every stream.
var allLayouts = sync.OnceValue(func() map[plan.Stream]*plan.Layout {
	m := map[plan.Stream]*plan.Layout{}
	for s, fields := range Catalog().Fields {
		l := &plan.Layout{Stream: plan.Stream(s)}
		for _, f := range fields {
			if !f.Type.Map {
				l.Paths = append(l.Paths, f.Name)
				continue
			}
			for _, k := range mapKeys {
				l.Paths = append(l.Paths, f.Name+"."+k)
			}
		}
		slices.Sort(l.Paths)
		m[plan.Stream(s)] = l
	}
	return m
})

// fakeRegistry is a registry in memory.
type fakeRegistry struct {
	mu       sync.Mutex
	texts    map[int]string
	subjects map[int][]string
	err      error
	calls    int
}

func (r *fakeRegistry) Schema(_ context.Context, id int) (string, []string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if r.err != nil {
		return "", nil, r.err
	}
	text, ok := r.texts[id]
	if !ok {
		return "", nil, registry.ErrUnknown
	}
	return text, r.subjects[id], nil
}

// ownRegistry has our input schemas under the ids 1 to 5, in the order of streams.
func ownRegistry(t testing.TB) *fakeRegistry {
	r := &fakeRegistry{texts: map[int]string{}}
	for s := range plan.NumBuiltin {
		r.texts[int(s)+1] = mustText(t, InputName(s))
	}
	return r
}

var ownIDs = [plan.NumBuiltin]int{1, 2, 3, 4, 5}

func mustText(t testing.TB, name string) string {
	t.Helper()
	text, err := Text(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// ancient are settings that believe every time.
var ancient = func() map[string]*Settings {
	m := map[string]*Settings{"": {Earliest: scalar.MinInstant}}
	for topic := range topics {
		m[topic] = m[""]
	}
	return m
}()

// readerOf returns a reader of the given paths, which believes every time; nil reads
// everything.
func readerOf(t testing.TB, reg registry.Source, paths map[plan.Stream][]string) *Reader {
	t.Helper()
	all := allLayouts()
	r, err := NewReader(Config{
		Layouts: func(s plan.Stream) *plan.Layout {
			if paths == nil {
				return all[s]
			}
			return &plan.Layout{Stream: s, Paths: paths[s]}
		},
		Topics:   topics,
		Settings: ancient,
		Registry: reg,
		Zones:    func(name string) bool { return name == "Europe/Berlin" || name == "UTC" },
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// values returns the present fields of an event by path.
func values(ev *engine.Event) map[string]expr.Value {
	m := map[string]expr.Value{}
	for i, p := range allLayouts()[ev.Stream].Paths {
		if ev.Fields[i].Present() {
			m[p] = ev.Fields[i]
		}
	}
	return m
}

// text returns an event as text, for comparing and for messages.
func text(ev *engine.Event) string {
	s := fmt.Sprintf("%v %q %q %q %v", ev.Stream, ev.Customer, ev.ID, ev.Source, ev.At)
	for i, p := range allLayouts()[ev.Stream].Paths {
		if v := ev.Fields[i]; v.Present() {
			s += fmt.Sprintf("\n  %s = %d %s", p, v.K, v)
		}
	}
	return s
}

// wantBad checks that err is bad input with that cause and field.
func wantBad(t *testing.T, err error, cause bad.Cause, field string) {
	t.Helper()
	var e *bad.Input
	if !errors.As(err, &e) {
		t.Errorf("error %v, want bad input (%s) in %q", err, cause, field)
		return
	}
	if e.Cause != cause || e.Field != field {
		t.Errorf("error %v, want cause %s and field %q", e, cause, field)
	}
	if e.Detail == "" || len(e.Error()) > 400 {
		t.Errorf("error text %q", e.Error())
	}
}

func encoderOf(t testing.TB, f encode.Format) *encode.Encoder {
	t.Helper()
	e, err := NewEncoder(f, "shop", encode.IDs{Change: 6, Trigger: 7})
	if err != nil {
		t.Fatal(err)
	}
	return e
}
