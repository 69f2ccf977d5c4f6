package promise

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// change is what the suite reads of a membership change.
type change struct {
	Customer string `json:"customer_id"`
	Segment  string `json:"segment"`
	Action   string `json:"action"`
	Sequence int    `json:"sequence"`
	From     string `json:"from_segment"` // of a renamed segment, the id before
	At       string `json:"effective_at"`
	Cause    string `json:"cause"`
}

// changes returns what was emitted, by customer, in order; what Before emitted comes
// first. Sequences of each customer and segment must be 1, 2, 3 and so on.
func (j *Job) changes() map[string][]change {
	j.Helper()
	m := map[string][]change{}
	if j.Before != nil {
		m = j.Before.changes()
	}
	last := map[[2]string]int{}
	for id, l := range m {
		for _, c := range l {
			last[[2]string{id, c.Segment}] = c.Sequence
		}
	}
	for _, r := range j.Records(j.Topic("changes")) {
		var c change
		if err := json.Unmarshal(r.Value, &c); err != nil {
			j.Fatalf("%v: %s", err, r.Value)
		}
		switch {
		case c.Action == "renamed": // it goes on with the number of its entry
			last[[2]string{c.Customer, c.Segment}] = c.Sequence
		case c.Segment != "":
			k := [2]string{c.Customer, c.Segment}
			if _, ok := last[k]; !ok && j.Was[c.Segment] != "" { // who had left under the former id goes on counting
				last[k] = last[[2]string{c.Customer, j.Was[c.Segment]}]
			}
			if last[k]++; c.Sequence != last[k] {
				j.Errorf("sequence %d of %v, want %d", c.Sequence, k, last[k])
			}
		}
		m[c.Customer] = append(m[c.Customer], c)
	}
	return m
}

// Members returns the segments that each customer is in, by what was emitted.
func (j *Job) Members() map[string]map[string]bool {
	j.Helper()
	m := map[string]map[string]bool{}
	for id, l := range j.changes() {
		m[id] = map[string]bool{}
		for _, c := range l {
			switch c.Action {
			case "entered":
				m[id][c.Segment] = true
			case "exited":
				delete(m[id], c.Segment)
			case "renamed":
				delete(m[id], c.From)
				m[id][c.Segment] = true
			}
		}
	}
	return m
}

// ChangesOf returns what was emitted of some segments, in order, by customer.
func (j *Job) ChangesOf(of func(segment string) bool) map[string][]string {
	j.Helper()
	m := map[string][]string{}
	for id, l := range j.changes() {
		for _, c := range l {
			if of(c.Segment) {
				m[id] = append(m[id], fmt.Sprintf("%s %s %d %s %s", c.Action, c.Segment, c.Sequence, c.At, c.Cause))
			}
		}
	}
	return m
}

// Told reports whether an action was emitted about a customer.
func (j *Job) Told(customer, action string) bool {
	j.Helper()
	return slices.ContainsFunc(j.changes()[customer], func(c change) bool { return c.Action == action })
}

// Live returns how many records of a customer the changelog holds that no later
// tombstone deletes.
func (j *Job) Live(customer string) int {
	j.Helper()
	live := map[string]bool{}
	for _, r := range j.Records(j.Topic("changelog")) {
		if key := string(r.Key); key == "c/"+customer {
			live[key] = r.Value != nil
		}
	}
	n := 0
	for _, is := range live {
		if is {
			n++
		}
	}
	return n
}

// Fresh returns a new job with the rules of j that runs over all records that were
// acknowledged to j, and Before it, until now.
func (j *Job) Fresh() *Job {
	j.Helper()
	fresh := New(j.T, j.Kafka, Setup{Delivery: j.Delivery, Clock: "events"})
	fresh.Rules, fresh.Until = j.Rules, time.Now()
	all := j.Load.Acked()
	prefix := []string{j.inputs}
	if j.Before != nil {
		all, prefix = append(j.Before.Load.Acked(), all...), append(prefix, j.Before.inputs)
	}
	slices.SortStableFunc(all, func(a, b *kgo.Record) int {
		return cmp.Or(a.Timestamp.Compare(b.Timestamp), cmp.Compare(a.Offset, b.Offset))
	})
	for _, r := range all {
		topic := r.Topic
		for _, p := range prefix {
			if len(topic) > len(p) && topic[:len(p)] == p {
				topic = fresh.inputs + topic[len(p):]
			}
		}
		fresh.Load.Publish(&kgo.Record{Topic: topic, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp})
	}
	fresh.Load.Flush()
	return fresh
}

// Continue numbers events after those of another load.
func (l *Load) Continue(before *Load) { l.events = before.events + 1 }
