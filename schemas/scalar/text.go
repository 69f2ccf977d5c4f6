package scalar

import (
	"bytes"
	"math"
	"strconv"
)

// AppendWhole appends the decimal text of a number, which is written as JSON writes
// numbers, digit by digit: 12345, 12345.0 and 1.2345e4 are all 12345, and no digit of
// 12345678901234567890 is lost. It is ErrFraction if the number is not whole, and
// ErrRange if its exponent is beyond ±30.
func AppendWhole(dst, number []byte) ([]byte, error) {
	if !bytes.ContainsAny(number, ".eE") {
		if string(number) == "-0" {
			number = number[1:]
		}
		return append(dst, number...), nil
	}
	digits := number
	var exp int
	if i := bytes.IndexAny(number, "eE"); i >= 0 {
		if exp, _ = exponent(number[i:]); exp > maxExp || exp < -maxExp {
			return dst, ErrRange
		}
		digits = number[:i]
	}
	neg := digits[0] == '-'
	if neg {
		digits = digits[1:]
	}
	whole, part, _ := bytes.Cut(digits, []byte{'.'})
	part = bytes.TrimRight(part, "0")
	all := append(append(make([]byte, 0, len(digits)+maxExp), whole...), part...)
	if point := len(whole) + exp; point < len(all) {
		if len(bytes.Trim(all[max(point, 0):], "0")) > 0 {
			return dst, ErrFraction
		}
		all = all[:max(point, 0)]
	} else {
		all = append(all, bytes.Repeat([]byte{'0'}, point-len(all))...)
	}
	if all = bytes.TrimLeft(all, "0"); len(all) == 0 {
		return append(dst, '0'), nil
	}
	if neg {
		dst = append(dst, '-')
	}
	return append(dst, all...), nil
}

// AppendWholeFloat appends the decimal text of a float that is a whole number below
// 2^53: beyond that, neighbours have one text. Others are ErrFraction or ErrRange.
func AppendWholeFloat(dst []byte, f float64) ([]byte, error) {
	switch {
	case math.Abs(f) < 1<<53 && f == math.Trunc(f):
		return strconv.AppendInt(dst, int64(f), 10), nil
	case math.Abs(f) < 1<<53:
		return dst, ErrFraction
	}
	return dst, ErrRange
}

// AppendFree appends a number of JSON as free text: a whole one as [AppendWhole] does,
// any other as it is written.
func AppendFree(dst, number []byte) []byte {
	if b, err := AppendWhole(dst, number); err == nil {
		return b
	}
	return append(dst, number...)
}

// AppendFreeFloat appends a float of so many bits as free text: the shortest decimal
// that is read back as it.
func AppendFreeFloat(dst []byte, f float64, bits int) []byte {
	if b, err := AppendWholeFloat(dst, f); err == nil {
		return b
	}
	var number [32]byte
	return AppendFree(dst, strconv.AppendFloat(number[:0], f, 'g', -1, bits))
}

// placeholders are the texts that programs write where they have no id, in lower case.
var placeholders = [...]string{
	"undefined", "null", "nil", "nan", "(null)", "[object object]", "00000000-0000-0000-0000-000000000000",
}

// placeholderSizes has a bit for the length of each of them.
var placeholderSizes = func() (set uint64) {
	for _, p := range placeholders {
		set |= 1 << len(p)
	}
	return set
}()

// placeholderStarts has the bytes that they begin with, in both cases.
var placeholderStarts = func() (set [256]bool) {
	for _, p := range placeholders {
		set[p[0]], set[bytes.ToUpper([]byte(p))[0]] = true, true
	}
	return set
}()

// PlainlyID reports, for nearly all ids, that they are no placeholders as such: none is
// as long and begins so, and there is nothing to trim.
func PlainlyID(id []byte) bool {
	n := len(id)
	return n > 0 && (placeholderSizes>>n&1 == 0 || !placeholderStarts[id[0]]) && id[0]-'!' < 0x5e && id[n-1]-'!' < 0x5e
}

// Placeholder reports whether an id is none: empty, or what programs write instead of
// one, whatever its case and the blanks around it. more are further such texts.
func Placeholder(id []byte, more []string) bool {
	if id = bytes.TrimSpace(id); len(id) == 0 {
		return true
	}
	for _, l := range [...][]string{placeholders[:], more} {
		for _, p := range l {
			if len(p) == len(id) && bytes.EqualFold(id, []byte(p)) {
				return true
			}
		}
	}
	return false
}

// Truth reads true, false, 1 and 0, in any case.
func Truth(b []byte) (value, ok bool) {
	switch len(b) {
	case 1:
		return b[0] == '1', b[0] == '0' || b[0] == '1'
	case 4:
		return true, bytes.EqualFold(b, []byte("true"))
	case 5:
		return false, bytes.EqualFold(b, []byte("false"))
	}
	return false, false
}

// TruthOfNumber reads 1 and 0.
func TruthOfNumber(n Number) (value, ok bool) {
	x, err := n.Whole()
	return x == 1, err == nil && (x == 0 || x == 1)
}

// maxWord is the longest text, in bytes, that can be a word of a closed list.
const maxWord = 64

// Word returns the index of a word in a closed list of words in lower case, whatever
// its case, and with '-' and blanks for '_'; -1 if it is none of them.
func Word(b []byte, list [][]byte) int {
	for i, w := range list {
		if string(w) == string(b) {
			return i
		}
	}
	if len(b) > maxWord {
		return -1
	}
	var norm [maxWord]byte
	w := norm[:copy(norm[:], b)]
	for i, c := range w {
		switch {
		case c == '-' || c == ' ':
			w[i] = '_'
		case 'A' <= c && c <= 'Z':
			w[i] += 'a' - 'A'
		}
	}
	for i := range list {
		if bytes.Equal(list[i], w) {
			return i
		}
	}
	return -1
}
