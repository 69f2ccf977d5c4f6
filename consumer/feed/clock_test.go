package feed

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
)

// hear is a report at the beginning of a batch.
func (c *Clock) hear(in *Input, r report) {
	in.hear(r)
	c.begin(in)
}

// hand puts a record into an input's hand.
func (c *Clock) hand(in *Input, offset int64, t engine.Millis) {
	in.Head = Head{Rec: &kgo.Record{Offset: offset}, At: t}
	in.loaded, in.Seen = true, max(in.Seen, t)
	c.look(in)
}

func wantClock(t *testing.T, c *Clock, want engine.Millis, ins ...*Input) {
	t.Helper()
	c.advance(ins)
	if c.Now != want {
		t.Errorf("clock %d, want %d", c.Now, want)
	}
}

// docs/semantics.md, 4.8: a partition is read as of the wall time at which a request
// was sent that reported an end it has been read to, and the clock is the least mark
// minus the grace.
func TestWallClock(t *testing.T) {
	c := &Clock{mode: config.WallClock, grace: 10, silence: 10, Now: changelog.Never, Order: changelog.Never, Latest: changelog.Never}
	a, b := NewInput(broker.Partition{Topic: "a"}, 0, false), NewInput(broker.Partition{Topic: "b"}, 5, false)
	wantClock(t, c, changelog.Never, a, b)
	c.hear(a, report{end: 0, asked: 1000})
	wantClock(t, c, changelog.Never, a, b) // nothing is known of b
	c.hear(b, report{end: 7, asked: 1000})
	wantClock(t, c, changelog.Never, a, b) // b has unread records, none in hand
	c.hand(b, 5, 200)
	wantClock(t, c, 190, a, b) // b is behind: the clock follows its log
	b.Pop()
	c.hand(b, 6, 150)
	wantClock(t, c, 190, a, b) // an older record does not move it back
	b.Pop()
	wantClock(t, c, 190, a, b) // read, but nobody has said yet that this is the end now
	c.hear(a, report{end: 0, asked: 1050})
	c.hear(b, report{end: 7, asked: 1050})
	wantClock(t, c, 1040, a, b)
	c.hand(a, 0, 1060) // arrived after the report: folded at once, moves nothing
	wantClock(t, c, 1040, a, b)
	c.hear(a, report{end: 1, asked: 1100})
	c.hear(b, report{end: 7, asked: 1100})
	wantClock(t, c, 1050, a, b)
	c.hear(a, report{end: 1, asked: 900}) // the wall clock went back
	wantClock(t, c, 1050, a, b)
}

// Silence can wait longer than the order of records, and does not end while a
// partition is without a leader.
func TestClockOfSilence(t *testing.T) {
	c := &Clock{mode: config.WallClock, grace: 10, silence: 100, Now: changelog.Never, Order: changelog.Never, Latest: changelog.Never}
	a := NewInput(broker.Partition{Topic: "a"}, 0, false)
	c.hear(a, report{end: 0, asked: 1000})
	wantClock(t, c, 900, a)
	if c.Order != 990 {
		t.Errorf("the order goes by %v", c.Order)
	}
	c.held = true
	c.hear(a, report{end: 0, asked: 2000})
	if heard := c.Heard([]*Input{a}); heard != 900 {
		t.Errorf("held, and a batch would begin at %v", heard)
	}
	wantClock(t, c, 900, a)
	if c.Order != 1990 {
		t.Errorf("the order goes by %v", c.Order)
	}
	c.held = false
	wantClock(t, c, 1900, a)
}

// A partition has had a leader for as long as the same one has answered.
func TestLed(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	e := NewEnds(nil, func() time.Time { return now }, nil, nil)
	e.Watch(0, []broker.Partition{{Topic: "a"}, {Topic: "b"}})
	answer := func(topic string, epoch int32) { e.leads[0][broker.Partition{Topic: topic}].answer(epoch, now) }
	want := func(what string, led bool) {
		t.Helper()
		if e.Led(0, time.Minute) != led {
			t.Errorf("%s: led is %v", what, !led)
		}
	}
	pass := func(d time.Duration, epoch int32) { // in which both answer
		for end := now.Add(d); now.Before(end); now = now.Add(time.Second) {
			answer("a", 0)
			answer("b", epoch)
		}
	}
	want("nobody has answered", false)
	pass(59*time.Second, 7)
	want("nothing is known of what was before", false)
	pass(2*time.Second, 7)
	want("a minute", true)
	pass(time.Second, 8)
	want("another leader", false)
	pass(time.Minute, 8)
	want("a minute after that", true)
	now = now.Add(3 * time.Second)
	want("silence", false)
	pass(59*time.Second, 8)
	want("the same one again, after silence", false)
	pass(time.Minute, 8)
	want("a minute after that", true)
}

// With the clock of events a partition read to its end has no mark; when none has one,
// the clock is the greatest event time processed minus grace.
func TestEventsClock(t *testing.T) {
	c := &Clock{mode: config.EventsClock, grace: 10, silence: 10, Now: changelog.Never, Order: changelog.Never, Latest: changelog.Never}
	a, b := NewInput(broker.Partition{Topic: "a"}, 0, false), NewInput(broker.Partition{Topic: "b"}, 0, false)
	c.hear(a, report{end: 2, asked: 1 << 40})
	wantClock(t, c, changelog.Never, a, b) // the end of b is not known
	c.hear(b, report{end: 1, asked: 1 << 40})
	c.hand(a, 0, 100)
	wantClock(t, c, changelog.Never, a, b)
	c.hand(b, 0, 300)
	wantClock(t, c, 90, a, b)
	a.Pop()
	c.Latest = 100
	c.hand(a, 1, 250)
	wantClock(t, c, 240, a, b)
	a.Pop()
	c.Latest = 250
	wantClock(t, c, 290, a, b) // a is at its end: only b has a mark
	b.Pop()
	c.Latest = 300
	wantClock(t, c, 290, a, b)
	b.mark = changelog.Never
	c.Latest = 400
	wantClock(t, c, 390, a, b)
}

// A record in hand counts before anybody has said where its partition ends, so
// that the clock does not depend on when brokers answer.
func TestEventsClockBeforeTheEndIsKnown(t *testing.T) {
	c := &Clock{mode: config.EventsClock, grace: 10, silence: 10, Now: changelog.Never, Order: changelog.Never, Latest: changelog.Never}
	a, b := NewInput(broker.Partition{Topic: "a"}, 0, false), NewInput(broker.Partition{Topic: "b"}, 0, false)
	c.hear(a, report{end: 2})
	c.hand(a, 0, 300)
	c.hand(b, 0, 100) // its end is not known
	wantClock(t, c, 90, a, b)
	b.Pop()
	c.Latest = 100
	c.hand(b, 1, 200)
	c.hear(b, report{end: 1}) // an old answer: the record in hand is beyond it
	wantClock(t, c, 190, a, b)
	b.Pop()
	c.Latest = 200
	wantClock(t, c, 290, a, b)
}
