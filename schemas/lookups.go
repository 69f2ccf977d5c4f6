package schemas

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Limits on what is remembered of schemas, and on how often a registry is asked.
const (
	maxSchemas = 1_000  // schemas that records are read with; the oldest makes room
	maxOpen    = 10_000 // ids that are asked for, or were refused; the same

	maxLookups = 32  // at a time
	maxAhead   = 24  // at a time for records that are not read yet: others must not wait for them
	maxQueued  = 512 // ids of such records that are still to be asked for

	lookupTimeout = 5 * time.Second // of one id
	askAgain      = 100 * time.Millisecond
	maxAskAgain   = 2 * time.Second // after errors
	// refusedFor is how long a refusal is believed by records of which it is not known
	// when they came.
	refusedFor = 2 * time.Second
)

// lookups asks a registry for schemas. What it refuses is never final: the same id may
// be registered a moment later, or the answer come from a replica that lags. So a
// refusal stands for records that were there before the registry was asked, and for a
// later one it is asked again. Refused ids have a cache of their own, and so can't take
// the place of schemas that are in use.
type lookups struct {
	registry Registry
	subjects []string
	timeout  time.Duration    // of a look-up
	now      func() time.Time // nil: there is no clock, and refusals stand
	run      func(func())     // runs a look-up beside what asks for it; nil: within

	within   sync.Mutex // held by one that looks up within: others wait
	mu       sync.Mutex
	known    *simplelru.LRU[uint32, *writer]
	open     *simplelru.LRU[uint32, *lookup]
	running  int
	queued   []uint32 // to be asked for ahead
	others   bool     // some id has been answered with a schema
	patience patience
}

// lookup is what is known of an id that is not known to be good.
type lookup struct {
	asking  bool
	queued  bool
	asked   time.Time // when the look-up began that the refusal comes from
	next    time.Time // it is not asked for again before
	fails   int       // since the last answer that says something
	unsure  time.Time // since when answers say that there is no such schema; zero: they do not
	granted time.Time // when it was last given time to appear
	grants  int       // how often it was
	counted bool      // among the ids that were unknown when they were first asked for
	refused *BadInput // nil: it has not been
	waiting *Waiting  // what the last answer says, nil before the first
}

func newLookups(cfg *Config) *lookups {
	l := &lookups{registry: cfg.Registry, subjects: cfg.Subjects, timeout: lookupTimeout, now: cfg.Now, run: cfg.Go}
	// Their errors are about sizes below 1.
	l.known, _ = simplelru.NewLRU[uint32, *writer](maxSchemas, nil)
	l.open, _ = simplelru.NewLRU[uint32, *lookup](maxOpen, nil)
	return l
}

// clock returns the time, that of no instant if there is no clock.
func (l *lookups) clock() time.Time {
	if l.now == nil {
		return time.Time{}
	}
	return l.now()
}

// get returns the writer with an id of the registry, for a record that came at an
// instant, zero if that is not known. The error is a *BadInput or a *Waiting.
func (l *lookups) get(id uint32, came time.Time) (*writer, error) {
	if l.registry == nil {
		return nil, bad(CauseSchema, "", "the record names schema %d of a registry, and none is configured", id)
	}
	if l.run == nil {
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
	case e.stands(came, now):
		return nil, e.refused
	case !l.due(e, now) || l.running >= maxLookups:
		return nil, e.wait(id)
	}
	e.asking = true
	l.running++
	if l.run != nil {
		l.run(func() { l.work(id, e, now) })
		return nil, e.wait(id)
	}
	l.mu.Unlock()
	l.work(id, e, now)
	l.mu.Lock()
	if w, ok := l.known.Get(id); ok {
		return w, nil
	}
	if e.refused != nil && e.asked.Equal(now) {
		return nil, e.refused
	}
	return nil, e.wait(id)
}

// ahead has an id asked for that a record names which is not read yet.
func (l *lookups) ahead(id uint32, came time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known.Contains(id) {
		return
	}
	now := l.clock()
	e := l.entry(id)
	switch {
	case e.queued || e.stands(came, now) || !l.due(e, now):
	case l.running < maxAhead:
		e.asking = true
		l.running++
		l.run(func() { l.work(id, e, now) })
	case len(l.queued) < maxQueued:
		e.queued = true
		l.queued = append(l.queued, id)
	}
}

// entry returns what is known of an id that is not known to be good.
func (l *lookups) entry(id uint32) *lookup {
	e, ok := l.open.Get(id)
	if !ok {
		e = &lookup{}
		l.open.Add(id, e)
	}
	return e
}

// due reports whether an id may be asked for.
func (l *lookups) due(e *lookup, now time.Time) bool {
	return !e.asking && (l.now == nil || !now.Before(e.next))
}

// work asks for an id, and then for queued ones. It ends if more look-ups run than may
// for records that are not read yet.
func (l *lookups) work(id uint32, e *lookup, began time.Time) {
	for more := true; more; {
		l.ask(id, e, began)
		id, e, began, more = l.next()
	}
}

// next returns the next queued id, marked as asked for, if there is one.
func (l *lookups) next() (id uint32, e *lookup, now time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now = l.clock()
	for len(l.queued) > 0 && l.running <= maxAhead {
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

// stands reports whether a refusal holds for a record.
func (e *lookup) stands(came, now time.Time) bool {
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
func (l *lookups) ask(id uint32, e *lookup, began time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
	text, subjects, err := l.registry.Schema(ctx, int(id))
	cancel()
	var s *schema
	answered := err == nil
	var unusable error
	switch {
	case err != nil:
	case !l.allowed(subjects):
		err = fmt.Errorf("it is registered under %s, %w", clipText(fmt.Sprintf("%q", subjects)), errForeign)
	default:
		s, unusable = gate(text)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e.asking = false
	l.others = l.others || answered
	switch {
	case s != nil:
		l.open.Remove(id)
		l.known.Add(id, &writer{schema: s})
	case unusable != nil:
		e.refuse(id, unusable, began, l.clock())
	default:
		l.judge(id, e, err, began)
	}
}

// judge takes in an answer without a usable schema.
func (l *lookups) judge(id uint32, e *lookup, err error, began time.Time) {
	now := l.clock()
	switch judge(err, l.others) {
	case refuse:
		e.refuse(id, err, began, now)
	case unsure:
		e.fails = 0
		if l.now == nil || !l.patience.has(e, now) {
			e.refuse(id, err, began, now)
			return
		}
		e.waiting, e.next = waitingFor(id, err), now.Add(2*askAgain)
	default:
		e.waiting, e.next = waitingFor(id, err), now.Add(min(askAgain<<min(e.fails, 10), maxAskAgain))
		e.fails++
	}
}

// refuse refuses an id until it is asked for again.
func (e *lookup) refuse(id uint32, err error, began, now time.Time) {
	*e = lookup{
		asked: began, next: now.Add(askAgain), refused: refusedID(id, err),
		granted: e.granted, grants: e.grants, counted: e.counted,
	}
}

// allowed reports whether one of the subjects is an input. A registry that cannot
// tell is trusted.
func (l *lookups) allowed(subjects []string) bool {
	return len(subjects) == 0 || len(l.subjects) == 0 ||
		slices.ContainsFunc(subjects, func(s string) bool { return slices.Contains(l.subjects, s) })
}
