package checker

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/engine"
)

// output is a record of the changes or triggers as a reader sees it.
type output struct {
	ChangeID  string    `json:"change_id"`
	TriggerID string    `json:"trigger_id"`
	Customer  string    `json:"customer_id"`
	Segment   string    `json:"segment"`
	From      string    `json:"from_segment"`
	Trigger   string    `json:"trigger"`
	Action    string    `json:"action"`
	Sequence  uint64    `json:"sequence"`
	Cause     string    `json:"cause"`
	Effective time.Time `json:"effective_at"`
	Fired     time.Time `json:"fired_at"`
	Due       time.Time `json:"due_at"`
	Emitted   time.Time `json:"emitted_at"`

	fields map[string]any // without emitted_at
	where  string         // topic, partition and offset
}

// rule is the segment or trigger; "" of a receipt.
func (o *output) rule() string { return o.Segment + o.Trigger }

// at is the instant as of which the output speaks.
func (o *output) at() engine.Millis {
	if o.TriggerID != "" {
		return engine.Millis(o.Fired.UnixMilli())
	}
	return engine.Millis(o.Effective.UnixMilli())
}

func (o *output) id() string { return o.ChangeID + o.TriggerID }

// text is the output without the wall clock, fields in order of their names.
func (o *output) text() string {
	b, err := json.Marshal(o.fields)
	if err != nil {
		return err.Error() // what was JSON is JSON
	}
	return string(b)
}

// String returns what is needed to recognise the output.
func (o *output) String() string {
	if o.TriggerID != "" {
		return fmt.Sprintf("%s: %s fired %s #%d at %s due %s", o.where, o.Customer, o.Trigger, o.Sequence,
			o.Fired.Format(time.RFC3339Nano), o.Due.Format(time.RFC3339Nano))
	}
	return fmt.Sprintf("%s: %s %s %s #%d at %s by %s", o.where, o.Customer, o.Action, o.Segment, o.Sequence,
		o.Effective.Format(time.RFC3339Nano), o.Cause)
}

// without returns the output as it is if the customer is in no segment that is to be left out:
// a trigger lists those that the customer is in.
func (o *output) without(leftOut func(segment string) bool) *output {
	segments, _ := o.fields["segments"].([]any)
	if len(segments) == 0 {
		return o
	}
	other := *o
	other.fields = maps.Clone(o.fields)
	other.fields["segments"] = slices.DeleteFunc(slices.Clone(segments), func(s any) bool { id, _ := s.(string); return leftOut(id) })
	return &other
}

// decode reads the value of an output.
func decode(value []byte, where string) (*output, error) {
	o := &output{where: where}
	err := json.Unmarshal(value, o)
	if err == nil {
		err = json.Unmarshal(value, &o.fields)
	}
	if err != nil {
		return nil, fmt.Errorf("checker: %s is no output in JSON: %w", where, err)
	}
	delete(o.fields, "emitted_at")
	return o, nil
}

// readOutputs decodes the changes and triggers, and drops repeats where they are
// allowed.
func (j *judgement) readOutputs(context.Context) error {
	seen := map[string]*output{}
	var err error
	if j.changes, err = j.outputsOf(j.cfg.Changes, seen); err != nil {
		return err
	}
	if j.triggers, err = j.outputsOf(j.cfg.Triggers, seen); err != nil {
		return err
	}
	for p, part := range j.parts {
		for _, o := range j.changes[p] {
			t := part.of(o.Customer)
			t.changes = append(t.changes, o)
			j.r.Changes++
			if o.Action == "renamed" && o.From != "" {
				j.was[o.Segment], j.gone[o.From] = o.From, true
			}
		}
		for _, o := range j.triggers[p] {
			t := part.of(o.Customer)
			t.triggers = append(t.triggers, o)
			j.r.Triggers++
		}
	}
	return nil
}

func (p *part) of(customer string) *emitted {
	t := p.emitted[customer]
	if t == nil {
		t = &emitted{}
		p.emitted[customer] = t
	}
	return t
}

func (j *judgement) outputsOf(topic string, seen map[string]*output) (map[int32][]*output, error) {
	all := map[int32][]*output{}
	for _, p := range slices.Sorted(maps.Keys(j.h.Topics[topic])) {
		for _, r := range j.h.Topics[topic][p] {
			o, err := decode(r.Value, place(r))
			if err != nil {
				return nil, err
			}
			if string(r.Key) != o.Customer || j.route(o.Customer) != p {
				j.violate("I1", "%v: the key is %q, and the customer belongs on partition %d", o, r.Key, j.route(o.Customer))
			}
			if before := seen[o.id()]; before != nil {
				if j.cfg.AtLeastOnce && before.text() == o.text() {
					j.r.Repeats++
					continue
				}
				j.doubt(j.parts[p].of(o.Customer), "I1", "%v: its id %s is that of %v", o, o.id(), before)
			}
			seen[o.id()] = o
			all[p] = append(all[p], o)
		}
	}
	return all, nil
}

