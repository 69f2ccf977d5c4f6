package registry

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/segmill/segmill/schemas/bad"
)

// Limits on what is remembered of schemas, and on how often a registry is asked.
const (
	MaxSchemas = 1_000  // schemas that records are read with; the oldest makes room
	MaxOpen    = 10_000 // ids that are looked up, or were refused; the same

	MaxLookups = 32  // at a time
	MaxAhead   = 24  // at a time for records that are not read yet: others must not wait for them
	maxQueued  = 512 // ids of such records that are still to be looked up

	lookupTimeout = 5 * time.Second // of one id
	askAgain      = 100 * time.Millisecond
	maxAskAgain   = 2 * time.Second // after errors
	// refusedFor is how long a refusal is believed by records of which it is not known
	// when they came.
	refusedFor = 2 * time.Second
)

// Config is what lookups need.
type Config[S any] struct {
	// Registry is asked; nil if there is none, then records that name an id are bad
	// input.
	Registry Source
	// Accept makes of a schema what records are read with. Its error refuses the schema.
	Accept func(text string) (S, error)
	// Subjects are those of which a schema must have one, if the registry can tell.
	// Empty: any.
	Subjects []string
	// Now is the clock by which refusals expire; nil: they do not.
	Now func() time.Time
	// Go runs a look-up beside what asks for it; nil: within.
	Go func(lookup func())
}

// Lookups asks a registry for schemas. What it refuses is never final: the same id may
// be registered a moment later, or the answer come from a replica that lags. So a
// refusal holds for records that were there before the registry was asked, and for a
// later one it is asked again. Refused ids have a cache of their own, and so can't take
// the place of schemas that are in use.
type Lookups[S any] struct {
	cfg Config[S]
	// Timeout is how long one answer may take, 5 s unless it is changed before use.
	Timeout time.Duration

	within   sync.Mutex // held by one that looks up within: others wait
	mu       sync.Mutex
	known    *simplelru.LRU[uint32, S]
	open     *simplelru.LRU[uint32, *lookup]
	running  int
	queued   []uint32 // to be looked up ahead
	others   bool     // some id has been answered with a schema
	patience patience
}

// lookup is what is known of an id that is not known to be good.
type lookup struct {
	asking  bool
	queued  bool
	asked   time.Time  // when the look-up began that the refusal comes from
	next    time.Time  // it is not looked up again before
	fails   int        // since the last answer that says something
	unsure  time.Time  // since when answers say that there is no such schema; zero: they do not
	granted time.Time  // when it was last given time to appear
	grants  int        // how often it was
	counted bool       // among the ids that were unknown when they were first looked up
	refused *bad.Input // nil: it has not been
	waiting *Waiting   // what the last answer says, nil before the first
}

// NewLookups returns the look-ups of a registry.
func NewLookups[S any](cfg Config[S]) *Lookups[S] {
	l := &Lookups[S]{cfg: cfg, Timeout: lookupTimeout}
	// Their errors are about sizes below 1.
	l.known, _ = simplelru.NewLRU[uint32, S](MaxSchemas, nil)
	l.open, _ = simplelru.NewLRU[uint32, *lookup](MaxOpen, nil)
	return l
}

// Size returns how many schemas are kept, and how many ids that are not known to be
// good.
func (l *Lookups[S]) Size() (known, open int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known.Len(), l.open.Len()
}

// clock returns the time, that of no instant if there is no clock.
func (l *Lookups[S]) clock() time.Time {
	if l.cfg.Now == nil {
		return time.Time{}
	}
	return l.cfg.Now()
}

