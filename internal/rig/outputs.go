package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
)

// Ends returns where the partitions of topics end, for a reader of committed records.
func (g *Rig) Ends(topics ...string) map[string]map[int32]int64 {
	g.Helper()
	cluster := broker.Cluster{Admin: g.Client}
	infos, err := cluster.Describe(context.Background(), topics...)
	if err != nil {
		g.Fatal(err)
	}
	var all []broker.Partition
	ends := map[string]map[int32]int64{}
	for topic, info := range infos {
		ends[topic] = map[int32]int64{}
		for p := range info.Partitions {
			all = append(all, broker.Partition{Topic: topic, Number: p})
		}
	}
	got, err := cluster.Offsets(context.Background(), broker.LastStable, all)
	if err != nil {
		g.Fatal(err)
	}
	for in, end := range got {
		ends[in.Topic][in.Number] = end
	}
	return ends
}

// Read returns all committed records of a topic, by partition.
func (g *Rig) Read(topic string) map[int32][]*kgo.Record {
	g.Helper()
	ends := g.Ends(topic)[topic]
	from := map[int32]kgo.Offset{}
	left := 0
	for p, end := range ends {
		if end > 0 {
			from[p] = kgo.NewOffset().AtStart()
			left++
		}
	}
	got := map[int32][]*kgo.Record{}
	if left == 0 {
		return got
	}
	cl, err := kgo.NewClient(append(slices.Clone(g.Kafka), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), kgo.DisableFetchSessions(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))...)
	if err != nil {
		g.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for left > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			g.Fatalf("read %s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				got[r.Partition] = append(got[r.Partition], r)
			}
			if r.Offset == ends[r.Partition]-1 {
				left--
			}
		})
	}
	return got
}

// Effect is an output as a reader sees it.
type Effect struct {
	ID       string    `json:"change_id"`
	Trigger  string    `json:"trigger_id"`
	Customer string    `json:"customer_id"`
	Segment  string    `json:"segment"`
	Name     string    `json:"trigger"`
	From     string    `json:"from_segment"`
	Action   string    `json:"action"`
	Sequence int       `json:"sequence"`
	Cause    string    `json:"cause"`
	At       time.Time `json:"effective_at"`
	Fired    time.Time `json:"fired_at"`
	Due      time.Time `json:"due_at"`
}

func (e Effect) String() string {
	if e.Trigger != "" {
		return fmt.Sprintf("%s fired %s #%d at %s", e.Customer, e.Name, e.Sequence, e.Fired.Format(time.RFC3339Nano))
	}
	return fmt.Sprintf("%s %s %s #%d at %s (%s)", e.Customer, e.Action, e.Segment, e.Sequence, e.At.Format(time.RFC3339Nano), e.Cause)
}

// Effects returns the outputs of a topic by partition.
func (g *Rig) Effects(topic string) map[int32][]Effect {
	g.Helper()
	got := map[int32][]Effect{}
	for p, records := range g.Read(topic) {
		for _, r := range records {
			var e Effect
			if err := json.Unmarshal(r.Value, &e); err != nil {
				g.Fatal(err)
			}
			if string(r.Key) != e.Customer || g.Route.Partition(e.Customer) != p {
				g.Errorf("%v has key %q on partition %d", e, r.Key, p)
			}
			got[p] = append(got[p], e)
		}
	}
	if g.Delivery == config.AtLeastOnce {
		for p := range got {
			got[p] = g.once(got[p])
		}
	}
	return got
}

// once leaves out effects that were emitted before. They must be equal to the first.
func (g *Rig) once(effects []Effect) []Effect {
	g.Helper()
	emitted := map[string]Effect{}
	return slices.DeleteFunc(effects, func(e Effect) bool {
		before, ok := emitted[e.ID+e.Trigger]
		if ok && before != e {
			g.Errorf("%v was emitted again as %v", before, e)
		}
		if ok {
			g.Duplicates++
		}
		emitted[e.ID+e.Trigger] = e
		return ok
	})
}

