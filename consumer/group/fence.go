package group

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/segmill/segmill/consumer/fault"
)

// fence is what an instance does about a group that takes another member for it.
// That need not be another process: a coordinator that stood still and wakes up
// gives members new ids for a moment, of which the one that took its place knows
// nothing. So the group is joined again. Two processes with one name would do so in
// turn, and whoever is shut out twice within fencedAgain ends.
type fence struct {
	again chan struct{} // has room for one: join again
	last  time.Time     // when it was done last
}

const (
	fencedAgain = 30 * time.Second
	// fencedStill is how long the client that was shut out may go on to say so.
	fencedStill = 2 * time.Second
)

// soon reports whether this is the second time within fencedAgain. If not, the
// group will be joined again.
func (f *fence) soon(now time.Time) bool {
	since := now.Sub(f.last)
	switch {
	case f.last.IsZero() || since >= fencedAgain:
		f.last = now
		select {
		case f.again <- struct{}{}:
		default:
		}
		return false
	case since < fencedStill:
		return false
	}
	return true
}

// groupErrors is a hook of the client that is in the group. It hears of errors when
// they happen: what a poll returns may be old, and would put an instance outside that
// has joined since.
type groupErrors struct{ o *Owner }

// OnGroupManageError implements kgo.HookGroupManageError.
func (h groupErrors) OnGroupManageError(err error) {
	defer h.o.caught()
	h.o.outside(err)
}

// outside notes why this instance is not in the group, until the group next reports
// it what is its own.
func (o *Owner) outside(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refused = fmt.Sprintf("group %s: %v", o.Config.App, err)
	if !errors.Is(err, kerr.FencedInstanceID) {
		return
	}
	// Whoever joins with the same name has the place from then on, and this one
	// would be outside for ever.
	if o.fence.soon(o.Config.Now()) {
		o.fail(fault.Fatal("group %s: %w", o.Config.App, err))
	}
}
