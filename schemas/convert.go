package schemas

import (
	"bytes"
	"strconv"

	"github.com/segmill/segmill/engine/expr"
)

// wants says what the field takes, for errors.
func (fd *field) wants() string {
	switch fd.kind {
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
	if fd.elem == nil && fd.dst < 0 {
		return "a map of strings"
	}
	return "a string"
}

func wrongType(fd *field, got string) *BadInput {
	return bad(CauseType, fd.path, "%s where %s is needed", got, fd.wants())
}

// set gives dst the value that a conversion made, or says what was wrong with it.
func set(fd *field, dst *cell, v expr.Value, err error) *BadInput {
	if err != nil {
		return bad(CauseRange, fd.path, "the value %v", err)
	}
	*dst = cellOf(v)
	return nil
}

// text sets a field from a text, which the caller has checked to be UTF-8.
func (f *frame) text(fd *field, dst *cell, b []byte) *BadInput {
	switch fd.kind {
	case expr.String:
		if fd.symbols != nil {
			*dst = fd.symbol(b)
			return nil
		}
		return f.capture(fd, dst, b)
	case expr.Decimal:
		if n, ok, err := parseNumber(b); ok {
			return f.amount(fd, dst, n, err)
		}
	case expr.Time:
		if m, ok := parseInstant(b); ok {
			m, err := checkInstant(m)
			return set(fd, dst, expr.TimeValue(m), err)
		}
	case expr.Date:
		if day, ok := parseDate(b); ok {
			*dst = cellOf(expr.DateValue(day))
			return nil
		}
		if m, ok := parseInstant(b); ok {
			*dst = cellOf(expr.DateValue(floorDiv(int64(m), dayMillis)))
			return nil
		}
	}
	return wrongType(fd, "the string "+clip(b))
}

// symbol returns the symbol that b is, whatever its case, else "unknown".
func (fd *field) symbol(b []byte) cell {
	for i, s := range fd.symbols {
		if bytes.EqualFold(b, s) {
			return fd.values[i]
		}
	}
	return fd.values[0]
}

// capture copies a text.
func (f *frame) capture(fd *field, dst *cell, b []byte) *BadInput {
	if fd.id {
		if e := f.checkID(fd.path, b); e != nil {
			return e
		}
	}
	if len(b) > maxText {
		return bad(CauseSize, fd.path, "%d bytes long, more than %d", len(b), maxText)
	}
	if len(b) == 0 {
		*dst = cell{K: expr.String}
		return nil
	}
	*dst = cell{expr.String, span(len(f.buf), len(b))}
	f.buf = append(f.buf, b...)
	return nil
}

func (f *frame) amount(fd *field, dst *cell, n number, err error) *BadInput {
	if err != nil {
		return set(fd, dst, expr.Value{}, err)
	}
	d, err := n.scaled(expr.DecimalScale)
	return set(fd, dst, expr.DecimalValue(d), err)
}

// number sets a field from a number as text.
func (f *frame) number(fd *field, dst *cell, b []byte) *BadInput {
	if fd.kind == expr.String && fd.loose {
		return f.capture(fd, dst, b)
	}
	n, ok, err := parseNumber(b)
	switch {
	case !ok || fd.kind != expr.Decimal && fd.kind != expr.Time && fd.kind != expr.Int && fd.kind != expr.Double:
		return wrongType(fd, "the number "+string(b[:min(len(b), 40)]))
	case fd.kind == expr.Double:
		x, err := strconv.ParseFloat(string(b), 64)
		return set(fd, dst, expr.DoubleValue(x), err)
	case err != nil:
		return set(fd, dst, expr.Value{}, err)
	case fd.kind == expr.Decimal:
		return f.amount(fd, dst, n, nil)
	case fd.kind == expr.Time:
		m, err := instantOfNumber(n)
		return set(fd, dst, expr.TimeValue(m), err)
	}
	i, err := n.scaled(0)
	if err == errDigits {
		return wrongType(fd, "a number with a fraction")
	}
	if err != nil {
		return set(fd, dst, expr.Value{}, err)
	}
	return f.int(fd, dst, i, unitGuess)
}

// int sets a field from a whole number of the given unit.
func (f *frame) int(fd *field, dst *cell, n int64, u unit) *BadInput {
	switch fd.kind {
	case expr.Decimal:
		d, err := decimalOfInt(n)
		return set(fd, dst, expr.DecimalValue(d), err)
	case expr.Time:
		m, err := instantOf(n, u)
		return set(fd, dst, expr.TimeValue(m), err)
	case expr.Date:
		if u == unitGuess {
			u = unitDays
		}
		m, err := instantOf(n, u)
		return set(fd, dst, expr.DateValue(floorDiv(int64(m), dayMillis)), err)
	case expr.Int:
		if fd.int32 && n != int64(int32(n)) {
			return set(fd, dst, expr.Value{}, errRange)
		}
		*dst = cellOf(expr.IntValue(n))
		return nil
	case expr.Double:
		*dst = cellOf(expr.DoubleValue(float64(n)))
		return nil
	case expr.String:
		if fd.loose {
			var b [20]byte
			return f.capture(fd, dst, strconv.AppendInt(b[:0], n, 10))
		}
	}
	return wrongType(fd, "a whole number")
}

// float sets a field from a floating-point number; an amount is rounded to 4
// digits after the point.
func (f *frame) float(fd *field, dst *cell, x float64) *BadInput {
	switch fd.kind {
	case expr.Decimal:
		d, err := decimalOfFloat(x)
		return set(fd, dst, expr.DecimalValue(d), err)
	case expr.Double:
		*dst = cellOf(expr.DoubleValue(x))
		return nil
	case expr.String:
		if fd.loose {
			var b [32]byte
			return f.capture(fd, dst, strconv.AppendFloat(b[:0], x, 'g', -1, 64))
		}
	}
	return wrongType(fd, "a floating-point number")
}

// bool sets a field from a truth value.
func (f *frame) bool(fd *field, dst *cell, x bool) *BadInput {
	switch {
	case fd.kind == expr.Bool:
		*dst = cellOf(expr.BoolValue(x))
		return nil
	case fd.kind == expr.String && fd.loose:
		return f.capture(fd, dst, strconv.AppendBool(nil, x))
	}
	return wrongType(fd, "a boolean")
}
