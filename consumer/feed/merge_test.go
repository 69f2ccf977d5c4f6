package feed

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// item is a record of a merge test: a time, or something without one.
type item struct {
	at        engine.Millis
	bad, tomb bool
}

func at(times ...engine.Millis) []item {
	var l []item
	for _, t := range times {
		l = append(l, item{at: t})
	}
	return l
}

var badItem, tombAt = item{bad: true}, func(t engine.Millis) item { return item{at: t, tomb: true} }

// drain merges topics a, b, c … and returns what is taken as "a0 b0 a1". The
// clock of the merge is moved to clock after each record.
func drain(mode config.ClockMode, clockAfter func(taken engine.Millis) engine.Millis, horizon engine.Millis, topics ...[]item) string {
	m := merge{mode: mode}
	left := map[string][]item{}
	for i, items := range topics {
		topic := string(rune('a' + i))
		in := NewInput(broker.Partition{Topic: topic}, 0, false)
		in.end = int64(len(items))
		m.inputs = append(m.inputs, in)
		left[topic] = items
	}
	load := func() {
		for _, in := range m.inputs {
			if l := left[in.Topic]; !in.loaded && len(l) > 0 {
				in.Head = Head{Rec: &kgo.Record{Offset: in.Next}, At: l[0].at, Ev: engine.Event{At: l[0].at}, Result: schemas.IsEvent}
				if l[0].tomb {
					in.Head.Result = schemas.IsTombstone
				}
				if l[0].bad {
					in.Head.Err = &schemas.BadInput{Detail: "bad"}
				}
				in.loaded, left[in.Topic] = true, l[1:]
			}
		}
	}
	var got []string
	now := changelog.Never
	for {
		load()
		in := m.next(now, horizon)
		if in == nil {
			return strings.Join(got, " ")
		}
		got = append(got, fmt.Sprintf("%s%d", in.Topic, in.Next))
		if !in.Head.Bad() {
			now = max(now, clockAfter(in.Head.At))
		}
		in.Pop()
	}
}

