package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/bench/internal/job"
	"github.com/segmill/segmill/bench/internal/lab"
	"github.com/segmill/segmill/bench/internal/side"
)

// addedCount and addedWindow are of the rule that is added.
const (
	addedCount  = 12
	addedWindow = 90 * job.Day
)

// added is the rule that is added. It reads more of the past than what is kept for the others.
var added = job.Rule{ID: "loyal", When: fmt.Sprintf("count(purchase, days(90)) >= %d", addedCount)}

// members are what was emitted, beside what the events say.
type members struct {
	New     int `json:"members"`      // of the new segment, as emitted
	Want    int `json:"members_want"` // and by the events
	Wrong   int `json:"wrong"`        // memberships of all segments that differ
	Strange int `json:"strange"`      // changes of the ten rules that come from no event and no timer
}

// facts are what the rules say of a customer.
type facts struct {
	job.Facts
	last  int64 // when the channel and the currency were set
	count int   // in addedWindow
}

// take takes in an event, as of an instant.
func (f *facts) take(d *job.Decoded, at int64) {
	if d.At > at-job.WindowMillis {
		f.Count++
		f.Sum += d.Revenue
	}
	if d.At > at-addedWindow {
		f.count++
	}
	if d.At >= f.last {
		f.last, f.Channel, f.Currency = d.At, job.ChannelCode(d.Channel), job.CurrencyCode(d.Currency)
	}
}

// mask returns of which segments the customer is a member: a bit for each of the ten rules,
// and one beyond for the added one.
func (f *facts) mask() (m uint16) {
	if f.last == 0 {
		return 0 // nobody
	}
	for i, r := range job.Ten {
		if r.Holds(&f.Facts) {
			m |= 1 << i
		}
	}
	if f.count >= addedCount {
		m |= addedBit
	}
	return m
}

var addedBit = uint16(1) << len(job.Ten)

// bit returns the bit of a segment, 0 for that of the flow.
func bit(segment []byte) uint16 {
	if string(segment) == added.ID {
		return addedBit
	}
	if i := slices.IndexFunc(job.Ten, func(r job.Rule) bool { return r.ID == string(segment) }); i >= 0 {
		return 1 << i
	}
	return 0
}

// count compares the memberships that were emitted with the events, as of an instant behind
// all events.
func count(ctx context.Context, b *lab.Broker, customers int, at int64) (m members, err error) {
	want := make([]facts, customers)
	var d job.Decoded
	if err := b.Read(ctx, side.Input, func(r *kgo.Record) error {
		if !job.Decode(r.Value, &d) {
			return fmt.Errorf("the event at %d of partition %d cannot be read", r.Offset, r.Partition)
		}
		n, err := number(d.Customer)
		if err == nil {
			want[n].take(&d, at)
		}
		return err
	}); err != nil {
		return m, err
	}
	got := make([]uint16, customers)
	var c job.Change
	if err := b.Read(ctx, side.Changes, func(r *kgo.Record) error {
		if err := job.ReadChange(r.Value, &c); err != nil {
			return err
		}
		of := bit(c.Segment)
		if of != addedBit && c.Why != job.ByEvent && c.Why != job.ByTimer {
			m.Strange++
		}
		n, err := number(c.Customer)
		switch {
		case err != nil || c.At > at:
		case c.Entered:
			got[n] |= of
		default:
			got[n] &^= of
		}
		return err
	}); err != nil {
		return m, err
	}
	for n := range want {
		is := want[n].mask()
		for diff := is ^ got[n]; diff != 0; diff &= diff - 1 {
			m.Wrong++
		}
		if is&addedBit != 0 {
			m.Want++
		}
		if got[n]&addedBit != 0 {
			m.New++
		}
	}
	return m, nil
}

// number returns the number of a customer.
func number(id []byte) (int, error) { return strconv.Atoi(string(id[min(1, len(id)):])) }
