package frame

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/scalar"
)

// Wants says what the field takes, for errors.
func (f *Field) Wants() string {
	switch f.Kind {
	case expr.Bool:
		return "true or false"
	case expr.Int:
		return "a whole number"
	case expr.Double:
		return "a number"
	case expr.Decimal:
		return "an amount such as 12.50"
	case expr.Time:
		return "a time such as 2026-03-01T12:00:00Z, or seconds, milliseconds or microseconds since 1970"
	case expr.Date:
		return "a date such as 1990-05-31"
	case expr.List:
		return "a list of records"
	}
	if f.Elem == nil && f.Place < 0 {
		return "a map of strings"
	}
	return "a string"
}

// WrongType returns the error that a field was given something else than it takes; got
// says what.
func WrongType(fd *Field, got string) *bad.Input {
	return bad.New(bad.Type, fd.Path, "%s where %s is needed", got, fd.Wants())
}

// Set gives dst the value that a conversion made, or says what was wrong with it.
func Set(fd *Field, dst *Cell, v expr.Value, err error) *bad.Input {
	if err != nil {
		return bad.New(bad.Range, fd.Path, "the value %v", err)
	}
	*dst = cellOf(v)
	return nil
}

// Text sets a field from a text, which the caller has checked to be UTF-8.
func (f *Frame) Text(fd *Field, dst *Cell, b []byte) *bad.Input {
	switch fd.Kind {
	case expr.String:
		if fd.Symbols != nil {
			*dst = fd.Symbol(b)
			return nil
		}
		return f.Capture(fd, dst, b)
	case expr.Decimal:
		if n, ok, err := scalar.ParseNumber(b); ok {
			return f.amount(fd, dst, n, err)
		}
	case expr.Time:
		if m, ok := scalar.ParseInstant(b); ok {
			m, err := scalar.CheckInstant(m)
			return Set(fd, dst, expr.TimeValue(m), err)
		}
	case expr.Date:
		if day, ok := scalar.ParseDate(b); ok {
			*dst = cellOf(expr.DateValue(day))
			return nil
		}
		if m, ok := scalar.ParseInstant(b); ok {
			*dst = cellOf(expr.DateValue(scalar.FloorDiv(int64(m), scalar.DayMillis)))
			return nil
		}
	}
	return WrongType(fd, "the string "+bad.Clip(b))
}

// Symbol returns the symbol that b is, whatever its case, else "unknown".
func (f *Field) Symbol(b []byte) Cell {
	for i, s := range f.Symbols {
		if bytes.EqualFold(b, s) {
			return f.Values[i]
		}
	}
	return f.Values[0]
}

// Capture copies a text.
func (f *Frame) Capture(fd *Field, dst *Cell, b []byte) *bad.Input {
	if fd.IsID {
		if e := f.checkID(fd.Path, b); e != nil {
			return e
		}
	}
	if len(b) > MaxText {
		return bad.New(bad.Size, fd.Path, "%d bytes long, more than %d", len(b), MaxText)
	}
	if len(b) == 0 {
		*dst = Cell{K: expr.String}
		return nil
	}
	*dst = Cell{expr.String, span(len(f.buf), len(b))}
	f.buf = append(f.buf, b...)
	return nil
}

func (f *Frame) amount(fd *Field, dst *Cell, n scalar.Number, err error) *bad.Input {
	if err != nil {
		return Set(fd, dst, expr.Value{}, err)
	}
	d, err := n.Scaled(expr.DecimalScale)
	return Set(fd, dst, expr.DecimalValue(d), err)
}

// Number sets a field from a number as text.
func (f *Frame) Number(fd *Field, dst *Cell, b []byte) *bad.Input {
	if fd.Kind == expr.String && fd.Loose {
		return f.Capture(fd, dst, b)
	}
	n, ok, err := scalar.ParseNumber(b)
	switch {
	case !ok || fd.Kind != expr.Decimal && fd.Kind != expr.Time && fd.Kind != expr.Int && fd.Kind != expr.Double:
		return WrongType(fd, "the number "+string(b[:min(len(b), 40)]))
	case fd.Kind == expr.Double:
		x, err := strconv.ParseFloat(string(b), 64)
		return Set(fd, dst, expr.DoubleValue(x), err)
	case err != nil:
		return Set(fd, dst, expr.Value{}, err)
	case fd.Kind == expr.Decimal:
		return f.amount(fd, dst, n, nil)
	case fd.Kind == expr.Time:
		m, err := scalar.InstantOfNumber(n)
		return Set(fd, dst, expr.TimeValue(m), err)
	}
	i, err := n.Scaled(0)
	if errors.Is(err, scalar.ErrDigits) {
		return WrongType(fd, "a number with a fraction")
	}
	if err != nil {
		return Set(fd, dst, expr.Value{}, err)
	}
	return f.Int(fd, dst, i, scalar.UnitGuess)
}

// Int sets a field from a whole number of the given unit.
func (f *Frame) Int(fd *Field, dst *Cell, n int64, u scalar.Unit) *bad.Input {
	switch fd.Kind {
	case expr.Decimal:
		d, err := scalar.DecimalOfInt(n)
		return Set(fd, dst, expr.DecimalValue(d), err)
	case expr.Time:
		m, err := scalar.InstantOf(n, u)
		return Set(fd, dst, expr.TimeValue(m), err)
	case expr.Date:
		if u == scalar.UnitGuess {
			u = scalar.UnitDays
		}
		m, err := scalar.InstantOf(n, u)
		return Set(fd, dst, expr.DateValue(scalar.FloorDiv(int64(m), scalar.DayMillis)), err)
	case expr.Int:
		if fd.Int32 && n != int64(int32(n)) {
			return Set(fd, dst, expr.Value{}, scalar.ErrRange)
		}
		*dst = cellOf(expr.IntValue(n))
		return nil
	case expr.Double:
		*dst = cellOf(expr.DoubleValue(float64(n)))
		return nil
	case expr.String:
		if fd.Loose {
			var b [20]byte
			return f.Capture(fd, dst, strconv.AppendInt(b[:0], n, 10))
		}
	}
	return WrongType(fd, "a whole number")
}

// Float sets a field from a floating-point number; an amount is rounded to 4
// digits after the point.
func (f *Frame) Float(fd *Field, dst *Cell, x float64) *bad.Input {
	switch fd.Kind {
	case expr.Decimal:
		d, err := scalar.DecimalOfFloat(x)
		return Set(fd, dst, expr.DecimalValue(d), err)
	case expr.Double:
		*dst = cellOf(expr.DoubleValue(x))
		return nil
	case expr.String:
		if fd.Loose {
			var b [32]byte
			return f.Capture(fd, dst, strconv.AppendFloat(b[:0], x, 'g', -1, 64))
		}
	}
	return WrongType(fd, "a floating-point number")
}

// Bool sets a field from a truth value.
func (f *Frame) Bool(fd *Field, dst *Cell, x bool) *bad.Input {
	switch {
	case fd.Kind == expr.Bool:
		*dst = cellOf(expr.BoolValue(x))
		return nil
	case fd.Kind == expr.String && fd.Loose:
		return f.Capture(fd, dst, strconv.AppendBool(nil, x))
	}
	return WrongType(fd, "a boolean")
}