// Get returns the schema with an id of the registry, for a record that came at an
// instant, zero if that is not known. The error is a *bad.Input or a *Waiting.
func (l *Lookups[S]) Get(id uint32, came time.Time) (s S, err error) {
	if l.cfg.Registry == nil {
		return s, bad.New(bad.Schema, "", "the record names schema %d of a registry, and none is configured", id)
	}
	if l.cfg.Go == nil {
		l.within.Lock()
		defer l.within.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if w, ok := l.known.Get(id); ok {
		return w, nil
	}
	now := l.clock()
	e := l.entry(id)
	switch {
	case e.holds(came, now):
		return s, e.refused
	case !l.due(e, now) || l.running >= MaxLookups:
		return s, e.wait(id)
	}
	e.asking = true
	l.running++
	if l.cfg.Go != nil {
		l.cfg.Go(func() { l.work(id, e, now) })
		return s, e.wait(id)
	}
	l.mu.Unlock()
	l.work(id, e, now)
	l.mu.Lock()
	if w, ok := l.known.Get(id); ok {
		return w, nil
	}
	if e.refused != nil && e.asked.Equal(now) {
		return s, e.refused
	}
	return s, e.wait(id)
}

// Ahead looks up an id that is named by a record which is not read yet.
func (l *Lookups[S]) Ahead(id uint32, came time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known.Contains(id) {
		return
	}
	now := l.clock()
	e := l.entry(id)
	switch {
	case e.queued || e.holds(came, now) || !l.due(e, now):
	case l.running < MaxAhead:
		e.asking = true
		l.running++
		l.cfg.Go(func() { l.work(id, e, now) })
	case len(l.queued) < maxQueued:
		e.queued = true
		l.queued = append(l.queued, id)
	}
}

// entry returns what is known of an id that is not known to be good.
func (l *Lookups[S]) entry(id uint32) *lookup {
	e, ok := l.open.Get(id)
	if !ok {
		e = &lookup{}
		l.open.Add(id, e)
	}
	return e
}

// due reports whether an id may be looked up.
func (l *Lookups[S]) due(e *lookup, now time.Time) bool {
	return !e.asking && (l.cfg.Now == nil || !now.Before(e.next))
}

// work asks for an id, and then for queued ones. It ends if more look-ups run than may
// for records that are not read yet.
func (l *Lookups[S]) work(id uint32, e *lookup, began time.Time) {
	for more := true; more; {
		l.ask(id, e, began)
		id, e, began, more = l.next()
	}
}

// next returns the next queued id, marked as being looked up, if there is one.
func (l *Lookups[S]) next() (id uint32, e *lookup, now time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now = l.clock()
	for len(l.queued) > 0 && l.running <= MaxAhead {
		id, l.queued = l.queued[0], l.queued[1:]
		e, known := l.open.Peek(id)
		if !known || !e.queued {
			continue
		}
		e.queued = false
		if l.due(e, now) {
			e.asking = true
			return id, e, now, true
		}
	}
	l.running--
	return 0, nil, now, false
}

// holds reports whether a refusal holds for a record.
func (e *lookup) holds(came, now time.Time) bool {
	switch {
	case e.refused == nil:
		return false
	case came.IsZero():
		return now.Sub(e.asked) < refusedFor
	}
	return !e.asked.Before(came)
}

// wait returns the error of a record that has to wait for an id.
func (e *lookup) wait(id uint32) *Waiting {
	if e.waiting == nil {
		return &Waiting{ID: id}
	}
	return e.waiting
}

// ask asks the registry for an id and takes in what it says.
func (l *Lookups[S]) ask(id uint32, e *lookup, began time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), l.Timeout)
	text, subjects, err := l.cfg.Registry.Schema(ctx, int(id))
	cancel()
	var s S
	answered := err == nil
	var unusable error
	switch {
	case err != nil:
	case !l.allowed(subjects):
		err = fmt.Errorf("it is registered under %s, %w", clipText(fmt.Sprintf("%q", subjects)), errForeign)
	default:
		s, unusable = l.cfg.Accept(text)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e.asking = false
	l.others = l.others || answered
	switch {
	case err != nil:
		l.judge(id, e, err, began)
	case unusable != nil:
		e.refuse(id, unusable, began, l.clock())
	default:
		l.open.Remove(id)
		l.known.Add(id, s)
	}
}

// judge takes in an answer without a usable schema.
func (l *Lookups[S]) judge(id uint32, e *lookup, err error, began time.Time) {
	now := l.clock()
	switch judge(err, l.others) {
	case refuse:
		e.refuse(id, err, began, now)
	case unsure:
		e.fails = 0
		if l.cfg.Now == nil || !l.patience.has(e, now) {
			e.refuse(id, err, began, now)
			return
		}
		e.waiting, e.next = waitingFor(id, err), now.Add(2*askAgain)
	default:
		e.waiting, e.next = waitingFor(id, err), now.Add(min(askAgain<<min(e.fails, 10), maxAskAgain))
		e.fails++
	}
}

// refuse refuses an id until it is looked up again.
func (e *lookup) refuse(id uint32, err error, began, now time.Time) {
	*e = lookup{
		asked: began, next: now.Add(askAgain), refused: refusedID(id, err),
		granted: e.granted, grants: e.grants, counted: e.counted,
	}
}

// allowed reports whether one of the subjects is an input. A registry that cannot
// tell is trusted.
func (l *Lookups[S]) allowed(subjects []string) bool {
	return len(subjects) == 0 || len(l.cfg.Subjects) == 0 ||
		slices.ContainsFunc(subjects, func(s string) bool { return slices.Contains(l.cfg.Subjects, s) })
}
