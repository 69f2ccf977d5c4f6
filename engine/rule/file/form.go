package file

import (
	"go.yaml.in/yaml/v4"

	"github.com/segmill/segmill/engine/plan"
)

// Form reads the YAML of files that stand beside rule files, such as tests. They have
// the limits of rule files, the same plain YAML, and errors of the same form.
type Form struct{ reader }

// Open reads the YAML of f, which errors call what ("test"), and returns its root. It
// is nil if there was an error.
func Open(f File, what string, l *Log) (*Form, *yaml.Node) {
	r := &Form{reader{Log: l, file: newSource(f), noun: what}}
	if !r.acceptable() {
		return r, nil
	}
	var root yaml.Node
	if err := yaml.Load(f.Data, &root); err != nil {
		r.yamlError(err)
		return r, nil
	}
	if len(root.Content) != 1 || !r.plain(root.Content[0], 0) {
		return r, nil
	}
	return r, root.Content[0]
}

// Keys are the keys of a YAML mapping that has been checked.
type Keys struct {
	form *Form
	s    *section
}

// Keys reads the mapping n, which errors call what. Keys that are not known are errors;
// without any known, all are good.
func (f *Form) Keys(n *yaml.Node, what string, known ...string) (*Keys, bool) {
	s, ok := f.section(n, what, words{known: known, any: len(known) == 0})
	return &Keys{f, s}, ok
}

// Order returns the keys in the order of the file.
func (k *Keys) Order() []*Passage { return k.s.order }

// Node returns the value of a key, nil if there is none.
func (k *Keys) Node(key string) *yaml.Node { return k.s.vals[key] }

// Has reports whether a key is there, be its value right or wrong.
func (k *Keys) Has(key string) bool {
	_, ok := k.s.vals[key]
	return ok
}

// Text returns the text of a key, nil if there is none. A value that is no text is an
// error.
func (k *Keys) Text(key string) *Passage { return k.form.scalar(k.s, key) }

// Required is Text for a key that must be there; hint is the remedy.
func (k *Keys) Required(key, hint string) *Passage { return k.form.required(k.s, key, hint) }

// At is where the mapping begins.
func (k *Keys) At() Place { return k.s.at }

// At is the place of a node.
func (f *Form) At(n *yaml.Node) Place { return Offset{f.file, f.file.offset(n.Line, n.Column)} }

// List returns the elements of a list, which errors call what.
func (f *Form) List(n *yaml.Node, what string) []*yaml.Node { return f.list(n, what) }

// Texts returns the elements of a list of texts.
func (f *Form) Texts(n *yaml.Node, what string) []*Passage { return f.texts(n, what) }

// Pos returns the position of a node.
func (f *Form) Pos(n *yaml.Node) plan.Pos { return PosOf(f.At(n)) }
