package schemas

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/zeebo/xxh3"
)

// scanner reads JSON text (RFC 8259) front to back without allocating. It is
// stricter than encoding/json: a key that stands twice in an object, half of a
// surrogate pair, and invalid UTF-8 are errors. encoding/json takes the last of
// two equal keys and folds their case, which would let two readers of one record
// see two different customers.
type scanner struct {
	b        []byte
	i        int // the next byte
	depth    int
	maxDepth int
	checked  bool     // the text was read before: its keys are distinct
	keys     []uint64 // hashes of the keys of all open objects
	text     []byte   // the last string that had escapes
	inText   bool     // the last string read is in text
}

// check returns an error if text is not one JSON value, or nested deeper than maxDepth.
func check(text []byte, maxDepth int) error {
	s := scanner{b: text, maxDepth: maxDepth}
	return s.document()
}

// reset begins the text b, which may be nested as deep as maxDepth. It keeps the
// memory of the text before.
func (s *scanner) reset(b []byte, maxDepth int) {
	*s = scanner{b: b, maxDepth: maxDepth, keys: s.keys[:0], text: s.text}
}

// kept returns how many bytes and how many keys are kept for the next text.
func (s *scanner) kept() (bytes, keys int) { return cap(s.text), cap(s.keys) }

// trust says that all of the text was read before, so that its keys are known to be
// distinct.
func (s *scanner) trust() { s.checked = true }

// pos returns the offset of the next byte.
func (s *scanner) pos() int { return s.i }

// seek makes the byte at i the next one. Only the places where a value begins are
// of use.
func (s *scanner) seek(i int) { s.i = i }

// byteAt returns the byte at i.
func (s *scanner) byteAt(i int) byte { return s.b[i] }

// hadEscapes reports whether the string that was read last is in the scanner's own
// memory, and not a part of the text.
func (s *scanner) hadEscapes() bool { return s.inText }

// errAt returns a syntax error at the next byte.
func (s *scanner) errAt(format string, args ...any) error {
	return &syntaxError{s.i, fmt.Sprintf(format, args...)}
}

// document checks that the text is one JSON value and nothing else.
func (s *scanner) document() error {
	if !utf8.Valid(s.b) {
		return &syntaxError{invalidUTF8(s.b), "not UTF-8"}
	}
	if err := s.skip(); err != nil {
		return err
	}
	return s.end()
}

// end checks that only white space is left.
func (s *scanner) end() error {
	if s.peek() != 0 || s.i < len(s.b) {
		return s.errAt("text after the end of the value")
	}
	return nil
}

// peek steps over white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
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

// skip steps over one value and checks it.
func (s *scanner) skip() error {
	switch c := s.peek(); c {
	case '{':
		return s.skipObject()
	case '[':
		return s.skipArray()
	case '"':
		_, err := s.str()
		return err
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		_, err := s.num()
		return err
	}
}

func (s *scanner) word(w string) error {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		return s.errAt("not a JSON value")
	}
	s.i += len(w)
	return nil
}

func (s *scanner) skipObject() error {
	o, err := s.object()
	if err != nil {
		return err
	}
	for {
		_, ok, err := s.key(&o)
		if err != nil || !ok {
			return err
		}
		if err := s.skip(); err != nil {
			return err
		}
	}
}

func (s *scanner) skipArray() error {
	a, err := s.array()
	if err != nil {
		return err
	}
	for {
		ok, err := s.elem(&a)
		if err != nil || !ok {
			return err
		}
		if err := s.skip(); err != nil {
			return err
		}
	}
}

// open is an object or array being read.
type open struct {
	started bool
	from    int // its first byte
	keys    int // where its keys begin in scanner.keys
}

func (s *scanner) enter(c byte) (open, error) {
	if s.peek() != c {
		return open{}, s.errAt("%q expected", c)
	}
	if s.depth == s.maxDepth {
		return open{}, s.errAt("nested more than %d deep", s.maxDepth)
	}
	s.i++
	s.depth++
	return open{from: s.i - 1, keys: len(s.keys)}, nil
}

// object enters the object that comes next.
func (s *scanner) object() (open, error) { return s.enter('{') }

// array enters the array that comes next.
func (s *scanner) array() (open, error) { return s.enter('[') }

// elem moves to the next element; false is the end of the array.
func (s *scanner) elem(a *open) (bool, error) {
	c := s.peek()
	if c == ']' {
		s.i++
		s.depth--
		return false, nil
	}
	if a.started {
		if c != ',' {
			return false, s.errAt("',' or ']' expected")
		}
		s.i++
		if s.peek() == ']' {
			return false, s.errAt("a value expected")
		}
	}
	a.started = true
	return true, nil
}

// key moves to the value of the next member and returns its key, which is valid
// until the next call; false is the end of the object.
func (s *scanner) key(o *open) ([]byte, bool, error) {
	c := s.peek()
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
			return nil, false, s.errAt("',' or '}' expected")
		}
		s.i++
		c = s.peek()
	}
	o.started = true
	if c != '"' {
		return nil, false, s.errAt("a key expected")
	}
	k, err := s.str()
	if err != nil {
		return nil, false, err
	}
	if !s.checked {
		s.keys = append(s.keys, xxh3.Hash(k))
	}
	if s.peek() != ':' {
		return nil, false, s.errAt("':' expected")
	}
	s.i++
	return k, true, nil
}

// distinct checks the keys of the object that ends here and forgets them. Equal
// hashes count as equal keys: a producer who finds two keys of one 64-bit hash
// gets that record refused.
func (s *scanner) distinct(o *open) error {
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
		if l[i] == l[i-1] {
			return s.twin(o, l[i])
		}
	}
	return nil
}

// twin returns the error that a key of the given hash stands twice in the object
// that was just read: it reads the object again to find the second one.
func (s *scanner) twin(o *open, hash uint64) error {
	again := scanner{b: s.b, i: o.from, maxDepth: s.maxDepth, checked: true}
	met := 0
	for obj, _ := again.object(); ; {
		k, ok, _ := again.key(&obj)
		if !ok {
			return s.errAt("duplicate key in the object that ends here")
		}
		if xxh3.Hash(k) == hash {
			if met++; met == 2 {
				return again.errAt("duplicate key %s", clip(k))
			}
		}
		_ = again.skip()
	}
}

// num reads a number and returns its text.
func (s *scanner) num() ([]byte, error) {
	start := s.i
	if s.at('-') {
		s.i++
	}
	switch {
	case s.at('0'):
		s.i++
	case s.digits() == 0:
		return nil, s.errAt("not a JSON value")
	}
	if s.at('.') {
		s.i++
		if s.digits() == 0 {
			return nil, s.errAt("a digit expected")
		}
	}
	if s.at('e') || s.at('E') {
		s.i++
		if s.at('+') || s.at('-') {
			s.i++
		}
		if s.digits() == 0 {
			return nil, s.errAt("a digit expected")
		}
	}
	return s.b[start:s.i], nil
}

func (s *scanner) at(c byte) bool { return s.i < len(s.b) && s.b[s.i] == c }

// digits steps over digits and returns how many there were.
func (s *scanner) digits() int {
	start := s.i
	for s.i < len(s.b) && s.b[s.i]-'0' <= 9 {
		s.i++
	}
	return s.i - start
}

// syntaxError is an error of a scanner: what is wrong at a byte.
type syntaxError struct {
	at   int
	text string
}

// Error names the byte.
func (e *syntaxError) Error() string { return fmt.Sprintf("byte %d: %s", e.at, e.text) }
