package file

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// align finds where in the file each character of a scalar stands. It reads the
// text that the YAML parser made beside the bytes that it was made from: a run
// of white space that holds a line break stands for whatever the parser folded
// it to, an escape for its character, and everything else for itself. If the two
// do not agree, every character is placed at the start of the scalar: an error
// is then less exact, never in a wrong line of another rule.
func align(p *Passage) []int {
	start := p.start().at
	a := aligner{data: p.file.data, at: start}
	switch {
	case p.node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		a.skipLine()
	case p.node.Style&yaml.DoubleQuotedStyle != 0:
		a.at++
		a.escapes = true
	case p.node.Style&yaml.SingleQuotedStyle != 0:
		a.at++
		a.quotes = true
	}
	var offsets []int
	for _, r := range p.Text {
		at, ok := a.next(r)
		if !ok {
			return sameOffset(start, utf8.RuneCountInString(p.Text)+1)
		}
		offsets = append(offsets, at)
	}
	return append(offsets, a.last)
}

func sameOffset(at, n int) []int {
	offsets := make([]int, n)
	for i := range offsets {
		offsets[i] = at
	}
	return offsets
}

type aligner struct {
	data    []byte
	at      int
	last    int // after the last character that is no white space
	escapes bool
	quotes  bool
}

func (a *aligner) skipLine() {
	if i := bytes.IndexByte(a.data[a.at:], '\n'); i >= 0 {
		a.at += i + 1
		return
	}
	a.at = len(a.data)
}

// next returns the place of the character r of the text and moves behind it.
func (a *aligner) next(r rune) (int, bool) {
	if isBlank(r) && !a.atEscape() {
		at := a.at
		if n, broken := a.blanks(); n > 0 && !broken {
			a.at++
		}
		return at, true
	}
	n, _ := a.blanks()
	a.at += n
	for a.atEscape() {
		at := a.at
		got, n := a.escape()
		a.at += n
		if n == 0 || got >= 0 && got != r {
			return 0, false
		}
		if got >= 0 {
			a.last = a.at
			return at, true
		}
		n, _ = a.blanks() // an escaped line break stands for nothing
		a.at += n
	}
	got, n := utf8.DecodeRune(a.data[a.at:])
	if got != r {
		return 0, false
	}
	at := a.at
	a.at += n
	if a.quotes && r == '\'' {
		a.at++
	}
	a.last = a.at
	return at, true
}

func (a *aligner) atEscape() bool {
	return a.escapes && a.at < len(a.data) && a.data[a.at] == '\\'
}

// blanks measures the white space ahead and says whether a line ends in it.
func (a *aligner) blanks() (n int, broken bool) {
	for a.at+n < len(a.data) && isBlank(rune(a.data[a.at+n])) {
		broken = broken || a.data[a.at+n] == '\n' || a.data[a.at+n] == '\r'
		n++
	}
	return n, broken
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\r' }

// escape decodes the escape of a double-quoted scalar that is ahead. Its
// character is -1 if it stands for nothing, its length 0 if it is not known.
func (a *aligner) escape() (rune, int) {
	if a.at+1 >= len(a.data) {
		return 0, 0
	}
	switch c := a.data[a.at+1]; c {
	case '\n', '\r':
		return -1, 1
	case 'x':
		return a.hex(2)
	case 'u':
		return a.hex(4)
	case 'U':
		return a.hex(8)
	default:
		r, ok := simpleEscapes[c]
		if !ok {
			return 0, 0
		}
		return r, 2
	}
}

func (a *aligner) hex(digits int) (rune, int) {
	if a.at+2+digits > len(a.data) {
		return 0, 0
	}
	n, err := strconv.ParseUint(string(a.data[a.at+2:a.at+2+digits]), 16, 32)
	if err != nil {
		return 0, 0
	}
	return rune(n), 2 + digits
}

var simpleEscapes = map[byte]rune{
	'0': 0, 'a': 7, 'b': 8, 't': 9, '\t': 9, 'n': 10, 'v': 11, 'f': 12, 'r': 13, 'e': 27,
	' ': ' ', '"': '"', '/': '/', '\\': '\\', 'N': 0x85, '_': 0xa0, 'L': 0x2028, 'P': 0x2029,
}
