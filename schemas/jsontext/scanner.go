// Package jsontext reads JSON text (RFC 8259) front to back.
//
// The one rule it keeps: no allocation, and nothing is passed over in silence. A key
// twice in one object, half of a surrogate pair and invalid UTF-8 are errors of a text
// that must be exact, such as a schema; of a record they are counted, or marked where
// they are read.
package jsontext

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/zeebo/xxh3"

	"github.com/segmill/segmill/schemas/bad"
)

// Scanner reads JSON text (RFC 8259) front to back without allocating. It does not
// fold the case of keys, as encoding/json does. Of a record it counts the objects that
// have a key twice, and reads half of a surrogate pair as U+FFFD.
type Scanner struct {
	b        []byte
	i        int // the next byte
	depth    int
	maxDepth int
	exact    bool     // a key twice and half of a surrogate pair are errors
	checked  bool     // the text was read before
	broken   bool     // the last string read held half of a surrogate pair
	doubled  int      // objects that have a key twice
	elements int      // of all arrays
	keys     []uint64 // hashes of the keys of all open objects
	text     []byte   // the last string that had escapes
	inText   bool     // the last string read is in text
}

// Check returns an error if text is not one JSON value, or nested deeper than maxDepth.
func Check(text []byte, maxDepth int) error {
	s := Scanner{b: text, maxDepth: maxDepth, exact: true}
	return s.document()
}

// Reset begins the text b, which may be nested as deep as maxDepth. It keeps the
// memory of the text before.
func (s *Scanner) Reset(b []byte, maxDepth int) {
	*s = Scanner{b: b, maxDepth: maxDepth, keys: s.keys[:0], text: s.text}
}

// Kept returns how many bytes and how many keys are kept for the next text.
func (s *Scanner) Kept() (bytes, keys int) { return cap(s.text), cap(s.keys) }

// Trust says that all of the text was read before, so that nothing is counted again.
func (s *Scanner) Trust() { s.checked = true }

// Doubled returns how many objects have a key twice.
func (s *Scanner) Doubled() int { return s.doubled }

// Elements returns how many elements all arrays have.
func (s *Scanner) Elements() int { return s.elements }

// Broken reports whether the string that was read last held half of a surrogate pair.
func (s *Scanner) Broken() bool { return s.broken }

// Pos returns the offset of the next byte.
func (s *Scanner) Pos() int { return s.i }

// Seek makes the byte at i the next one. Only the places where a value begins are
// of use.
func (s *Scanner) Seek(i int) { s.i = i }

// ByteAt returns the byte at i.
func (s *Scanner) ByteAt(i int) byte { return s.b[i] }

// HadEscapes reports whether the string that was read last is in the scanner's own
// memory, and not a part of the text.
func (s *Scanner) HadEscapes() bool { return s.inText }

// ErrAt returns a syntax error at the next byte.
func (s *Scanner) ErrAt(format string, args ...any) error {
	return &SyntaxError{s.i, fmt.Sprintf(format, args...)}
}

// document checks that the text is one JSON value and nothing else.
func (s *Scanner) document() error {
	if !utf8.Valid(s.b) {
		return &SyntaxError{bad.InvalidUTF8(s.b), "not UTF-8"}
	}
	if err := s.Skip(); err != nil {
		return err
	}
	return s.End()
}

// End checks that only white space is left.
func (s *Scanner) End() error {
	if s.Peek() != 0 || s.i < len(s.b) {
		return s.ErrAt("text after the end of the value")
	}
	return nil
}

// Peek steps over white space and returns the next byte, 0 at the end.
func (s *Scanner) Peek() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

// Skip steps over one value and checks it.
func (s *Scanner) Skip() error {
	switch c := s.Peek(); c {
	case '{':
		return s.skipObject()
	case '[':
		return s.skipArray()
	case '"':
		_, err := s.Text()
		return err
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		_, err := s.Number()
		return err
	}
}

func (s *Scanner) word(w string) error {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		return s.ErrAt("not a JSON value")
	}
	s.i += len(w)
	return nil
}

func (s *Scanner) skipObject() error {
	o, err := s.Object()
	if err != nil {
		return err
	}
	for {
		_, ok, err := s.Key(&o)
		if err != nil || !ok {
			return err
		}
		if err := s.Skip(); err != nil {
			return err
		}
	}
}

func (s *Scanner) skipArray() error {
	a, err := s.Array()
	if err != nil {
		return err
	}
	for {
		ok, err := s.Elem(&a)
		if err != nil || !ok {
			return err
		}
		if err := s.Skip(); err != nil {
			return err
		}
	}
}

// Open is an object or array being read.
type Open struct {
	started bool
	from    int // its first byte
	keys    int // where its keys begin in scanner.keys
}

