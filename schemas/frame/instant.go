package frame

import (
	"strconv"
	"time"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/scalar"
)

// civil returns what a date, or a date and a time, is for a field of a time or a date.
func (f *Frame) civil(fd *Field, c *scalar.Civil, b []byte) (Cell, *bad.Input) {
	m, known := c.Instant()
	switch {
	case fd.Kind == expr.Date && c.Zone == scalar.ByZ:
		return cellOf(expr.DateValue(f.day(m))), nil
	case fd.Kind == expr.Date:
		return cellOf(expr.DateValue(c.Day)), nil
	case c.Zone == scalar.ByDate:
		return f.midnight(fd, c.Day, "the string "+bad.Clip(b))
	case !known && f.settings.Zone == nil:
		return Cell{}, wrong(fd, "the time "+bad.Clip(b)+", which has no zone,")
	case !known:
		m = c.In(f.settings.Zone)
	}
	m, err := scalar.CheckInstant(m)
	if err != nil {
		return Cell{}, failed(fd, "the time", err)
	}
	return cellOf(expr.TimeValue(m)), nil
}

// midnight returns the first instant of a day, for an attribute that is a time.
func (f *Frame) midnight(fd *Field, day int64, got string) (Cell, *bad.Input) {
	if fd.Vital || !f.Target.Attributes {
		return Cell{}, wrong(fd, got)
	}
	return cellOf(expr.TimeValue(scalar.InstantIn(day*scalar.DayMillis, f.zone()))), nil
}

// zone returns the zone of the input, UTC if it has none.
func (f *Frame) zone() *time.Location {
	if f.settings.Zone == nil {
		return time.UTC
	}
	return f.settings.Zone
}

// day returns the day that an instant is in the zone of the input.
func (f *Frame) day(m expr.Millis) int64 {
	if f.settings.Zone == nil {
		return scalar.FloorDiv(int64(m), scalar.DayMillis)
	}
	return scalar.DayIn(m, f.settings.Zone)
}

// instant sets a time or a date from so many steps of a unit.
func (f *Frame) instant(fd *Field, dst *Cell, n int64, u scalar.Unit) *bad.Input {
	if u == scalar.UnitFewDays {
		if u = scalar.UnitGuess; scalar.IsDay(n) {
			u = scalar.UnitDays
		}
	}
	if u == scalar.UnitGuess && scalar.IsDateDigits(n) {
		return f.Refuse(fd, dst, failed(fd, "the number "+strconv.FormatInt(n, 10), scalar.ErrDigits))
	}
	m, err := scalar.InstantOf(n, u)
	day := scalar.FloorDiv(int64(m), scalar.DayMillis)
	switch {
	case err != nil:
		return f.Refuse(fd, dst, failed(fd, "the value", err))
	case fd.Kind == expr.Date && u == scalar.UnitDays:
		*dst = cellOf(expr.DateValue(day))
	case fd.Kind == expr.Date:
		*dst = cellOf(expr.DateValue(f.day(m)))
	case u == scalar.UnitDays:
		c, e := f.midnight(fd, day, "a date")
		if e != nil {
			return f.Refuse(fd, dst, e)
		}
		*dst = c
	default:
		*dst = cellOf(expr.TimeValue(m))
	}
	return nil
}

// Local sets a time or a date from what clocks showed that nobody names the zone of:
// so many steps of a unit since the start of 1970 on those clocks. For any other field it
// is a number.
func (f *Frame) Local(fd *Field, dst *Cell, n int64, u scalar.Unit) *bad.Input {
	if fd.Kind != expr.Time && fd.Kind != expr.Date {
		return f.Int(fd, dst, n, u)
	}
	m, err := scalar.InstantOf(n, u)
	if err != nil {
		return f.Refuse(fd, dst, failed(fd, "the value", err))
	}
	day := scalar.FloorDiv(int64(m), scalar.DayMillis)
	c, e := f.civil(fd, &scalar.Civil{Day: day, Clock: int64(m) - day*scalar.DayMillis}, []byte(m.String()))
	if e != nil {
		return f.Refuse(fd, dst, e)
	}
	*dst = c
	return nil
}