// Transcript returns all outputs as text, without what may differ between runs.
func (g *Rig) Transcript() string {
	g.Helper()
	var b strings.Builder
	for _, topic := range []string{"changes", "triggers"} {
		effects := g.Effects(topic)
		for _, p := range slices.Sorted(maps.Keys(effects)) {
			for _, e := range effects[p] {
				fmt.Fprintf(&b, "%s/%d %v %s%s\n", topic, p, e, e.ID, e.Trigger)
			}
		}
	}
	return b.String()
}

// Members returns who is in which segment, "customer segment", by the changes
// alone, and fails the test if a change is missing or doubled. Of who has left a segment
// before it was renamed, it learns that from what is emitted of others.
func (g *Rig) Members() []string {
	g.Helper()
	last, was := map[string]Effect{}, map[string]string{}
	all := g.Effects("changes")
	for _, effects := range all {
		for _, e := range effects {
			if e.Action == "renamed" && e.From != "" {
				was[e.Segment] = e.From
			}
		}
	}
	for _, effects := range all {
		for _, e := range effects {
			if e.Action == "erased" {
				maps.DeleteFunc(last, func(_ string, l Effect) bool { return l.Customer == e.Customer })
				continue
			}
			key := e.Customer + " " + e.Segment
			before, ok := last[key]
			if e.Action == "renamed" {
				if e.Sequence%2 == 0 || e.Sequence <= before.Sequence || e.At.Before(before.At) {
					g.Errorf("%v after %v", e, before)
				}
				delete(last, e.Customer+" "+e.From)
				e.Action = "entered"
				last[key] = e
				continue
			}
			if !ok && e.Sequence > 1 {
				before = last[e.Customer+" "+was[e.Segment]]
			}
			if e.Sequence != before.Sequence+1 || (e.Sequence%2 == 1) != (e.Action == "entered") || e.At.Before(before.At) {
				g.Errorf("%v after %v", e, before)
			}
			last[key] = e
		}
	}
	var in []string
	for key, e := range last {
		if e.Action == "entered" {
			in = append(in, key)
		}
	}
	slices.Sort(in)
	return in
}

// Positions returns the last position of every partition, and fails the test if
// their numbers have gaps.
func (g *Rig) Positions() map[int32]*changelog.Position {
	g.Helper()
	last := map[int32]*changelog.Position{}
	for p, records := range g.Read(App + ".changelog") {
		seq := uint64(0)
		var owner changelog.Claim
		for _, r := range records {
			if changelog.IsClaim(string(r.Key)) {
				owner = changelog.Claim(r.Value)
			}
			if string(r.Key) != changelog.PositionKey {
				continue
			}
			pos, err := changelog.DecodePosition(r.Value)
			if err != nil {
				g.Fatal(err)
			}
			if pos.Claim != owner {
				continue // void
			}
			if pos.Seq != seq+1 && (!g.Compacted || pos.Seq <= seq) {
				g.Errorf("partition %d: position %d after %d", p, pos.Seq, seq)
			}
			if before := last[p]; before != nil && pos.Clock < before.Clock {
				g.Errorf("partition %d: the clock went back from %v to %v", p, before.Clock, pos.Clock)
			}
			seq, last[p] = pos.Seq, pos
		}
	}
	return last
}

// Totals adds up the counts of the positions.
func (g *Rig) Totals() (folded, dead, forwarded uint64) {
	for _, p := range g.Positions() {
		folded, dead, forwarded = folded+p.Folded, dead+p.DeadLetters, forwarded+p.Forwarded
	}
	return folded, dead, forwarded
}

// PartitionsOf returns the numbers of partitions of topics, of those that exist.
func (g *Rig) PartitionsOf(topics ...string) map[string]int {
	g.Helper()
	got, err := kadm.NewClient(g.Client).ListTopics(context.Background(), topics...)
	if err != nil {
		g.Fatal(err)
	}
	n := map[string]int{}
	for _, t := range got {
		n[t.Topic] = len(t.Partitions)
	}
	return n
}

// Setting returns a setting of a topic.
func (g *Rig) Setting(topic, key string) string {
	g.Helper()
	got, err := kadm.NewClient(g.Client).DescribeTopicConfigs(context.Background(), topic)
	if err != nil {
		g.Fatal(err)
	}
	for _, c := range got[0].Configs {
		if c.Key == key {
			return c.MaybeValue()
		}
	}
	return ""
}