func (s *Scanner) enter(c byte) (Open, error) {
	if s.Peek() != c {
		return Open{}, s.ErrAt("%q expected", c)
	}
	if s.depth == s.maxDepth {
		return Open{}, s.ErrAt("nested more than %d deep", s.maxDepth)
	}
	s.i++
	s.depth++
	return Open{from: s.i - 1, keys: len(s.keys)}, nil
}

// Object enters the object that comes next.
func (s *Scanner) Object() (Open, error) { return s.enter('{') }

// Array enters the array that comes next.
func (s *Scanner) Array() (Open, error) { return s.enter('[') }

// Elem moves to the next element; false is the end of the array.
func (s *Scanner) Elem(a *Open) (bool, error) {
	c := s.Peek()
	if c == ']' {
		s.i++
		s.depth--
		return false, nil
	}
	if a.started {
		if c != ',' {
			return false, s.ErrAt("',' or ']' expected")
		}
		s.i++
		if s.Peek() == ']' {
			return false, s.ErrAt("a value expected")
		}
	}
	a.started = true
	if !s.checked {
		s.elements++
	}
	return true, nil
}

// Key moves to the value of the next member and returns its key, which is valid
// until the next call; false is the end of the object.
func (s *Scanner) Key(o *Open) ([]byte, bool, error) {
	c := s.Peek()
	if c == '}' {
		if err := s.distinct(o); err != nil {
			return nil, false, err
		}
		s.i++
		s.depth--
		return nil, false, nil
	}
	if o.started {
		if c != ',' {
			return nil, false, s.ErrAt("',' or '}' expected")
		}
		s.i++
		c = s.Peek()
	}
	o.started = true
	if c != '"' {
		return nil, false, s.ErrAt("a key expected")
	}
	k, err := s.Text()
	if err != nil {
		return nil, false, err
	}
	if !s.checked {
		s.keys = append(s.keys, xxh3.Hash(k))
	}
	if s.Peek() != ':' {
		return nil, false, s.ErrAt("':' expected")
	}
	s.i++
	return k, true, nil
}

// distinct checks the keys of the object that ends here and forgets them. Equal
// hashes count as equal keys.
func (s *Scanner) distinct(o *Open) error {
	l := s.keys[o.keys:]
	s.keys = s.keys[:o.keys]
	var seen [16]uint64 // a bit for 10 bits of each hash: if none is met twice, no key is
	twice := false
	for _, h := range l {
		word, bit := &seen[h%16], uint64(1)<<(h>>58)
		twice = twice || *word&bit != 0
		*word |= bit
	}
	if !twice {
		return nil
	}
	slices.Sort(l)
	for i := 1; i < len(l); i++ {
		if l[i] != l[i-1] {
			continue
		}
		if s.exact {
			return s.twin(o, l[i])
		}
		s.doubled++
		break
	}
	return nil
}

// twin returns the error that a key of the given hash is a duplicate in the object
// that was just read: it reads the object again to find the second one.
func (s *Scanner) twin(o *Open, hash uint64) error {
	again := Scanner{b: s.b, i: o.from, maxDepth: s.maxDepth, checked: true}
	met := 0
	for obj, _ := again.Object(); ; {
		k, ok, _ := again.Key(&obj)
		if !ok {
			return s.ErrAt("duplicate key in the object that ends here")
		}
		if xxh3.Hash(k) == hash {
			if met++; met == 2 {
				return again.ErrAt("duplicate key %s", bad.Clip(k))
			}
		}
		_ = again.Skip()
	}
}

// Number reads a number and returns its text.
func (s *Scanner) Number() ([]byte, error) {
	start := s.i
	if s.at('-') {
		s.i++
	}
	switch {
	case s.at('0'):
		s.i++
	case s.digits() == 0:
		return nil, s.ErrAt("not a JSON value")
	}
	if s.at('.') {
		s.i++
		if s.digits() == 0 {
			return nil, s.ErrAt("a digit expected")
		}
	}
	if s.at('e') || s.at('E') {
		s.i++
		if s.at('+') || s.at('-') {
			s.i++
		}
		if s.digits() == 0 {
			return nil, s.ErrAt("a digit expected")
		}
	}
	return s.b[start:s.i], nil
}

func (s *Scanner) at(c byte) bool { return s.i < len(s.b) && s.b[s.i] == c }

// digits steps over digits and returns how many there were.
func (s *Scanner) digits() int {
	start := s.i
	for s.i < len(s.b) && s.b[s.i]-'0' <= 9 {
		s.i++
	}
	return s.i - start
}

// SyntaxError is an error of a scanner: what is wrong at a byte.
type SyntaxError struct {
	At   int
	Text string
}

// Error names the byte.
func (e *SyntaxError) Error() string { return fmt.Sprintf("byte %d: %s", e.At, e.Text) }
