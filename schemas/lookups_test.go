package schemas

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/encode"
	"github.com/segmill/segmill/schemas/registry"
)

// asking is a reader whose look-ups run beside it, by a clock that does not move while
// they do.
type asking struct {
	*Reader
	t       testing.TB
	mu      sync.Mutex
	at      time.Time
	lookups sync.WaitGroup
}

func askingOf(t testing.TB, reg registry.Source) *asking {
	t.Helper()
	a := &asking{t: t, at: time.UnixMilli(1_700_000_000_000)}
	all := allLayouts()
	var err error
	a.Reader, err = NewReader(Config{
		Layouts: func(s plan.Stream) *plan.Layout { return all[s] }, Topics: topics, Registry: reg,
		Now: a.now, Go: func(lookup func()) { a.lookups.Go(lookup) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *asking) now() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at
}

// pass lets time pass, once all look-ups are done.
func (a *asking) pass(d time.Duration) {
	a.lookups.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at = a.at.Add(d)
}

// goodValue is a web event in Avro.
var goodValue = sync.OnceValue(func() []byte {
	b, err := NewEventEncoder(encode.Avro, [plan.NumBuiltin]int{}).Append(nil, plan.Web, map[string]any{
		"event_id": "e", "customer_id": "c", "occurred_at": time.UnixMilli(1_700_000_000_000), "name": "page_viewed",
	})
	if err != nil {
		panic(err)
	}
	return b
})

// record returns a good record of web events with the schema id, which comes now.
func (a *asking) record(id int) *Record {
	a.t.Helper()
	b := slices.Clone(goodValue())
	binary.BigEndian.PutUint32(b[1:], uint32(id))
	return &Record{Topic: "events.web", Value: b, Came: a.now()}
}

// read reads a record again and again until it no longer waits or limit has passed. It
// returns what came of it, and after how long.
func (a *asking) read(rec *Record, limit time.Duration) (took time.Duration, err error) {
	a.t.Helper()
	start := a.now()
	for {
		var ev engine.Event
		_, err = a.Read(rec, &ev)
		took = a.now().Sub(start)
		if !errors.Is(err, registry.ErrWaiting) || took >= limit {
			return took, err
		}
		a.pass(10 * time.Millisecond)
	}
}

// fifty checks that fifty good records, which come one after the other, are all read.
func (a *asking) fifty(id int) {
	a.t.Helper()
	for i := range 50 {
		if took, err := a.read(a.record(id), 10*time.Second); err != nil || took > 3*time.Second {
			a.t.Fatalf("record %d of 50: %v, after %v", i, err, took)
		}
		a.pass(time.Millisecond)
	}
}

// changing is a registry that tests change while it is asked.
type changing struct {
	fakeRegistry
	lag map[int]time.Time // until when an id is not known here
	now func() time.Time
}

func (r *changing) Schema(ctx context.Context, id int) (string, []string, error) {
	r.mu.Lock()
	hidden := r.now != nil && r.now().Before(r.lag[id])
	r.mu.Unlock()
	if hidden {
		return "", nil, registry.ErrUnknown
	}
	return r.fakeRegistry.Schema(ctx, id)
}

func (r *changing) register(text string, id int, subjects ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts[id], r.subjects[id] = text, subjects
}

func newChanging() *changing {
	return &changing{fakeRegistry: fakeRegistry{texts: map[int]string{}, subjects: map[int][]string{}}, lag: map[int]time.Time{}}
}

const ours, others = "events.web-value", "staging-value"

// An id that was looked up before it existed is good from the moment that it exists,
// also where a replica of the registry hears of it late.
func TestIDBeforeItExists(t *testing.T) {
	for _, lag := range []time.Duration{0, 2 * time.Second} {
		reg := newChanging()
		a := askingOf(t, reg)
		reg.now = a.now
		took, err := a.read(a.record(3), time.Minute)
		wantBad(t, err, bad.Schema, "")
		if took < time.Second || took > 3*time.Second+time.Second {
			t.Errorf("an unknown id was judged after %v", took)
		}
		a.pass(time.Millisecond)
		reg.lag[3] = a.now().Add(lag)
		reg.register(mustText(t, "web_event"), 3, ours)
		a.fifty(3)
	}
}

// An id that a replica does not know yet when its first record comes is waited for.
func TestLaggingReplica(t *testing.T) {
	reg := newChanging()
	a := askingOf(t, reg)
	reg.now, reg.lag[3] = a.now, a.now().Add(2500*time.Millisecond)
	reg.register(mustText(t, "web_event"), 3, ours)
	a.fifty(3)
}

// A schema that was read before it was registered for an input is good once it is.
func TestSubjectAddedLater(t *testing.T) {
	reg := newChanging()
	a := askingOf(t, reg)
	reg.register(mustText(t, "web_event"), 3, others)
	_, err := a.read(a.record(3), time.Minute)
	wantBad(t, err, bad.Schema, "")
	a.pass(time.Millisecond)
	reg.register(mustText(t, "web_event"), 3, others, ours)
	a.fifty(3)
}

// Schemas of others, however many, take no room from ours; and of ours there may be
// more than are kept.
func TestManySchemas(t *testing.T) {
	reg := newChanging()
	a := askingOf(t, reg)
	for id := range registry.MaxSchemas + 10 {
		reg.register(mustText(t, "web_event"), 10+id, others)
		_, err := a.read(a.record(10+id), time.Minute)
		wantBad(t, err, bad.Schema, "")
	}
	reg.register(mustText(t, "web_event"), 3, ours)
	a.fifty(3)
	for id := range registry.MaxSchemas + 10 {
		reg.register(mustText(t, "web_event"), 10_000+id, ours)
		if _, err := a.read(a.record(10_000+id), time.Second); err != nil {
			t.Fatalf("schema %d of ours: %v", id, err)
		}
	}
	a.fifty(3)
	if known, open := a.Reader.lookups.Size(); known > registry.MaxSchemas || open > registry.MaxOpen {
		t.Errorf("%d and %d are kept", known, open)
	}
}

// Records that were there before the registry was asked are judged by one answer, and
// what comes later is seldom looked up.
func TestOneAnswerForMany(t *testing.T) {
	reg := newChanging()
	a := askingOf(t, reg)
	rec := a.record(3)
	_, err := a.read(rec, time.Minute)
	wantBad(t, err, bad.Schema, "")
	calls := reg.calls
	for range 1000 {
		took, err := a.read(rec, time.Minute)
		wantBad(t, err, bad.Schema, "")
		if took != 0 {
			t.Fatalf("a record that was there before waited for %v", took)
		}
	}
	if reg.calls != calls {
		t.Errorf("the registry was asked %d times more", reg.calls-calls)
	}
	const seconds = 600
	start, waited := a.now(), time.Duration(0)
	for a.now().Sub(start) < seconds*time.Second { // a producer of another registry, for ten minutes
		took, _ := a.read(a.record(3), time.Minute)
		waited += took
		a.pass(time.Second)
	}
	if rate := float64(reg.calls-calls) / seconds; rate > 2 {
		t.Errorf("the registry was asked %.1f times a second for one id", rate)
	}
	if waited > seconds*time.Second/10 {
		t.Errorf("the partition waited %v of %d s", waited, seconds)
	}
}

// Very many unknown ids hold up what is behind them for a second at most, beside the
// look-ups themselves, and leave room for the look-ups of others.
func TestFloodOfIDs(t *testing.T) {
	const n = 6_000
	reg := newChanging()
	reg.register(mustText(t, "web_event"), 3, ours)
	a := askingOf(t, reg)
	g := rand.New(rand.NewSource(1))
	records := make([]*Record, n)
	for i := range records {
		records[i] = a.record(1000 + int(g.Int31n(1<<30)))
	}
	start := a.now()
	for i, rec := range records {
		for {
			var ev engine.Event
			_, err := a.Read(rec, &ev)
			if !errors.Is(err, registry.ErrWaiting) {
				wantBad(t, err, bad.Schema, "")
				break
			}
			for _, next := range records[i+1 : min(n, i+registry.MaxAhead)] {
				a.Ahead(next.Value, next.Came)
			}
			a.lookups.Wait()
			var w *registry.Waiting
			if _, err = a.Read(rec, &ev); errors.As(err, &w) && w.Reason != nil {
				a.pass(10 * time.Millisecond) // answered, and not believed yet
			}
		}
	}
	if took := a.now().Sub(start); took > time.Second+500*time.Millisecond {
		t.Errorf("they were held up for %v", took)
	}
	if reg.calls > n+n/10 {
		t.Errorf("%d calls", reg.calls)
	}
	if took, err := a.read(a.record(3), time.Second); err != nil || took > 50*time.Millisecond {
		t.Errorf("a good record behind them: %v after %v", err, took)
	}
}

// A record that has to be read now never waits for look-ups of records behind another.
func TestLookupsAhead(t *testing.T) {
	reg := &gated{open: make(chan struct{}), text: mustText(t, "web_event")}
	a := askingOf(t, reg)
	for id := range 1000 {
		a.Ahead(a.record(100+id).Value, a.now())
	}
	reg.wantRunning(t, registry.MaxAhead)
	var ev engine.Event
	if _, err := a.Read(a.record(3), &ev); !errors.Is(err, registry.ErrWaiting) {
		t.Fatal(err)
	}
	reg.wantRunning(t, registry.MaxAhead+1)
	for id := range 1000 {
		_, err := a.Read(a.record(4+id), &ev)
		if !errors.Is(err, registry.ErrWaiting) || err.Error() != fmt.Sprintf("schema %d: waiting for the schema registry", 4+id) {
			t.Fatal(err)
		}
	}
	reg.wantRunning(t, registry.MaxLookups)
	close(reg.open)
	a.lookups.Wait()
	if _, err := a.Read(a.record(3), &ev); err != nil {
		t.Error(err)
	}
}

// gated is a registry that answers once it may.
type gated struct {
	open    chan struct{}
	text    string
	mu      sync.Mutex
	running int
}

func (r *gated) Schema(context.Context, int) (string, []string, error) {
	r.mu.Lock()
	r.running++
	r.mu.Unlock()
	<-r.open
	return r.text, nil, nil
}

func (r *gated) wantRunning(t *testing.T, n int) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		r.mu.Lock()
		got := r.running
		r.mu.Unlock()
		if got == n {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%d look-ups run, want %d", got, n)
		case <-time.After(time.Millisecond):
		}
	}
}

// A clock and a way to run look-ups belong together.
func TestClockNeedsGo(t *testing.T) {
	_, err := NewReader(Config{Now: time.Now, Layouts: func(s plan.Stream) *plan.Layout { return allLayouts()[s] }})
	if err == nil {
		t.Error("a reader with a clock that waits for the registry")
	}
}
