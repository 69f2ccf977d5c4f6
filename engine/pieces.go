package engine

import (
	"strings"

	"github.com/segmill/segmill/engine/expr"
)

// pieces is room for the texts and pairs that effects keep. They are cut from big pieces,
// which are never written to again.
type pieces struct {
	pairs []Pair
	text  strings.Builder
}

// pair appends to evidence that was begun at from in p.pairs.
func (p *pieces) pair(name string, v expr.Value) {
	p.pairs = append(p.pairs, Pair{name, p.textOf(v)})
}

// The sizes of the pieces.
const (
	pairsPiece = 64
	textPiece  = 1024
)

// room returns where the next pairs begin, at most n of them.
func (p *pieces) room(n int) int {
	if cap(p.pairs)-len(p.pairs) < n {
		p.pairs = make([]Pair, 0, max(n, pairsPiece))
	}
	return len(p.pairs)
}

// cut returns the pairs that were appended, nil if there are none.
func (p *pieces) cut(from int) []Pair {
	if from == len(p.pairs) {
		return nil
	}
	return p.pairs[from:len(p.pairs):len(p.pairs)]
}

// textOf returns v as text.
func (p *pieces) textOf(v expr.Value) string {
	if v.K == expr.String {
		return v.S
	}
	var buf [64]byte
	b := v.AppendText(buf[:0])
	if p.text.Cap()-p.text.Len() < len(b) {
		p.text = strings.Builder{}
		p.text.Grow(max(len(b), textPiece))
	}
	n := p.text.Len()
	p.text.Write(b)
	return p.text.String()[n:]
}