// repeats reports whether o says what before says, a receipt of an erasure.
func (o *output) repeats(before *output) bool {
	return o.Action == "erased" && before.id() == o.id() && before.text() == o.text()
}

func place(r *kgo.Record) string { return fmt.Sprintf("%s/%d@%d", r.Topic, r.Partition, r.Offset) }

// judgeSequences is I1 and the part of I7 that needs no inputs.
func (j *judgement) judgeSequences(context.Context) error {
	for _, p := range slices.Sorted(maps.Keys(j.parts)) {
		part := j.parts[p]
		for _, customer := range slices.Sorted(maps.Keys(part.emitted)) {
			t := part.emitted[customer]
			erasures := j.judgeChanges(t)
			j.judgeTriggers(t, erasures)
		}
	}
	return nil
}

// judgeChanges judges the changes of one customer and returns how often it was
// erased.
func (j *judgement) judgeChanges(t *emitted) (erasures int) {
	last := map[string]*output{}
	var before *output
	for _, o := range t.changes {
		if before != nil && o.at() < before.at() {
			j.doubt(t, "I1", "%v: earlier than %v", o, before)
		}
		before = o
		if o.Action == "erased" {
			erasures++
			for _, e := range last {
				if e.Action == "entered" {
					j.doubt(t, "I1", "%v: still a member by %v", o, e)
				}
			}
			clear(last)
			before = nil // a late event of the new customer may be older
			if o.Segment != "" || o.Sequence != 0 {
				j.doubt(t, "I1", "%v: a receipt has neither segment nor sequence", o)
			}
			continue
		}
		seq, action := uint64(0), "exited"
		e := last[o.Segment]
		if o.Action == "renamed" {
			j.judgeRename(t, o, last)
			continue
		}
		if e == nil && o.Sequence > 1 {
			e = last[j.was[o.Segment]] // whom the customer had left before it was renamed
		}
		if e != nil {
			seq, action = e.Sequence, e.Action
		}
		if action == "exited" && j.cfg.changing(o.Segment) && o.Sequence == 1 {
			seq = 0 // it was removed, and came back
		}
		if o.Sequence != seq+1 || o.Action == action || (o.Action != "entered" && o.Action != "exited") {
			j.doubt(t, "I1", "%v: after %v (#%d)", o, e, seq)
		}
		last[o.Segment] = o
		if j.cfg.Changing != nil && !j.cfg.Changing(o.Segment) && (o.Cause == "rule_change" || o.Cause == "backfill") {
			j.violate("I10", "%v: the rule has not changed", o)
		}
	}
	return erasures
}

// judgeRename judges a rename: who was a member stays one, and the numbers go on.
func (j *judgement) judgeRename(t *emitted, o *output, last map[string]*output) {
	before, e := last[o.From], last[o.Segment]
	if o.From != "" && (before == nil || before.Action != "entered") || o.Sequence%2 == 0 || o.Cause != "rule_change" ||
		before != nil && o.Sequence < before.Sequence || e != nil && o.Sequence <= e.Sequence {
		j.doubt(t, "I1", "%v: from %v, after %v", o, before, e)
	}
	if o.From != "" {
		delete(last, o.From)
	}
	member := *o
	member.Action = "entered"
	last[o.Segment] = &member
}

// judgeTriggers judges the firings of one customer. Where an erasure stands among
// them is not known, only how many there were.
func (j *judgement) judgeTriggers(t *emitted, erasures int) {
	last, resets := map[string]*output{}, map[string]int{}
	var before *output
	for _, o := range t.triggers {
		if before != nil && o.at() < before.at() && erasures == 0 {
			j.doubt(t, "I1", "%v: earlier than %v", o, before)
		}
		before = o
		seq := uint64(0)
		if e := last[o.Trigger]; e != nil {
			seq = e.Sequence
		}
		back := o.Sequence == 1 && j.cfg.changing(o.Trigger) // it was removed in between
		if o.Sequence == 1 && seq > 0 && resets[o.Trigger] < erasures {
			resets[o.Trigger]++
		} else if o.Sequence != seq+1 && !back {
			j.doubt(t, "I1", "%v: after #%d", o, seq)
		}
		last[o.Trigger] = o
		if o.Due.After(o.Fired) {
			j.doubt(t, "I7", "%v: fired before it was due", o)
		}
	}
}
