package aggregate

import (
	"encoding/binary"

	"github.com/segmill/segmill/engine/expr"
)

// Moment is the time of the earliest or latest event.
type Moment struct {
	Set    bool
	At     Millis
	latest bool
}

// Fold takes one event.
func (c *Moment) Fold(s *Sample) { c.take(s.At) }

func (c *Moment) take(t Millis) {
	if !c.Set || c.latest == (t > c.At) && t != c.At {
		c.Set, c.At = true, t
	}
}

// Merge keeps the earlier or later of both.
func (c *Moment) Merge(o Cell, _ []Shared) bool {
	if x := o.(*Moment); x.Set {
		c.take(x.At)
	}
	return true
}

// Prune does nothing.
func (c *Moment) Prune(_, _ Millis) {}

// Append appends the time; a moment that never came is no bytes at all.
func (c *Moment) Append(b []byte) []byte {
	if !c.Set {
		return b
	}
	return binary.AppendVarint(b, int64(c.At))
}

func (c *Moment) decode(r *Reader) {
	if len(r.b) > 0 {
		c.Set, c.At = true, r.Millis()
	}
}

// Register is the value in the least or greatest event, by Stamp.
type Register struct {
	Set bool
	Stamp
	Value  expr.Value
	latest bool
}

// Fold takes one event.
func (c *Register) Fold(s *Sample) { c.take(&s.Stamp, s.Value) }

func (c *Register) take(s *Stamp, v expr.Value) {
	if !c.Set || c.latest == (s.Compare(&c.Stamp) > 0) && s.Compare(&c.Stamp) != 0 {
		c.Set, c.Stamp, c.Value = true, *s, v
	}
}

// Merge keeps the lesser or greater of both.
func (c *Register) Merge(o Cell, _ []Shared) bool {
	if x := o.(*Register); x.Set {
		c.take(&x.Stamp, x.Value)
	}
	return true
}

// Prune does nothing.
func (c *Register) Prune(_, _ Millis) {}

// unknownSource is the source of events that name none; it is stored as "".
const unknownSource = "/unknown"

// Append appends time, stream, source, id and value.
func (c *Register) Append(b []byte) []byte {
	if !c.Set {
		return b
	}
	b = binary.AppendVarint(b, int64(c.At))
	b = append(b, c.Stream)
	src := c.Source
	switch src {
	case unknownSource:
		src = ""
	case "":
		src = "\x00"
	}
	b = appendString(b, src)
	b = appendString(b, c.ID)
	return AppendValue(b, c.Value)
}

func (c *Register) decode(r *Reader) {
	if len(r.b) == 0 {
		return
	}
	c.Set = true
	c.At = r.Millis()
	c.Stream = r.Byte()
	switch c.Source = r.String(); c.Source {
	case "":
		c.Source = unknownSource
	case "\x00":
		c.Source = ""
	}
	c.ID = r.String()
	c.Value = r.Value()
}
