package file

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/segmill/segmill/engine/plan"
)

// Bounds on a rule file.
const (
	// MaxFileSize is the largest rule file, in bytes.
	MaxFileSize = 1 << 20
	maxLine     = 8 << 10 // bytes in one line
	maxDepth    = 16      // nesting of YAML lists and mappings
)

// File is a rule file that somebody has read.
type File struct {
	Name string
	Data []byte
}

// source is the text of a rule file with the starts of its lines.
type source struct {
	name  string
	data  []byte
	lines []int
}

// newSource returns the text of a file.
func newSource(f File) *source {
	s := &source{name: f.Name, data: f.Data, lines: []int{0}}
	for i, b := range f.Data {
		if b == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// lineAt returns the index of the line that holds the byte at.
func (s *source) lineAt(at int) int {
	i, found := slices.BinarySearch(s.lines, at)
	if !found {
		i--
	}
	return max(i, 0)
}

// line returns the text of the line with index i, without its end.
func (s *source) line(i int) string {
	end := len(s.data)
	if i+1 < len(s.lines) {
		end = s.lines[i+1]
	}
	return string(bytes.TrimRight(s.data[s.lines[i]:end], "\r\n"))
}

// offset finds the byte at a line and column, both from 1, columns in
// characters.
func (s *source) offset(line, column int) int {
	if line < 1 || line > len(s.lines) {
		return 0
	}
	at := s.lines[line-1]
	for ; column > 1 && at < len(s.data) && s.data[at] != '\n'; column-- {
		_, n := utf8.DecodeRune(s.data[at:])
		at += n
	}
	return at
}

// Passage is the text of a YAML scalar that knows where in the file each of its
// characters stands.
type Passage struct {
	file *source
	node *yaml.Node
	Text string
	// offsets holds the byte in the file of each character of text, and of its
	// end; made when first asked for.
	offsets []int
}

func newPassage(f *source, n *yaml.Node) *Passage {
	return &Passage{file: f, node: n, Text: n.Value}
}

// Named returns a text that is in no file.
func Named(text string) *Passage {
	return newPassage(newSource(File{}), &yaml.Node{Kind: yaml.ScalarNode, Value: text, Line: 1, Column: 1})
}

// start is where the scalar begins: its quote or its block sign, if it has one.
func (p *Passage) start() Offset {
	return Offset{p.file, p.file.offset(p.node.Line, p.node.Column)}
}

func (p *Passage) resolve() (plan.Pos, string) { return p.Char(0).resolve() }

// Char is the place of the i-th character of the text.
func (p *Passage) Char(i int) Offset {
	if p.offsets == nil {
		p.offsets = align(p)
	}
	return Offset{p.file, p.offsets[max(0, min(i, len(p.offsets)-1))]}
}

// IsCut reports whether the text goes on with something that YAML takes for a comment.
func (p *Passage) IsCut() bool {
	if p.node.Style != 0 {
		return false
	}
	end := p.Char(utf8.RuneCountInString(p.Text)).at
	rest := p.file.data[min(end, len(p.file.data)):]
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("#"))
}
