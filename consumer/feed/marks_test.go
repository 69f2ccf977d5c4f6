package feed

import (
	"testing"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
)

// docs/semantics.md, 4.27: of forwarded records a task has heard up to the least instant to
// which the others had spoken before it asked where its partition ends, once it has read up
// to that end; later ends do not put it off.
func TestForwardedIsHeard(t *testing.T) {
	c := &Clock{mode: config.WallClock, grace: 10, silence: 10, Now: changelog.Never, Order: changelog.Never, Latest: changelog.Never}
	own, in := NewInput(broker.Partition{Topic: "a"}, 0, false), NewInput(broker.Partition{Topic: "r"}, 0, true)
	var m Marks
	hear := func(end int64, asked engine.Millis) {
		c.hear(own, report{asked: asked})
		c.hear(in, report{end: end, stable: end, asked: asked, bound: m.bound([]int32{1, 2})})
	}
	hear(0, 1000)
	wantClock(t, c, changelog.Never, own, in) // nobody has spoken
	m.Say(1, 900)
	hear(0, 1050)
	wantClock(t, c, changelog.Never, own, in) // one has not
	m.Say(2, 500)
	m.Say(1, 800) // of an owner that had not heard
	hear(0, 1100)
	wantClock(t, c, 490, own, in)
	m.Say(2, 950)
	hear(2, 1150)
	wantClock(t, c, 490, own, in)
	c.hand(in, 0, 700)
	wantClock(t, c, 490, own, in) // the record of one says nothing of another's
	in.Pop()
	m.Say(1, 2000)
	m.Say(2, 3000)
	hear(5, 3050)
	wantClock(t, c, 490, own, in)
	c.hand(in, 1, 710)
	in.Pop()
	hear(9, 3100) // the first end has been read, later ones have not
	wantClock(t, c, 890, own, in)
	c.hear(in, report{end: 9, stable: 9, asked: 3150}) // the inputs are even now
	for range 7 {
		c.hand(in, in.Next, 0)
		in.Pop()
	}
	c.hear(in, report{end: 9, stable: 9, asked: 3200})
	wantClock(t, c, 3090, own, in)
	if got, want := m.bound(nil), (bound{}); got != want {
		t.Errorf("nobody is waited for, and the bound is %v", got)
	}
}
