package frame

import (
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/schemas/bad"
)

// Limits of a declared list of texts. One that exceeds them is a refused field.
const (
	MaxListTexts = 100
	MaxListText  = 256 // bytes of each
)

// A list of texts is read text by text, each into a cell that [Frame.AddText] takes.
// What is no text is the fault of the whole list.

// BeginTexts begins a list of texts.
func (f *Frame) BeginTexts() { f.textFault, f.textsFrom = nil, len(f.Cells) }

// AddText adds a text to the list fd that has begun; an empty or absent one is left out.
func (f *Frame) AddText(fd *Field, c Cell) {
	switch {
	case c.K != expr.String || c.N == 0:
	case len(f.Cells)-f.textsFrom < MaxListTexts:
		f.Cells = append(f.Cells, c)
	case f.textFault == nil:
		f.textFault = bad.New(bad.Size, fd.Path, "more than %d texts", MaxListTexts)
	}
}

// EndTexts gives dst the texts of the list that has begun, or refuses them.
func (f *Frame) EndTexts(fd *Field, dst *Cell) *bad.Input {
	from := f.textsFrom
	if e := f.textFault; e != nil {
		f.Cells = f.Cells[:from]
		return f.Refuse(fd, dst, e)
	}
	*dst = Cell{K: expr.List}
	if n := len(f.Cells) - from; n > 0 {
		dst.N = span(from, n)
	}
	return nil
}

// texts makes the value of the list fd of the places in l from at on, and returns where
// the next ones are.
func (f *Frame) texts(l []expr.Value, at int, fd *Field, all string) int {
	from, n := unspan(f.Vals[fd.Place].N)
	texts := l[at : at+n : at+n]
	for i := range texts {
		f.value(&texts[i], f.Cells[from+i], all)
	}
	l[fd.Place] = expr.ListValue(texts)
	return at + n
}
