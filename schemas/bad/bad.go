// Package bad is bad input: what is wrong with a record that can never be read.
//
// The one rule it keeps: an error names a field and a byte of the record, and quotes
// no more of it than helps to find the fault.
package bad

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Cause says in one word why a record was refused. The set is small and fixed, so
// that it can be a label of a metric.
type Cause string

// The causes.
const (
	Size     Cause = "size"     // the record, or a part of it, is larger than allowed
	Format   Cause = "format"   // neither Avro nor JSON, or JSON that is not well-formed
	Schema   Cause = "schema"   // the Avro schema is unknown, refused, or of another stream
	Decode   Cause = "decode"   // the Avro bytes do not follow their schema
	Missing  Cause = "missing"  // a field that is needed is not there
	Type     Cause = "type"     // a field has a value of the wrong type
	Range    Cause = "range"    // a field has a value that is out of range
	Identity Cause = "identity" // there is no usable customer or event id
	Mapping  Cause = "mapping"  // the expressions of a mapping cannot be worked out
)

// Input is a record that can never be read: it belongs in the dead letters.
type Input struct {
	Cause Cause
	// Field is the field that is at fault, such as "items.price"; "" if it is the
	// record as a whole.
	Field string
	// Detail says what is wrong with it, where, and what to do about it.
	Detail string

	at int // the byte of the record at which it was met, and 1; 0 if that is not known
}

// Place returns what the record as such says nothing of: the cause, the field, and
// the byte at which it was met. Details often quote what is there.
func (e *Input) Place() string {
	b := "bad input (" + string(e.Cause) + ")"
	if e.Field != "" {
		b += ": " + e.Field
	}
	if e.at > 0 {
		b += ": byte " + strconv.Itoa(e.at-1)
	}
	return b
}

// Error returns the field and what is wrong with it.
func (e *Input) Error() string {
	var b strings.Builder
	b.WriteString("bad input (")
	b.WriteString(string(e.Cause))
	b.WriteString("): ")
	if e.Field != "" {
		b.WriteString(e.Field)
		b.WriteString(": ")
	}
	b.WriteString(e.Detail)
	return b.String()
}

// New returns bad input whose detail is formatted.
func New(c Cause, field, format string, args ...any) *Input {
	return &Input{Cause: c, Field: field, Detail: fmt.Sprintf(format, args...)}
}

// AtByte adds where in the record the fault was met. It returns e, which may be nil.
func (e *Input) AtByte(n int) *Input {
	if e != nil {
		e.Detail = fmt.Sprintf("byte %d: %s", n, e.Detail)
		e.at = n + 1
	}
	return e
}

// Clip returns b as errors show it: quoted, and not longer than helps.
func Clip(b []byte) string {
	if len(b) > 40 {
		return fmt.Sprintf("%.40q…", b)
	}
	return fmt.Sprintf("%q", b)
}

// InvalidUTF8 returns the offset of the first byte that is not UTF-8.
func InvalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(b)
}
