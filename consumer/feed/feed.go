package feed

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/cache"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/imports"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// Options are what a Feed needs.
type Options struct {
	Config    *config.Config
	Cluster   *broker.Cluster
	Partition int32
	Log       *slog.Logger
	// QueueBytes is how much memory records may take that are fetched and not yet
	// taken.
	QueueBytes int64
	// LookAhead is called with records that are taken soon. It puts the customers that
	// their keys name into near, where they are cached.
	LookAhead func(records []*kgo.Record, near []*cache.Customer)
	// Alive is called after a record could not be read, which can take seconds. An
	// error ends the reading.
	Alive func() error
	// Waiting is called with why a record that has waited for some time can't be read,
	// and with nil when it has been.
	Waiting func(error)
	// Until is the instant at which a run ends, engine.Never if it has no end: an event
	// that is later ends the reading of its partition.
	Until engine.Millis
}

// Feed is the inputs of one task. It is used by one goroutine.
type Feed struct {
	Options
	Clock  Clock
	inputs []*Input
	merge  merge
	reader Reader
	fetch  *fetcher
	ends   *Ends // nil of the past, whose ends are known

	polled  engine.Millis // the wall clock when records were last requested, as reports of ends have it
	horizon engine.Millis // events beyond it have no place in the order
	blocked time.Time     // since when a topic has been waited for, zero if none
	gaveUp  bool          // it is not waited for any longer
	unread  int           // records behind one that is beyond Until, and not beyond it themselves
}

// Live returns the feed of a task that goes on from a position. ends reports where the
// inputs end. Nothing is fetched before the first Poll, so that no records wait in memory
// while a task makes its state ready for them.
func Live(o Options, ends *Ends, inputs []*Input, pos *changelog.Position) *Feed {
	t := &o.Config.Time
	return &Feed{
		Options: o, ends: ends, inputs: inputs, reader: Reader{Config: o.Config},
		merge: merge{inputs: inputs, task: o.Partition, mode: t.Clock, turn: pos.Turn},
		Clock: Clock{
			mode: t.Clock, grace: millis(t.Grace), silence: millis(t.Silence()),
			Now: pos.Clock, Order: pos.Clock, Latest: pos.Latest,
		},
		fetch: newFetcher(&o, inputs),
	}
}

// Past returns a feed that reads again what a task has taken: of every input in next
// the records from first on and before next, in the order of a run over history, or,
// if the task goes by the wall clock, in the order of arrival.
func Past(o Options, first, next map[broker.Partition]int64) *Feed {
	grace := millis(o.Config.Time.Grace)
	f := &Feed{
		Options: o, reader: Reader{Config: o.Config, arrival: o.Config.Time.Clock == config.WallClock},
		Clock:   Clock{mode: config.EventsClock, grace: grace, silence: grace, Now: changelog.Never, Order: changelog.Never, Latest: changelog.Never},
		horizon: Horizon(o.Config),
	}
	for _, of := range slices.SortedFunc(maps.Keys(next), broker.Partition.Compare) {
		in := NewInput(of, min(first[of], next[of]), of.Topic == o.Config.Repartition())
		in.Imported = of.Topic == o.Config.History()
		in.limit, in.end, in.stable = next[of], next[of], next[of]
		f.inputs = append(f.inputs, in)
	}
	f.merge = merge{inputs: f.inputs, task: o.Partition, mode: config.EventsClock}
	f.fetch = newFetcher(&f.Options, f.inputs)
	return f
}

// Horizon returns the greatest event time that is not too far ahead now.
func Horizon(c *config.Config) engine.Millis { return c.SkewNow() + millis(c.Time.MaxFutureSkew) }

// Inputs returns the inputs, sorted by topic and partition.
func (f *Feed) Inputs() []*Input { return f.inputs }

// Add takes up another input, between two batches. Until its first record or its end is
// known the others wait for it, as for any input.
func (f *Feed) Add(in *Input) {
	i, _ := slices.BinarySearchFunc(f.inputs, in.Place(), func(a *Input, b broker.Partition) int { return a.Place().Compare(b) })
	f.inputs = slices.Insert(f.inputs, i, in)
	f.merge.inputs = f.inputs
	f.fetch.add(in)
}

// Drop ends the reading of an input, between two batches.
func (f *Feed) Drop(in *Input) {
	f.inputs = slices.DeleteFunc(f.inputs, func(other *Input) bool { return other == in })
	f.merge.inputs = f.inputs
	f.fetch.drop(in)
}

