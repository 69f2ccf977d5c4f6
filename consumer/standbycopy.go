package consumer

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/state"
)

// standby keeps the local copy of a partition that another instance owns: the
// replay of a restore that does not end. It only reads from Kafka, so being
// standby for a partition for which nobody or everybody should be is harmless. It
// is one goroutine, which is over when done is closed; a task of the same
// partition must not start before.
type standby struct {
	o     *Owner
	n     int32
	log   *slog.Logger
	store *state.Task

	stop context.CancelFunc
	done chan struct{}
	news chan struct{} // holds one if there is a new end

	mu      sync.Mutex
	state   standbyState
	restore *RestoreStatus // while it loads
	next    int64
	end     int64         // the last stable offset
	asked   engine.Millis // when that was asked for
	best    int64         // the greatest next while loading
	steps   int           // grows while it comes further than before
}

// standbyState is a state of a standby.
type standbyState string

const (
	loading standbyState = "loading" // the copy is of no use yet
	current standbyState = "current" // the copy lacks what was written in the last seconds, at most
	behind  standbyState = "behind"
	failing standbyState = "failing" // before it is tried again
)

// standbyNear is how many records a copy may lack and still be current.
const standbyNear = 10_000

// wrongPause is how long a standby rests when a copy of the whole changelog does
// not have its digest: the owner will meet the same.
const wrongPause = 10 * time.Minute

// quietBackoff is the shortest wait that is worth a line in the log.
const quietBackoff = time.Second

// run follows the changelog until live ends. hard ends what must not be broken off
// just because a task waits.
func (c *standby) run(live, hard context.Context) {
	defer close(c.done)
	backoff, scratch := minBackoff, false
	for {
		verified, err := c.follow(live, hard)
		if live.Err() != nil {
			return
		}
		if fault.IsFatal(err) {
			c.o.fail(err)
			return
		}
		if verified {
			backoff, scratch = minBackoff, false
		}
		wait := backoff
		backoff = min(2*backoff, maxBackoff)
		if errors.Is(err, fault.ErrLocal) {
			c.o.cfg.Metrics.damaged.WithLabelValues(damagedDigest).Inc()
			if scratch {
				wait = wrongPause
			}
			scratch = true
			if derr := c.store.Drop(); derr != nil {
				err = derr
			}
		}
		c.set(failing)
		level := slog.LevelWarn
		if wait < quietBackoff {
			level = slog.LevelDebug // as a commit whose end is not written yet
		}
		c.log.Log(live, level, "standby does not go on now; it is tried again", "error", err, "wait", wait)
		select {
		case <-live.Done():
			return
		case <-time.After(wait):
		}
	}
}

// follow brings the copy to the end of the changelog, verifies it, and keeps doing
// so. It returns whether the copy was verified at some time.
func (c *standby) follow(live, hard context.Context) (verified bool, err error) {
	// The owner may be in the middle of a transaction: the copy must end before it.
	r, err := c.o.replay(live, c.n, c.store, c.log, broker.LastStable, 0)
	if err != nil {
		return false, err
	}
	defer r.close()
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
		if err := r.to(live, r.end); err != nil {
			return true, err
		}
		if err := r.verify(hard); err != nil {
			return true, err
		}
		c.o.cfg.Metrics.standbyRead.Add(float64(r.records - before))
		c.reached(r.next)
	}
}

// load makes the copy current for the first time. Few do so at once when they have
// to read everything.
func (c *standby) load(live, hard context.Context, r *replay) error {
	if !r.tail {
		select {
		case c.o.standbys.loads <- struct{}{}:
			defer func() { <-c.o.standbys.loads }()
		case <-live.Done():
			return live.Err()
		}
	}
	m := c.o.cfg.Metrics
	r.progress = progress{
		now: c.o.cfg.Now, log: c.log, left: m.standbyLag.WithLabelValues(c.label()), counter: m.standbyRead,
		show: func(st *RestoreStatus) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if st.Next > c.best || st.Customers > 0 {
				c.steps++
			}
			c.best = max(c.best, st.Next)
			c.state, c.restore, c.next, c.end = loading, st, st.Next, max(c.end, st.End)
		},
	}.begin(r.next, r.end)
	if err := r.to(live, r.end); err != nil {
		return err
	}
	if err := r.verify(hard); err != nil {
		return err
	}
	if r.records > 0 {
		c.log.Info("standby copy is current", "records", r.records, "tail", r.began, "took", r.progress.took())
	}
	r.progress = nil
	c.reached(r.next)
	return nil
}

// reached says that the copy is verified at an offset.
func (c *standby) reached(next int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.restore, c.next = current, nil, next
	if c.end-next > standbyNear {
		c.state = behind
	}
}

func (c *standby) set(s standbyState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.restore = s, nil
}

// hear takes in the last stable offset.
func (c *standby) hear(end int64, asked engine.Millis) {
	c.mu.Lock()
	c.end, c.asked = end, asked
	if c.state == current && end-c.next > standbyNear {
		c.state = behind
	}
	c.mu.Unlock()
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// look returns what the standby is doing.
func (c *standby) look() (s standbyState, lag int64, restore *RestoreStatus, steps int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, max(0, c.end-c.next), c.restore, c.steps
}

func (c *standby) label() string { return strconv.Itoa(int(c.n)) }
