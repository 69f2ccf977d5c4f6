package feed

import (
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
)

// Clock is the task clock: the instant up to which the task believes to have
// heard everybody, so that silence means something. It never goes back. Two
// things move it: reports of where the inputs end, read once per batch, and the
// records themselves, after each one.
type Clock struct {
	mode config.ClockMode
	// grace is how much later than others a record may be and still have its place in
	// the order of records; silence, at least as much, is how far now stays behind.
	grace, silence engine.Millis
	Now            engine.Millis
	Order          engine.Millis // what is older has no place in the order
	Latest         engine.Millis // the greatest event time folded
	// held: an input's partition has no leader, or had none a moment ago. What was sent
	// to it is yet to come, however late, and now waits.
	held bool
}

// report is where a partition ended, as of the wall clock when the question was
// sent: its high watermark, and the offset of the first transaction that is still open
// in it, which is the high watermark if none is.
type report struct {
	end, stable int64
	asked       engine.Millis
	// bound is what was known, before the question was sent, of the tasks that forward to
	// the partition.
	bound bound
}

// hear takes in a report. What is in an open transaction is known to exist, so
// until that has ended nothing is known of the time after it.
func (in *Input) hear(r report) {
	in.end, in.stable = max(in.end, r.end), max(in.stable, r.stable)
	if in.Next >= r.end || in.passesOver() {
		in.asOf = max(in.asOf, r.asked)
	}
	if in.Forwarded {
		in.hearBound(r)
	}
}

// hearBound takes in a report of the repartition topic, if its task waits for what others
// forward to it:
//
//  1. A task commits what it has read, with what it forwards of it.
//  2. It speaks up to an instant, of which we hear.
//  3. We ask where the partition ends: everything of step 1 is before that.
//  4. We read up to there. Now nothing older than the instant is still to come from it.
//
// While records keep coming, the end that was reported last is never reached. Hence the
// end of one report is waited for, whatever later ones say.
func (in *Input) hearBound(r report) {
	in.bound = r.bound
	if !r.bound.any {
		in.awaited = nil
		return
	}
	if in.awaited == nil {
		in.awaited = &r
	}
	if in.Next >= in.awaited.end || in.passesOver() {
		in.spoken = max(in.spoken, min(in.awaited.asked, in.awaited.bound.at))
		in.awaited = nil
	}
}

// silentTo returns up to which instant nothing is to come that has not been read, if the
// partition is silent.
func (in *Input) silentTo() engine.Millis {
	if in.bound.any {
		return in.spoken
	}
	return in.asOf
}

// begin takes in what was heard of an input. With the wall clock, a partition
// that is read up to a reported end has nothing older than the question.
func (c *Clock) begin(in *Input) {
	if c.mode == config.WallClock {
		in.mark = max(in.mark, in.silentTo())
	}
	c.look(in)
}

// look takes in the head of an input, once it is in hand or the end is known.
// The clock of events does not wait for the end: a record in hand says that it is
// not reached, and were the clock to wait, late records would be evaluated as of an
// instant that depends on when brokers answer. A forwarded record says nothing of what
// other tasks have yet to forward.
func (c *Clock) look(in *Input) {
	if in.loaded && !in.bound.any && (c.mode == config.EventsClock || in.Head.Rec.Offset < min(in.end, in.limit)) {
		in.mark = max(in.mark, in.Seen)
	}
}

// Heard returns where the clock would be if a batch began now.
func (c *Clock) Heard(inputs []*Input) engine.Millis {
	least := engine.Never
	for _, in := range inputs {
		least = min(least, max(in.mark, in.silentTo()))
	}
	if c.held || least == engine.Never || least <= changelog.Never+c.silence {
		return c.Now
	}
	return max(c.Now, least-c.silence)
}

// advance moves the clock to what the inputs allow.
func (c *Clock) advance(inputs []*Input) {
	least := engine.Never
	for _, in := range inputs {
		if c.mode == config.EventsClock && !in.loaded && !in.unread() && in.end != unknown {
			continue // read to its end: no mark
		}
		least = min(least, in.mark)
	}
	if least == engine.Never {
		least = c.Latest
	}
	if least > changelog.Never+c.grace {
		c.Order = max(c.Order, least-c.grace)
	}
	if !c.held && least > changelog.Never+c.silence {
		c.Now = max(c.Now, least-c.silence)
	}
}
