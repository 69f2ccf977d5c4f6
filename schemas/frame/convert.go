package frame

import (
	"bytes"
	"errors"
	"math"
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
	case expr.Int, expr.Double:
		return "a number"
	case expr.Decimal:
		return "an amount such as 12.50"
	case expr.Time:
		return "a time such as 2026-03-01T12:00:00Z, or seconds, milliseconds or microseconds since 1970"
	case expr.Date:
		return "a date such as 1990-05-31"
	case expr.List:
		if f.Item != nil {
			return "a list of texts"
		}
		return "a list of records"
	}
	if f.Elem == nil && f.Place < 0 {
		return "a map of strings"
	}
	return "a string"
}

// wrong returns the error that a field was given something else than it takes; got
// says what.
func wrong(fd *Field, got string) *bad.Input {
	return bad.New(bad.Type, fd.Path, "%s where %s is needed", got, fd.Wants())
}

// failed returns what a conversion found wrong with a value.
func failed(fd *Field, got string, err error) *bad.Input {
	if errors.Is(err, scalar.ErrRange) {
		return bad.New(bad.Range, fd.Path, "the value %v", err)
	}
	return bad.New(bad.Type, fd.Path, "%s where %s is needed: the value %v", got, fd.Wants(), err)
}

// Wrong refuses a value that the field can't be, whatever it holds; got says what it is.
func (f *Frame) Wrong(fd *Field, dst *Cell, got string) *bad.Input {
	return f.Refuse(fd, dst, wrong(fd, got))
}

// Set gives dst the value that a conversion made, or refuses it.
func (f *Frame) Set(fd *Field, dst *Cell, v expr.Value, err error) *bad.Input {
	if err != nil {
		return f.Refuse(fd, dst, failed(fd, "the value", err))
	}
	*dst = cellOf(v)
	return nil
}

// Text sets a field from a text in UTF-8.
func (f *Frame) Text(fd *Field, dst *Cell, b []byte) *bad.Input {
	switch {
	case len(b) == 0:
		f.clear(fd, dst)
		return nil
	case fd.Kind != expr.String:
		c, e := f.read(fd, b)
		if e != nil {
			return f.Refuse(fd, dst, e)
		}
		*dst = c
		return nil
	case fd.Symbols != nil:
		f.word(fd, dst, b)
		return nil
	}
	return f.Capture(fd, dst, b)
}

// clear sets a field from an empty text: an attribute of a profile is cleared, any other
// field is as if it were not there.
func (f *Frame) clear(fd *Field, dst *Cell) {
	if fd.EventID || f.Target.Attributes && !fd.IsID && !fd.Vital {
		*dst = Cell{K: expr.String}
		return
	}
	*dst = fd.Default
}

// read returns what a text is for a field that is no text itself.
func (f *Frame) read(fd *Field, b []byte) (Cell, *bad.Input) {
	switch fd.Kind {
	case expr.Bool:
		if x, ok := scalar.Truth(b); ok {
			return cellOf(expr.BoolValue(x)), nil
		}
	case expr.Time, expr.Date:
		if c, ok := scalar.ParseCivil(b); ok {
			return f.civil(fd, &c, b)
		}
	}
	if n, ok, err := scalar.ParseNumber(b); ok && fd.Kind != expr.Bool {
		if err == nil {
			var c Cell
			if c, err = f.number(fd, n); err == nil {
				return c, nil
			}
		}
		return Cell{}, failed(fd, "the string "+bad.Clip(b), err)
	}
	return Cell{}, wrong(fd, "the string "+bad.Clip(b))
}

// word sets a field of a closed list. A word that is not in it is counted.
func (f *Frame) word(fd *Field, dst *Cell, b []byte) {
	if i := scalar.Word(b, fd.Symbols); i >= 0 {
		*dst = fd.Values[i]
	} else if i := scalar.Word(b, fd.Words); i >= 0 {
		*dst = fd.WordValues[i]
	} else {
		*dst = fd.Values[0]
		f.Note(bad.Note{Kind: bad.Unknown, Field: fd.Path, Name: fd.Path, Detail: bad.Clip(b)})
	}
}

