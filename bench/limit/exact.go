package main

import (
	"container/heap"
	"encoding/binary"
	"errors"
	"math"

	"github.com/zeebo/xxh3"

	"github.com/segmill/segmill/bench/internal/job"
	"github.com/segmill/segmill/bench/internal/side"
)

const never = math.MaxInt64

// exact is the engine's meaning for this job with nothing in between: events in
// (now - 30 days, now], exits at the instant at which an event leaves, amounts as
// integers, repeats recognised, the clock of each partition behind its events by the
// grace. It emits the same changes as the engine.
type exact struct {
	l     *loop
	until int64 // the clock is turned to it at the end
	byID  map[string]*exactCustomer
	tasks [side.Partitions]task
	done  int // tasks whose clock was turned
}

// task is a partition's clock and whose wake-up is next.
type task struct {
	clock, seen int64
	wakes       wakes
}

func newExact(l *loop, until int64) *exact {
	m := &exact{l: l, until: until, byID: map[string]*exactCustomer{}}
	for i := range m.tasks {
		m.tasks[i].clock, m.tasks[i].seen = math.MinInt64, math.MinInt64
	}
	return m
}

// event lets the clock hear of the event's time, fires what is due by it, and takes
// the event.
func (m *exact) event(part int32, d *job.Decoded) error {
	t := &m.tasks[part]
	if d.At > t.seen {
		t.seen = d.At
		t.clock = max(t.clock, d.At-job.Grace)
	}
	for m.fire(t) {
	}
	c := m.byID[string(d.Customer)]
	if c == nil {
		var err error
		if c, err = m.meet(part, d.Customer); err != nil {
			return err
		}
	}
	m.apply(c, d, t)
	return nil
}

// fire fires the first timer of a task that is due; false if there is none.
func (m *exact) fire(t *task) bool {
	for len(t.wakes) > 0 && t.wakes[0].at <= t.clock {
		c := t.wakes[0].c
		due := c.wake
		if due <= t.clock {
			m.expire(c, due)
		}
		c.queued = c.wake
		if c.wake == never {
			heap.Pop(&t.wakes)
		} else {
			t.wakes[0].at = c.wake
			heap.Fix(&t.wakes, 0)
		}
		if due <= t.clock {
			return true
		}
	}
	return false
}

// finish turns the clocks to the end of the run, one timer at a time.
func (m *exact) finish() (bool, error) {
	for m.done < len(m.tasks) {
		t := &m.tasks[m.done]
		t.clock = max(t.clock, m.until)
		m.l.moved[m.done] = true
		if m.fire(t) {
			return true, nil
		}
		m.done++
	}
	return false, nil
}

// apply folds one event.
func (m *exact) apply(c *exactCustomer, d *job.Decoded, t *task) {
	hash := identity(d)
	if c.remembers(hash) {
		return
	}
	for c.wake <= d.At {
		m.expire(c, c.wake)
	}
	base := max(c.instant, d.At)
	now := max(base, t.clock)
	c.fold(d, base, hash)
	c.instant = base
	c.schedule()
	for c.wake <= now {
		m.expire(c, c.wake)
	}
	c.instant = now
	m.judge(c, ^uint32(0), now, d.ID)
	if c.wake < c.queued {
		heap.Push(&t.wakes, wake{c.wake, c})
		c.queued = c.wake
	}
	m.l.touch(&c.customer)
}

// expire is the step at an instant at which an event leaves and a comparison changes:
// only rules with that comparison are judged.
func (m *exact) expire(c *exactCustomer, at int64) {
	before := compare(&c.facts)
	c.leave(at)
	changed := before ^ compare(&c.facts)
	var rules uint32
	for i := range comparisons {
		if changed&(1<<i) != 0 {
			rules |= comparisons[i].rules
		}
	}
	c.instant = at
	m.judge(c, rules, at, nil)
	c.schedule()
	m.l.touch(&c.customer)
}

// judge emits what has changed in some rules at an instant: exits, then entries.
func (m *exact) judge(c *exactCustomer, rules uint32, at int64, cause []byte) {
	bits := evaluate(&c.facts)
	flips := (bits ^ c.bits) & rules
	for _, entered := range []bool{false, true} {
		for i := 0; flips>>i != 0; i++ {
			if flips&(1<<i) != 0 && (bits&(1<<i) != 0) == entered {
				c.sequence[i]++
				m.emit(c, i, entered, at, cause)
			}
		}
	}
	c.bits ^= flips
}

// emit sends a change record: an id, and a job.Change with the event that caused it.
func (m *exact) emit(c *exactCustomer, rule int, entered bool, at int64, cause []byte) {
	b := m.l.arena
	from := len(b)
	b = append(b, make([]byte, 16)...)
	b = job.AppendChange(b, &job.Change{
		Customer: c.id, Segment: []byte(job.Ten[rule].ID), Entered: entered, At: at, Sequence: int64(c.sequence[rule]),
	})
	b = append(append(b, byte(len(cause))), cause...)
	id := xxh3.Hash128(b[from+16:]).Bytes()
	copy(b[from:], id[:])
	m.l.arena = b
	m.l.change(&c.customer, from)
}

// begin refuses to go on where an earlier run ended: the heap of wake-ups would have
// to be made again.
func (m *exact) begin(_ int32, extra []byte) error {
	if extra != nil {
		return errUsed
	}
	return nil
}

var errUsed = errors.New("exact needs a new directory")

func (m *exact) position(b []byte, part int32) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(m.tasks[part].clock))
}

func (m *exact) meet(part int32, id []byte) (*exactCustomer, error) {
	c := &exactCustomer{customer: customer{id: append([]byte(nil), id...), part: part}}
	c.state = c
	c.instant, c.lastAt, c.wake, c.queued = math.MinInt64, math.MinInt64, never, never
	c.facts.Channel, c.facts.Currency = math.MaxUint16, math.MaxUint16
	m.byID[string(c.id)] = c
	_, closer, err := m.l.stored(id)
	if closer != nil {
		err = errors.Join(errUsed, closer.Close())
	}
	return c, err
}

// wake is a customer's place in the heap. It is at or before the customer's real
// wake-up, so that a wake-up that only moves on costs nothing.
type wake struct {
	at int64
	c  *exactCustomer
}

type wakes []wake

func (h wakes) Len() int           { return len(h) }
func (h wakes) Less(i, j int) bool { return h[i].at < h[j].at }
func (h wakes) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *wakes) Push(x any)        { *h = append(*h, x.(wake)) }
func (h *wakes) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}