// docs/semantics.md, 4.14, 4.15 and 4.16: the order of records.
func TestMergeOrder(t *testing.T) {
	still := func(engine.Millis) engine.Millis { return changelog.Never }
	follow := func(t engine.Millis) engine.Millis { return t }
	for _, c := range []struct {
		name   string
		mode   config.ClockMode
		clock  func(engine.Millis) engine.Millis
		topics [][]item
		want   string
	}{
		{"by time across topics", config.EventsClock, still, [][]item{at(1, 4, 5), at(2, 3, 6)}, "a0 b0 b1 a1 a2 b2"},
		{"equal times by topic", config.EventsClock, still, [][]item{at(1, 1), at(1)}, "a0 a1 b0"},
		{"offsets are never reordered", config.EventsClock, still, [][]item{at(9, 1), at(5, 6)}, "b0 b1 a0 a1"},
		{
			"a head older than the clock has no claim: one of each topic after a record with a claim", config.EventsClock, follow,
			[][]item{at(10, 11, 12), at(1, 2, 3), at(4, 5)},
			"b0 b1 b2 c0 c1 a0 a1 a2",
		},
		{
			"late ones do not stop the others and are not stopped", config.EventsClock, follow,
			[][]item{at(10, 1, 2, 11), at(20, 3, 4, 21)},
			"a0 a1 b0 a2 b1 a3 b2 b3",
		},
		{"unreadable ones go along", config.EventsClock, still, [][]item{{badItem, badItem, badItem}, at(1, 2)}, "b0 a0 b1 a1 a2"},
		{"none has a claim: round robin", config.EventsClock, still, [][]item{{badItem, badItem}, {badItem}, {badItem, badItem}}, "a0 b0 c0 a1 c1"},
		{"far in the future is no claim", config.EventsClock, still, [][]item{at(1_000_000), at(1, 2)}, "b0 a0 b1"},
		{"a tombstone has the claim of its time, with the clock of events", config.EventsClock, still, [][]item{{tombAt(100), tombAt(300)}, at(1, 200)}, "b0 a0 b1 a1"},
		{"and with the wall clock", config.WallClock, still, [][]item{{tombAt(100), tombAt(300)}, at(1, 200)}, "b0 a0 b1 a1"},
		{"but not in the far future", config.EventsClock, still, [][]item{{tombAt(1_000_000)}, at(1, 2)}, "b0 a0 b1"},
	} {
		if got := drain(c.mode, c.clock, 1000, c.topics...); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// The order does not depend on where the merge is interrupted: its state is the
// turn.
func TestMergeGoesOnFromTurn(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 200 {
		topics := make([][]item, 3)
		for i := range topics {
			for range rng.IntN(8) {
				topics[i] = append(topics[i], item{at: engine.Millis(rng.IntN(30)), bad: rng.IntN(4) == 0})
			}
		}
		follow := func(t engine.Millis) engine.Millis { return t - 5 }
		want := drain(config.EventsClock, follow, 1000, topics...)
		var whole merge
		for i := range topics {
			whole.inputs = append(whole.inputs, NewInput(broker.Partition{Topic: string(rune('a' + i))}, 0, false))
		}
		taken, now, pos := []string{}, changelog.Never, make([]int, 3)
		turnNow := changelog.Turn{}
		for {
			// Everything is made again for each record, but for the turn and offsets.
			m := merge{mode: config.EventsClock, turn: turnNow}
			for i, items := range topics {
				in := NewInput(broker.Partition{Topic: string(rune('a' + i))}, int64(pos[i]), false)
				if pos[i] < len(items) {
					it := items[pos[i]]
					in.Head = Head{Rec: &kgo.Record{Offset: in.Next}, At: it.at, Ev: engine.Event{At: it.at}, Result: schemas.IsEvent}
					if it.bad {
						in.Head.Err = &schemas.BadInput{Detail: "bad"}
					}
					in.loaded = true
				}
				m.inputs = append(m.inputs, in)
			}
			in := m.next(now, 1000)
			if in == nil {
				break
			}
			taken = append(taken, fmt.Sprintf("%s%d", in.Topic, in.Next))
			if !in.Head.Bad() {
				now = max(now, follow(in.Head.At))
			}
			pos[slices.Index(m.inputs, in)]++
			turnNow = m.turn
		}
		if got := strings.Join(taken, " "); got != want {
			t.Fatalf("%v: %s, want %s", topics, got, want)
		}
	}
}

// With the wall clock a record waits until the other topics are known to have
// nothing older: until they are read as of its time, or as of when it came.
func TestMergeWaitsForOlder(t *testing.T) {
	m := merge{mode: config.WallClock}
	a, b := NewInput(broker.Partition{Topic: "a"}, 0, false), NewInput(broker.Partition{Topic: "b"}, 0, false)
	m.inputs = []*Input{a, b}
	a.end, b.end = 1, 0
	in := func(at, came engine.Millis) {
		a.Head, a.loaded = Head{Rec: &kgo.Record{}, At: at, came: came}, true
	}
	for _, c := range []struct {
		at, came, asOf engine.Millis
		waits          bool
	}{
		{at: 100, came: 105, asOf: 99, waits: true},
		{at: 100, came: 105, asOf: 100},
		{at: 200, came: 105, asOf: 104, waits: true}, // dated ahead: it is enough that it is here
		{at: 200, came: 105, asOf: 105},
		{at: changelog.Never, came: 105, asOf: 0}, // unreadable: it has no time to wait for
	} {
		in(c.at, c.came)
		b.asOf = c.asOf
		if got := m.missing(); (got == b) != c.waits {
			t.Errorf("%+v: waits for %v", c, got)
		}
	}
	in(100, 105)
	b.asOf, m.mode = 0, config.EventsClock
	if m.missing() != nil {
		t.Error("over history, what is there at the end of a topic is all there is")
	}
}