// Symbol returns the symbol that b means, false if it is none of them.
func (f *Field) Symbol(b []byte) (Cell, bool) {
	if i := scalar.Word(b, f.Symbols); i >= 0 {
		return f.Values[i], true
	}
	if i := scalar.Word(b, f.Words); i >= 0 {
		return f.WordValues[i], true
	}
	return f.Values[0], false
}

// Capture copies a text.
func (f *Frame) Capture(fd *Field, dst *Cell, b []byte) *bad.Input {
	if fd.IsID {
		if e := f.checkID(fd.Path, b); e != nil {
			return f.Refuse(fd, dst, e)
		}
	}
	most := MaxText
	if fd.Role == Element {
		most = MaxListText
	}
	if len(b) > most {
		return f.Refuse(fd, dst, bad.New(bad.Size, fd.Path, "%d bytes long, more than %d", len(b), most))
	}
	*dst = Cell{expr.String, span(len(f.buf), len(b))}
	f.buf = append(f.buf, b...)
	return nil
}

// Number sets a field from a number as JSON writes it.
func (f *Frame) Number(fd *Field, dst *Cell, b []byte) *bad.Input {
	if fd.Kind == expr.String {
		return f.textOfNumber(fd, dst, b)
	}
	n, ok, err := scalar.ParseNumber(b)
	if ok && err == nil {
		var c Cell
		if c, err = f.number(fd, n); err == nil {
			*dst = c
			return nil
		}
	}
	got := "the number " + string(b[:min(len(b), 40)])
	if err != nil {
		return f.Refuse(fd, dst, failed(fd, got, err))
	}
	return f.Wrong(fd, dst, got)
}

// textOfNumber sets a text from a number as JSON writes it.
func (f *Frame) textOfNumber(fd *Field, dst *Cell, b []byte) *bad.Input {
	var room [64]byte
	switch {
	case fd.Symbols != nil:
		f.word(fd, dst, b)
		return nil
	case fd.Loose:
		return f.Capture(fd, dst, scalar.AppendFree(room[:0], b))
	}
	text, err := scalar.AppendWhole(room[:0], b)
	if err != nil {
		return f.Refuse(fd, dst, failed(fd, "the number "+string(b[:min(len(b), 40)]), err))
	}
	return f.Capture(fd, dst, text)
}

// errKind is the error of a number for a field that can't be one.
var errKind = errors.New("is a number")

// number returns what a number is for a field that is no text.
func (f *Frame) number(fd *Field, n scalar.Number) (Cell, error) {
	switch fd.Kind {
	case expr.Decimal:
		d, err := n.Decimal()
		return cellOf(expr.DecimalValue(d)), err
	case expr.Time, expr.Date:
		m, err := scalar.InstantOfNumber(n)
		if fd.Kind == expr.Date {
			return cellOf(expr.DateValue(f.day(m))), err
		}
		return cellOf(expr.TimeValue(m)), err
	case expr.Bool:
		x, ok := scalar.TruthOfNumber(n)
		if !ok {
			return Cell{}, errKind
		}
		return cellOf(expr.BoolValue(x)), nil
	case expr.Double:
		d, err := n.Decimal()
		return cellOf(expr.DoubleValue(float64(d) / expr.DecimalOne)), err
	case expr.Int:
		d, err := n.Decimal()
		if err != nil {
			return Cell{}, err
		}
		return quantity(d)
	}
	return Cell{}, errKind
}

// quantity returns the cell of a quantity in units of 10^-4: a whole one is an integer
// of 32 bits, what [Frame.EndItem] makes of another one is its matter.
func quantity(d int64) (Cell, error) {
	n := d / expr.DecimalOne
	switch {
	case n != int64(int32(n)):
		return Cell{}, scalar.ErrRange
	case n*expr.DecimalOne != d:
		return cellOf(expr.DecimalValue(d)), nil
	}
	return cellOf(expr.IntValue(n)), nil
}

