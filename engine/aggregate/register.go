package aggregate

import (
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/internal/wire"
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
func (c *Moment) Append(b []byte, at Millis) []byte {
	if !c.Set {
		return b
	}
	return appendTime(b, c.At, at)
}

// Compute returns the time, absent if there was no event.
func (c *Moment) Compute(*Op, expr.Kind, Millis, Millis) expr.Value {
	if !c.Set {
		return expr.Value{}
	}
	return expr.TimeValue(c.At)
}

func (c *Moment) decode(r *Reader) {
	if len(r.Left()) > 0 {
		c.Set, c.At = true, r.Time()
	}
}

// Register is the value in the least or greatest event, by Stamp.
type Register struct {
	Stamp
	Set    bool
	latest bool
	kind   expr.Kind // and the rest of the value
	n      int64
	s      string // of a list: see PackTexts
}

// Value returns the value.
func (c *Register) Value() expr.Value {
	if c.kind != expr.List {
		return expr.Value{K: c.kind, N: c.n, S: c.s}
	}
	return TextsValue(c.s)
}

// Kept returns the kind, N and S of the value, in which the texts of a list are packed.
func (c *Register) Kept() (expr.Kind, int64, string) { return c.kind, c.n, c.s }

// Fold takes one event.
func (c *Register) Fold(s *Sample) { c.Take(&s.Stamp, &s.Value) }

// Take takes the value v of an event.
func (c *Register) Take(s *Stamp, v *expr.Value) {
	if c.Set {
		if o := s.Compare(&c.Stamp); o == 0 || c.latest != (o > 0) {
			return
		}
	}
	c.Set, c.Stamp, c.kind, c.n, c.s = true, *s, v.K, v.N, v.S
	if v.K == expr.List {
		c.s = PackTexts(v.L)
	}
}

// Merge keeps the lesser or greater of both.
func (c *Register) Merge(o Cell, _ []Shared) bool {
	if x := o.(*Register); x.Set {
		v := x.Value()
		c.Take(&x.Stamp, &v)
	}
	return true
}

// Prune does nothing.
func (c *Register) Prune(_, _ Millis) {}

// unknownSource is the source of events that name none; it is stored as "".
const unknownSource = "/unknown"

// Append appends time, stream, source, id and value.
func (c *Register) Append(b []byte, at Millis) []byte {
	if !c.Set {
		return b
	}
	b = appendTime(b, c.At, at)
	b = append(b, c.Stream)
	src := c.Source
	switch src {
	case unknownSource:
		src = ""
	case "":
		src = "\x00"
	}
	b = wire.AppendText(b, src)
	b = wire.AppendText(b, c.ID)
	return AppendValue(b, c.Value())
}

// Init makes c an empty summary of a family.
func (c *Register) Init(f *Family) { *c = Register{latest: f != FamFirst} }

// Read reads what Append wrote, all of r's bytes.
func (c *Register) Read(r *Reader) error {
	c.decode(r)
	if !r.Done() {
		return ErrFormat
	}
	return nil
}

// Compute returns the value.
func (c *Register) Compute(*Op, expr.Kind, Millis, Millis) expr.Value { return c.Value() }

func (c *Register) decode(r *Reader) {
	if len(r.Left()) == 0 {
		return
	}
	c.Set = true
	c.At = r.Time()
	c.Stream = r.Byte()
	// One string holds all texts.
	all := string(r.Left())
	text := func() string {
		n := len(r.Bytes())
		end := len(all) - len(r.Left())
		return all[end-n : end]
	}
	switch c.Source = text(); c.Source {
	case "":
		c.Source = unknownSource
	case "\x00":
		c.Source = ""
	}
	c.ID = text()
	if b := r.Left(); len(b) > 0 && (expr.Kind(b[0]) == expr.String || expr.Kind(b[0]) == expr.List) {
		c.kind = expr.Kind(r.Byte())
		if c.s = text(); c.kind == expr.List {
			r.Check(TextsValue(c.s).Present())
		}
		return
	}
	v := r.Value()
	c.kind, c.n = v.K, v.N
}
