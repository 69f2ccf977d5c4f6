package jsontext

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// Text reads a string. What it returns is valid until the next call: a part of the
// text, or the scanner's own memory if there were escapes.
func (s *Scanner) Text() ([]byte, error) {
	s.i++
	start := s.i
	s.inText, s.broken = false, false
	s.i += asIs(s.b[start:])
	switch {
	case s.i == len(s.b):
		return nil, s.ErrAt("a string does not end")
	case s.b[s.i] == '"':
		s.i++
		return s.b[start : s.i-1], nil
	case s.b[s.i] == '\\':
		return s.escaped(start)
	}
	return nil, s.ErrAt("control character in a string")
}

// asIs returns how many bytes b begins with that stand for themselves in a string:
// no quote, backslash or control character.
func asIs(b []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		quote, slash := x^ones*'"', x^ones*'\\'
		// The lowest high bit is set where a byte is below ' ' or one of the two is 0.
		if m := ((x-ones*' ')&^x | (quote-ones)&^quote | (slash-ones)&^slash) & highs; m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c == '"' || c == '\\' || c < ' ' {
			break
		}
	}
	return i
}

// escaped goes on with a string that began at start, from its first backslash.
func (s *Scanner) escaped(start int) ([]byte, error) {
	s.text, s.inText = append(s.text[:0], s.b[start:s.i]...), true
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return s.text, nil
		case c == '\\':
			if err := s.escape(); err != nil {
				return nil, err
			}
		case c < ' ':
			return nil, s.ErrAt("control character in a string")
		default:
			s.text = append(s.text, c)
			s.i++
		}
	}
	return nil, s.ErrAt("a string does not end")
}

const (
	escapes   = `"\/bfnrt`
	unescaped = "\"\\/\b\f\n\r\t"
)

func (s *Scanner) escape() error {
	if s.i+1 == len(s.b) {
		return s.ErrAt("a string does not end")
	}
	c := s.b[s.i+1]
	if c == 'u' {
		return s.unicode()
	}
	for k := range len(escapes) {
		if escapes[k] == c {
			s.text = append(s.text, unescaped[k])
			s.i += 2
			return nil
		}
	}
	return s.ErrAt("unknown escape")
}

func (s *Scanner) unicode() error {
	r, err := s.hex4()
	if err != nil {
		return err
	}
	if utf16.IsSurrogate(r) {
		first := r
		low, at := rune(0), s.i
		if s.at('\\') && at+1 < len(s.b) && s.b[at+1] == 'u' {
			if low, err = s.hex4(); err != nil {
				return err
			}
		}
		if r = utf16.DecodeRune(first, low); r == utf8.RuneError {
			if s.exact {
				return s.ErrAt("half of a surrogate pair")
			}
			s.i, s.broken = at, true // what follows it is read by itself
		}
	}
	s.text = utf8.AppendRune(s.text, r)
	return nil
}

// hex4 reads \uXXXX.
func (s *Scanner) hex4() (rune, error) {
	if len(s.b)-s.i < 6 || s.b[s.i] != '\\' || s.b[s.i+1] != 'u' {
		return 0, s.ErrAt("half of an escape")
	}
	var r rune
	for _, c := range s.b[s.i+2 : s.i+6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, s.ErrAt("four hexadecimal digits expected")
		}
		r = r<<4 | rune(c)
	}
	s.i += 6
	return r, nil
}

// AppendQuoted appends t as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func AppendQuoted(b []byte, t string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from := 0 // what is not appended yet
	for i := 0; i < len(t); {
		c, n := t[i], 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, n = utf8.DecodeRuneInString(t[i:]); r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		} else if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
			i++
			continue
		}
		b = append(b, t[from:i]...)
		switch {
		case c >= utf8.RuneSelf:
			b = utf8.AppendRune(b, utf8.RuneError)
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i += n
		from = i
	}
	return append(append(b, t[from:]...), '"')
}