// Turn returns the state of the order between two records.
func (f *Feed) Turn() changelog.Turn { return f.merge.turn }

// Horizon returns the greatest event time that is not too far ahead.
func (f *Feed) Horizon() engine.Millis { return f.horizon }

// Poll waits up to wait for records, and takes in what is known of the ends of the
// inputs; the clock hears of it by Begin. present is the wall clock as reports of ends
// have it, once records have come.
func (f *Feed) Poll(ctx context.Context, wait time.Duration, present func() engine.Millis) error {
	if err := f.fetch.poll(ctx, wait); err != nil {
		return err
	}
	f.polled = present()
	reports := f.ends.of(f.Partition)
	for _, in := range f.inputs {
		if r, ok := reports[in.Place()]; ok {
			in.hear(r)
		}
	}
	f.Clock.held = f.Config.Time.HoldSilence && f.Clock.mode == config.WallClock && !f.ends.Led(f.Partition, leaderlessFor)
	return nil
}

// leaderlessFor is for how long after a partition was without a leader its producers
// may still be sending what they could not: with the defaults of their clients that
// was seen to be 49 s.
const leaderlessFor = time.Minute

// Begin lets the clock hear of the ends: once per batch, before its first record.
func (f *Feed) Begin() {
	f.horizon = Horizon(f.Config)
	for _, in := range f.inputs {
		f.Clock.begin(in)
	}
}

// Load reads the next record of every input that has none in hand, and moves the clock.
func (f *Feed) Load() error {
	for _, in := range f.inputs {
		if in.loaded || len(in.queue) == 0 {
			continue
		}
		if err := f.loadOne(in); err != nil {
			return err
		}
	}
	f.Clock.advance(f.inputs)
	return nil
}

func (f *Feed) loadOne(in *Input) error {
	for len(in.queue) > 0 && !in.loaded {
		r := in.queue[0]
		if r.Offset >= in.limit {
			in.skip(in.limit) // nothing is left below it
			return nil
		}
		if r.Attrs.IsControl() || in.Imported && isMark(r) {
			in.skip(r.Offset + 1)
			in.shift()
			continue
		}
		if !in.hold.since.IsZero() && f.Config.Now().Before(in.hold.retry) {
			return nil
		}
		if err := f.reader.read(in, r, f.polled); err != nil {
			f.hold(in, r, err) // nothing is known of the record: it is as good as not in hand
			return f.Alive()
		}
		f.release(in)
		in.Head.Near = f.near(in)
		in.shift()
		if in.closed {
			in.scanned = r.Offset + 1
			if !f.late(&in.Head) {
				f.unread++
			}
			continue
		}
		if f.beyond(&in.Head) {
			in.closed, in.scanned = true, r.Offset+1
			continue
		}
		in.loaded = true
		if h := &in.Head; !h.Bad() && h.Result == schemas.IsEvent && h.Ev.At <= f.horizon {
			in.Seen = max(in.Seen, h.At)
		}
		f.Clock.look(in)
	}
	return nil
}

// isMark reports whether a record says that an import is complete. One that can't be read
// is refused like any record.
func isMark(r *kgo.Record) bool {
	m, err := imports.MarkOf(r)
	return m != nil && err == nil
}

// beyond reports whether a record is an event later than the end of the run.
func (f *Feed) beyond(h *Head) bool {
	return !h.Bad() && h.Result == schemas.IsEvent && h.Ev.At > f.Until
}

// late reports whether a record behind one that is beyond the end is so too, or is no
// event.
func (f *Feed) late(h *Head) bool {
	return !h.Bad() && (h.Result != schemas.IsEvent || h.Ev.At > f.Until)
}

// Unread returns how many records were left because they are behind one that is beyond
// the end of the run.
func (f *Feed) Unread() int { return f.unread }

// near looks ahead, and returns the customer that the next record's key names, nil if
// it is not cached.
func (f *Feed) near(in *Input) *cache.Customer {
	if len(in.near) == 0 {
		in.near = in.nearby[:min(len(in.queue), cache.Group)]
		clear(in.near)
		f.LookAhead(in.queue[:len(in.near)], in.near)
	}
	return in.near[0]
}

// Next returns the input whose head is to be taken now, nil if there is none or another
// one is waited for. The head must then be taken, and dropped by Input.Pop.
func (f *Feed) Next() *Input {
	if f.waitForMissing() {
		return nil
	}
	return f.merge.next(f.Clock.Order, f.horizon)
}

