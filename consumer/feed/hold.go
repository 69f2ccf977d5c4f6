package feed

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// hold is why the next record of an input can't be read yet: its schema is not known.
// The records behind it wait with it; other inputs go on after MaxMergeWait, and the
// clock waits.
type hold struct {
	// came is when the record was in hand, at the latest. It stays while the record
	// waits: what a registry is asked after it counts.
	came  time.Time
	since time.Time // of the first attempt that failed; zero if none has
	retry time.Time // of the next attempt
	shown error     // what is shown of it, nil as long as it has not lasted
}

// Attempts to read a record again are the rarer the longer it waits; they cost a look
// into a cache. A wait that lasts is shown.
const (
	leastRetry = 5 * time.Millisecond
	mostRetry  = 100 * time.Millisecond
	showHold   = time.Second
	// aheadOfHold is for how many records behind one that waits the registry is asked.
	aheadOfHold = 256
)

// hold notes that r, the next record of an input, can't be read yet.
func (f *Feed) hold(in *Input, r *kgo.Record, err error) {
	now := f.Config.Now()
	h := &in.hold
	if h.since.IsZero() {
		h.since = now
	}
	waited := now.Sub(h.since)
	h.retry = now.Add(min(max(waited/16, leastRetry), mostRetry))
	if waited >= showHold {
		h.shown = fmt.Errorf("%s offset %d: %w", in.Topic, r.Offset, err)
		f.Waiting(h.shown)
	}
	if f.Config.Ahead == nil {
		return
	}
	for _, next := range in.queue[1:min(len(in.queue), aheadOfHold)] {
		f.Config.Ahead(next.Value, in.fetched)
	}
}

// release notes that the record has been read.
func (f *Feed) release(in *Input) {
	if in.hold.shown != nil {
		f.Waiting(nil)
	}
	in.hold = hold{}
}

// Held returns why a record of the task has been waiting for some time, nil if none
// has.
func (f *Feed) Held() error {
	for _, in := range f.inputs {
		if in.hold.shown != nil {
			return in.hold.shown
		}
	}
	return nil
}
