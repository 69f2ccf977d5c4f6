package replica

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/engine"
)

// Standby keeps the local copy of a partition that another instance owns: the
// replica of a restore that does not end. It only reads from Kafka, so being
// standby for a partition for which nobody or everybody should be is harmless. It
// is one goroutine, which is over when Done is closed; a task of the same
// partition must not start before.
type Standby struct {
	StandbyOptions
	stop context.CancelFunc
	done chan struct{}
	news chan struct{} // holds one if there is a new end

	mu      sync.Mutex
	state   StandbyState
	restore *Status // while it loads
	next    int64
	end     int64         // the last stable offset
	asked   engine.Millis // when that was requested
	best    int64         // the greatest next while loading
	steps   int           // grows while it comes further than before
}

// StandbyOptions are what a Standby needs.
type StandbyOptions struct {
	Options
	Loads chan struct{}      // has room for as many whole changelogs as are read at once
	Lag   prometheus.Gauge   // changelog offsets that the copy lacks
	Read  prometheus.Counter // records read
	Fail  func(error)        // is called with an error that ends the instance
}

// StandbyState is a state of a standby.
type StandbyState string

// The states.
const (
	Loading StandbyState = "loading" // the copy is of no use yet
	Current StandbyState = "current" // the copy lacks what was written in the last seconds, at most
	Behind  StandbyState = "behind"
	Failing StandbyState = "failing" // before it is tried again
)

// standbyNear is how many records a copy may lack and still be current.
const standbyNear = 10_000

// wrongPause is how long a standby rests when a copy of the whole changelog does
// not have its digest: the owner will meet the same.
const wrongPause = 10 * time.Minute

// quietBackoff is the shortest wait that is worth a line in the log.
const quietBackoff = time.Second

// Follow starts a Standby. It ends by Stop, and without any care when hard ends.
func Follow(hard context.Context, o StandbyOptions) *Standby {
	c := &Standby{StandbyOptions: o, done: make(chan struct{}), news: make(chan struct{}, 1), state: Loading}
	var live context.Context
	live, c.stop = context.WithCancel(hard)
	go c.run(live, hard)
	return c
}

// Stop begins to end it.
func (c *Standby) Stop() { c.stop() }

// Done is closed when it is over.
func (c *Standby) Done() <-chan struct{} { return c.done }

// Limits of the wait before something is tried again.
const (
	MinBackoff = 100 * time.Millisecond
	MaxBackoff = 10 * time.Second
)

// run follows the changelog until live ends. hard ends what must not be broken off
// just because a task waits.
func (c *Standby) run(live, hard context.Context) {
	defer close(c.done)
	backoff, scratch := MinBackoff, false
	for {
		verified, err := c.follow(live, hard)
		if live.Err() != nil {
			return
		}
		if fault.IsFatal(err) {
			c.Fail(err)
			return
		}
		if verified {
			backoff, scratch = MinBackoff, false
		}
		wait := backoff
		backoff = min(2*backoff, MaxBackoff)
		if errors.Is(err, fault.ErrLocal) {
			c.Damaged()
			if scratch {
				wait = wrongPause
			}
			scratch = true
			if derr := c.Store.Drop(); derr != nil {
				err = derr
			}
		}
		c.set(Failing)
		level := slog.LevelWarn
		if wait < quietBackoff {
			level = slog.LevelDebug // as a commit whose end is not written yet
		}
		c.Log.Log(live, level, "standby failed; it will be tried again", "error", err, "wait", wait)
		select {
		case <-live.Done():
			return
		case <-time.After(wait):
		}
	}
}

// follow brings the copy to the end of the changelog, verifies it, and keeps doing
// so. It returns whether the copy was verified at some time.
func (c *Standby) follow(live, hard context.Context) (verified bool, err error) {
	// The owner may be in the middle of a transaction: the copy must end before it.
	r, err := Open(live, c.Options, broker.LastStable, 0)
	if err != nil {
		return false, err
	}
	defer r.Close()
	if err := c.load(live, hard, r); err != nil {
		return false, err
	}
	for {
		select {
		case <-live.Done():
			return true, nil
		case <-c.news:
		}
		c.mu.Lock()
		r.end, r.asked = c.end, c.asked
		c.mu.Unlock()
		before := r.records
		if err := r.Read(live, r.end); err != nil {
			return true, err
		}
		if err := r.Verify(hard); err != nil {
			return true, err
		}
		c.Read.Add(float64(r.records - before))
		c.reached(r.log.next)
	}
}

// load makes the copy current for the first time. Few do so at once when they have
// to read everything.
func (c *Standby) load(live, hard context.Context, r *Replica) error {
	if !r.tail {
		select {
		case c.Loads <- struct{}{}:
			defer func() { <-c.Loads }()
		case <-live.Done():
			return live.Err()
		}
	}
	r.progress = Display{
		Now: c.Cluster.Now, Log: c.Log, Left: c.Lag, Counter: c.Read,
		Show: func(st *Status) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if st.Next > c.best || st.Customers > 0 {
				c.steps++
			}
			c.best = max(c.best, st.Next)
			c.state, c.restore, c.next, c.end = Loading, st, st.Next, max(c.end, st.End)
		},
	}.Begin(r.log.next, r.end)
	if err := r.Read(live, r.end); err != nil {
		return err
	}
	if err := r.Verify(hard); err != nil {
		return err
	}
	if r.records > 0 {
		c.Log.Info("standby copy is current", "records", r.records, "tail", r.began, "took", r.progress.Took())
	}
	r.progress = nil
	c.reached(r.log.next)
	return nil
}

// reached says that the copy is verified at an offset.
func (c *Standby) reached(next int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.restore, c.next = Current, nil, next
	if c.end-next > standbyNear {
		c.state = Behind
	}
}

func (c *Standby) set(s StandbyState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.restore = s, nil
}

// Hear takes in the last stable offset.
func (c *Standby) Hear(end int64, asked engine.Millis) {
	c.mu.Lock()
	c.end, c.asked = end, asked
	if c.state == Current && end-c.next > standbyNear {
		c.state = Behind
	}
	c.mu.Unlock()
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// Look returns what the standby is doing.
func (c *Standby) Look() (s StandbyState, lag int64, restore *Status, steps int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, max(0, c.end-c.next), c.restore, c.steps
}

// Next returns the changelog offset that the copy has come to.
func (c *Standby) Next() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next
}