// Taken says that the record that Next gave has been taken.
func (f *Feed) Taken() {
	if !f.gaveUp {
		f.blocked = time.Time{}
	}
}

// waitForMissing reports whether to wait for a topic whose next record is not in
// hand. After MaxMergeWait the others go on without it; the clock still waits.
func (f *Feed) waitForMissing() bool {
	missing := f.merge.missing()
	if missing == nil {
		f.blocked, f.gaveUp = time.Time{}, false
		return false
	}
	if !missing.missing() {
		f.ends.Hurry()
	}
	now := f.Config.Now()
	if f.blocked.IsZero() {
		f.blocked = now
	}
	if now.Sub(f.blocked) < f.Config.Time.MaxMergeWait {
		return true
	}
	if !f.gaveUp {
		f.gaveUp = true
		f.Config.Metrics.MergeWaits.Inc()
		f.Log.Warn("records of a topic do not arrive; the others go on without them, timers wait",
			"topic", missing.Topic, "of_partition", missing.Partition, "waited", f.Config.Time.MaxMergeWait)
	}
	return false
}

// Following returns the input whose head is next in a past, nil at its end. The head is
// then to be dropped by Input.Pop.
func (f *Feed) Following(ctx context.Context) (*Input, error) {
	for !f.Exhausted() {
		if err := f.Load(); err != nil {
			return nil, err
		}
		if f.merge.missing() == nil {
			if in := f.merge.next(f.Clock.Order, f.horizon); in != nil {
				return in, nil
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		wait := Interval
		switch {
		case f.Ready():
			wait = 0
		case f.Missing():
			wait = ShortWait
		}
		if err := f.fetch.poll(ctx, wait); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// ShortWait is how long to wait for an answer.
const ShortWait = 5 * time.Millisecond

// Missing reports whether an input is to be waited for.
func (f *Feed) Missing() bool { return f.merge.missing() != nil }

// Ready reports whether there is a record to take now.
func (f *Feed) Ready() bool {
	some := false
	for _, in := range f.inputs {
		if len(in.queue) == 0 && (in.missing() || f.merge.missing() == in) {
			return false
		}
		some = some || in.loaded || in.hold.since.IsZero() && !in.closed && len(in.queue) > 0 && in.queue[0].Offset < in.limit
	}
	return some
}

// Lag returns how many records are not yet taken, as last reported.
func (f *Feed) Lag() (lag int64) {
	for _, in := range f.inputs {
		if in.end != unknown && !in.closed {
			lag += max(0, min(in.end, in.limit)-in.Next)
		}
	}
	return lag
}

// Behind returns by input how far the last event taken is behind the wall clock, 0 if
// the input is read to its end.
func (f *Feed) Behind(wall engine.Millis) map[broker.Partition]engine.Millis {
	behind := make(map[broker.Partition]engine.Millis, len(f.inputs))
	for _, in := range f.inputs {
		behind[in.Place()] = 0
		if in.unread() && in.Seen != changelog.Never {
			behind[in.Place()] = max(0, wall-in.Seen)
		}
	}
	return behind
}

// Exhausted reports whether everything up to the limits has been taken.
func (f *Feed) Exhausted() bool {
	for _, in := range f.inputs {
		if in.loaded || in.unread() || in.closed && in.scanned < in.limit {
			return false
		}
	}
	return true
}

// Heard returns where the clock would be if a batch began now.
func (f *Feed) Heard() engine.Millis { return f.Clock.Heard(f.inputs) }

// Spoken returns the instant up to which the task's own inputs have been taken, false if
// that can't be said now. Of the clock of events nothing is said: it does not wait for what
// is not in hand. Between two batches everything up to it is committed.
func (f *Feed) Spoken() (engine.Millis, bool) {
	if f.Clock.mode == config.EventsClock || f.Clock.held {
		return 0, false
	}
	least, present := engine.Never, engine.Never
	for _, in := range f.inputs {
		switch {
		case in.Imported: // nothing of it is forwarded
		case in.Forwarded:
			present = in.asOf
		default:
			least = min(least, max(in.mark, in.asOf))
		}
	}
	if least == engine.Never {
		least = present // it reads nothing that it could forward
	}
	return least, least != engine.Never && least != changelog.Never
}

// Hurry asks for the ends soon.
func (f *Feed) Hurry() { f.ends.Hurry() }

// Close ends fetching.
func (f *Feed) Close() { f.fetch.close() }

func millis(d time.Duration) engine.Millis { return engine.Millis(d.Milliseconds()) }
