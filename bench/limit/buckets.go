package main

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"

	"github.com/segmill/segmill/bench/internal/job"
)

// window is how many buckets of a day there are, and bucketBytes how long a
// customer's state is.
const (
	window      = 30
	bucketBytes = 20 + 12*window
)

// buckets is the job of the comparison with other engines: windows of whole days,
// rules looked at when an event comes, one record of all memberships if they differ.
type buckets struct {
	l    *loop
	byID map[string]*bucketed
}

// bucketed is a customer. Bucket d%window holds day d, for the days after
// day-window.
type bucketed struct {
	customer
	last     int64
	day      int32
	channel  uint16
	currency uint16
	bits     uint32
	count    [window]uint32
	sum      [window]int64
}

func newBuckets(l *loop) *buckets { return &buckets{l: l, byID: map[string]*bucketed{}} }

func (m *buckets) begin(int32, []byte) error { return nil }

func (m *buckets) finish() (bool, error) { return false, nil }

func (m *buckets) position(b []byte, _ int32) []byte { return b }

func (m *buckets) event(part int32, d *job.Decoded) error {
	c := m.byID[string(d.Customer)]
	if c == nil {
		var err error
		if c, err = m.meet(part, d.Customer); err != nil {
			return err
		}
	}
	m.l.touch(&c.customer)
	day := int32(d.At / job.Day)
	c.turn(day)
	if day > c.day-window {
		c.count[day%window]++
		c.sum[day%window] += d.Revenue
	}
	c.last = max(c.last, d.At)
	c.channel, c.currency = job.ChannelCode(d.Channel), job.CurrencyCode(d.Currency)
	if bits := c.evaluate(); bits != c.bits {
		from := len(m.l.arena)
		m.l.arena = c.appendChange(m.l.arena, bits, d)
		c.bits = bits
		m.l.change(&c.customer, from)
	}
	return nil
}

// turn empties the buckets of days that begin, up to a day.
func (c *bucketed) turn(day int32) {
	if day-c.day >= window {
		clear(c.count[:])
		clear(c.sum[:])
		c.day = day
	}
	for c.day < day {
		c.day++
		c.count[c.day%window], c.sum[c.day%window] = 0, 0
	}
}

// evaluate returns a bit for each rule that holds.
func (c *bucketed) evaluate() uint32 {
	f := job.Facts{Channel: c.channel, Currency: c.currency}
	for i := range window {
		f.Count += int64(c.count[i])
		f.Sum += c.sum[i]
	}
	var bits uint32
	for i := range job.Ten {
		if job.Ten[i].Holds(&f) {
			bits |= 1 << i
		}
	}
	return bits
}

// appendChange appends a change record: an id, the customer, the memberships before
// and after, the time and the event.
func (c *bucketed) appendChange(b []byte, bits uint32, d *job.Decoded) []byte {
	start := len(b)
	b = append(b, make([]byte, 16)...)
	b = append(append(b, byte(len(c.id))), c.id...)
	b = binary.BigEndian.AppendUint32(b, c.bits)
	b = binary.BigEndian.AppendUint32(b, bits)
	b = binary.BigEndian.AppendUint64(b, uint64(d.At))
	b = append(append(b, byte(len(d.ID))), d.ID...)
	id := xxh3.Hash128(b[start+16:]).Bytes()
	copy(b[start:], id[:])
	return b
}

func (m *buckets) meet(part int32, id []byte) (*bucketed, error) {
	c := &bucketed{customer: customer{id: append([]byte(nil), id...), part: part}}
	c.state = c
	m.byID[string(c.id)] = c
	b, closer, err := m.l.stored(id)
	if err != nil || closer == nil {
		return c, err
	}
	defer closer.Close()
	return c, c.decode(b)
}

// encode appends the state in its fixed layout.
func (c *bucketed) encode(b []byte) []byte {
	e := binary.LittleEndian
	b = e.AppendUint64(b, uint64(c.last))
	b = e.AppendUint32(b, uint32(c.day))
	b = e.AppendUint16(b, c.channel)
	b = e.AppendUint16(b, c.currency)
	b = e.AppendUint32(b, c.bits)
	for i := range window {
		b = e.AppendUint32(b, c.count[i])
		b = e.AppendUint64(b, uint64(c.sum[i]))
	}
	return b
}

func (c *bucketed) decode(b []byte) error {
	if len(b) != bucketBytes {
		return fmt.Errorf("the state of %s has %d bytes", c.id, len(b))
	}
	e := binary.LittleEndian
	c.last, c.day = int64(e.Uint64(b)), int32(e.Uint32(b[8:]))
	c.channel, c.currency, c.bits = e.Uint16(b[12:]), e.Uint16(b[14:]), e.Uint32(b[16:])
	for i := range window {
		c.count[i], c.sum[i] = e.Uint32(b[20+12*i:]), int64(e.Uint64(b[24+12*i:]))
	}
	return nil
}