// Int sets a field from a whole number of the given unit.
func (f *Frame) Int(fd *Field, dst *Cell, n int64, u scalar.Unit) *bad.Input {
	switch fd.Kind {
	case expr.Decimal:
		d, err := scalar.DecimalOfInt(n)
		return f.Set(fd, dst, expr.DecimalValue(d), err)
	case expr.Time, expr.Date:
		return f.instant(fd, dst, n, u)
	case expr.Int:
		if n == int64(int32(n)) {
			*dst = cellOf(expr.IntValue(n))
			return nil
		}
		return f.Refuse(fd, dst, failed(fd, "the value", scalar.ErrRange))
	case expr.Double:
		*dst = cellOf(expr.DoubleValue(float64(n)))
		return nil
	case expr.Bool:
		if n == 0 || n == 1 {
			*dst = cellOf(expr.BoolValue(n == 1))
			return nil
		}
	case expr.String:
		var b [20]byte
		return f.textOfNumber(fd, dst, strconv.AppendInt(b[:0], n, 10))
	}
	return f.Wrong(fd, dst, "a whole number")
}

// Float sets a field from a floating-point number of so many bits: what counts is the
// shortest decimal number that is read back as it.
func (f *Frame) Float(fd *Field, dst *Cell, x float64, bits int) *bad.Input {
	if fd.Kind == expr.String {
		return f.textOfFloat(fd, dst, x, bits)
	}
	n, err := scalar.NumberOfFloat(x, bits)
	if err == nil {
		var c Cell
		if c, err = f.number(fd, n); err == nil {
			*dst = c
			return nil
		}
	}
	return f.Refuse(fd, dst, failed(fd, "a floating-point number", err))
}

// textOfFloat sets a text from a floating-point number.
func (f *Frame) textOfFloat(fd *Field, dst *Cell, x float64, bits int) *bad.Input {
	var room [64]byte
	if math.IsNaN(x) || math.IsInf(x, 0) { // no other format has them
		return f.Refuse(fd, dst, bad.New(bad.Type, fd.Path, "%v is no text and no number", x))
	}
	if fd.Loose || fd.Symbols != nil {
		text := scalar.AppendFreeFloat(room[:0], x, bits)
		if fd.Symbols != nil {
			f.word(fd, dst, text)
			return nil
		}
		return f.Capture(fd, dst, text)
	}
	text, err := scalar.AppendWholeFloat(room[:0], x)
	if err != nil {
		return f.Refuse(fd, dst, failed(fd, "a floating-point number", err))
	}
	return f.Capture(fd, dst, text)
}

// Bool sets a field from a truth value.
func (f *Frame) Bool(fd *Field, dst *Cell, x bool) *bad.Input {
	switch {
	case fd.Kind == expr.Bool:
		*dst = cellOf(expr.BoolValue(x))
		return nil
	case fd.Symbols != nil:
		f.word(fd, dst, strconv.AppendBool(nil, x))
		return nil
	case fd.Loose:
		return f.Capture(fd, dst, strconv.AppendBool(nil, x))
	}
	return f.Wrong(fd, dst, "a boolean")
}

// valid returns b without what is not UTF-8: each such part is U+FFFD.
func valid(b []byte) []byte { return bytes.ToValidUTF8(b, []byte("\ufffd")) }

// Broken is Text for a text that is not UTF-8, or holds half a surrogate pair, which
// the caller has read as U+FFFD. No id is made of such a text.
func (f *Frame) Broken(fd *Field, dst *Cell, b []byte) *bad.Input {
	if fd.Vital && fd.IsID {
		return f.Refuse(fd, dst, bad.New(bad.Identity, fd.Path, "%s is not whole: it has bytes that are not UTF-8, or half of a surrogate pair", bad.Clip(valid(b))))
	}
	return f.Text(fd, dst, valid(b))
}
