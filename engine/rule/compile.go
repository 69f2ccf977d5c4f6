package rule

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// compiler turns a document into a Spec.
type compiler struct {
	*log
	catalog *catalog
	zones   expr.Zones
	lang    *language
	spec    plan.Spec
	byText  map[string]int // index into spec.Inputs
	defines map[string]*define
	// places says where each segment, lifecycle and stage is written.
	places map[string]place
	// segments holds the ids that in_segment may name.
	segments []string
	// activity says that spec.Activity is not the default one.
	ownActivity bool
	// fields remembers which field a node's value comes from.
	fields map[*expr.Node]*expr.Type
	// uses are the memberships that each segment or lifecycle reads.
	uses map[string][]use
}

// use is a call of in_segment.
type use struct {
	segment string
	at      place
}

// define is a named expression.
type define struct {
	declaration
	state  defineState
	result *result // nil if the expression has errors
}

type defineState uint8

const (
	unread defineState = iota
	reading
	read
)

func newCompiler(cat *plan.Catalog, zones expr.Zones, l *log) *compiler {
	c := newCatalog(cat)
	return &compiler{
		log: l, catalog: c, zones: zones, lang: newLanguage(c), spec: plan.Spec{Catalog: cat},
		byText: make(map[string]int), defines: make(map[string]*define), places: make(map[string]place),
		fields: make(map[*expr.Node]*expr.Type), uses: make(map[string][]use),
	}
}

func (c *compiler) compile(doc *document) {
	c.spec.Zone = "UTC"
	if doc.zone != nil {
		c.spec.Zone = doc.zone.text
	}
	c.spec.MarFirst = doc.marFirst
	c.declare(doc)
	c.setActivity(doc.activity)
	for _, d := range doc.defines {
		c.resolve(d.name.text)
	}
	for _, s := range doc.segments {
		c.segment(s)
	}
	for _, l := range doc.lifecycles {
		c.lifecycle(l)
	}
	for i := range doc.triggers {
		c.trigger(&doc.triggers[i])
	}
	c.cycles()
}

// declare enters every name of every file, so that their order does not matter.
func (c *compiler) declare(doc *document) {
	for _, d := range doc.defines {
		switch prev := c.defines[d.name.text]; {
		case c.isTaken(d.name.text):
			c.failHint(d.name, "choose another name", "%q is a reserved name", d.name.text)
		case prev != nil:
			c.fail(d.name, "%q is already defined in %s", d.name.text, where(prev.name))
		default:
			c.defines[d.name.text] = &define{declaration: d}
		}
	}
	for _, s := range doc.segments {
		c.name(s.id.text, s.id, true)
	}
	for _, l := range doc.lifecycles {
		c.name(l.id.text, l.id, false)
		for _, s := range l.stages {
			c.name(l.id.text+"/"+s.id.text, s.id, true)
		}
	}
	triggers := make(map[string]place)
	for _, t := range doc.triggers {
		if prev := triggers[t.id.text]; prev != nil {
			c.fail(t.id, "the id %q is already used in %s", t.id.text, where(prev))
			continue
		}
		triggers[t.id.text] = t.id
	}
}

func (c *compiler) isTaken(name string) bool {
	_, isStream := plan.StreamByName(name)
	return isStream || name == "activity" || slices.Contains(c.lang.names[customer], name) ||
		slices.Contains(laterFunctions, name) || slices.Contains(macros, name)
}

func (c *compiler) name(id string, at place, isSegment bool) {
	if prev := c.places[id]; prev != nil {
		c.fail(at, "the id %q is already used in %s", id, where(prev))
		return
	}
	c.places[id] = at
	if isSegment {
		c.segments = append(c.segments, id)
	}
}

// resolve reads the expression of a definition when it is first used.
func (c *compiler) resolve(name string) *define {
	d := c.defines[name]
	if d == nil || d.state != unread {
		return d
	}
	d.state = reading
	d.result = c.read(d.text, customer, true)
	d.state = read
	return d
}

func (c *compiler) segment(s segment) {
	if s.when == nil {
		return
	}
	if node := c.condition(s.when, s.id.text); node != nil {
		c.lintSize(s.when, node)
		c.spec.Segments = append(c.spec.Segments, plan.Segment{ID: s.id.text, Meta: s.meta, When: node})
	}
}

func (c *compiler) lifecycle(l lifecycle) {
	out := plan.Lifecycle{ID: l.id.text, Meta: l.meta}
	for i, s := range l.stages {
		if s.when == nil {
			continue
		}
		node := c.condition(s.when, l.id.text)
		if node == nil {
			continue
		}
		out.Stages = append(out.Stages, plan.Stage{ID: s.id.text, When: node, Pos: posOf(s.id)})
		if isTrue(node) && i < len(l.stages)-1 {
			c.warn(s.when, "put it last", "nobody reaches the stages below this one")
		}
	}
	c.spec.Lifecycles = append(c.spec.Lifecycles, out)
}

// condition reads an expression that must be true or false. Memberships that it
// reads are noted for owner, a segment or a lifecycle.
func (c *compiler) condition(p *passage, owner string) *expr.Node {
	r := c.read(p, customer, false)
	if r == nil {
		return nil
	}
	if r.typ.Kind() != types.BoolKind {
		hint := "compare it"
		switch r.typ.Kind() {
		case types.IntKind, types.DoubleKind:
			hint = "compare it, for example … >= 3"
		case types.DurationKind:
			hint = "compare it, for example … >= days(45)"
		case types.StringKind:
			hint = `compare it, for example … == "FR"`
		default:
		}
		c.failHint(p, hint, "a condition must be true or false, but this is %s", inWords(r.typ))
		return nil
	}
	c.uses[owner] = append(c.uses[owner], r.member...)
	if isFalse(r.node) {
		c.warn(p, "", "this is never true")
	}
	return r.node
}

func (c *compiler) trigger(t *trigger) {
	spec := t.spec
	good := true
	for i := range spec.Kind.Settings {
		set := &spec.Kind.Settings[i]
		ok := true
		switch set.Form {
		case plan.SetValue:
			if !spec.Values[i].Present() && set.Default != nil {
				spec.Values[i] = set.Default(&c.spec)
			}
		case plan.SetStreams:
			spec.Sources = c.silence(t.streams)
		case plan.SetInput:
			spec.Input, ok = c.triggerInput(t.input, set.Word)
		case plan.SetCondition:
			spec.When, ok = c.triggerCondition(t.when)
		case plan.SetFields:
			spec.Fields = c.messageFields(t.fields)
		}
		good = good && ok
	}
	if good {
		c.spec.Triggers = append(c.spec.Triggers, spec)
	}
}

// triggerCondition reads the condition of a trigger.
func (c *compiler) triggerCondition(p *passage) (*expr.Node, bool) {
	if p == nil {
		return nil, false
	}
	n := c.condition(p, "")
	if n != nil {
		c.lintSize(p, n)
	}
	return n, n != nil
}

// triggerInput returns the input that a trigger goes by.
func (c *compiler) triggerInput(p *passage, word string) (int, bool) {
	if p == nil {
		return 0, false
	}
	r := c.read(p, customer, false)
	if r == nil {
		return 0, false
	}
	if n := r.node; n.Op == expr.OpInput && (n.Type == expr.Date || n.Type == expr.Time) {
		return n.Ref, true
	}
	c.failHint(p, "write an attribute such as profile.birth_date, or first(purchase)", "%s must be a date or a time of the customer, but this is %s", word, inWords(r.typ))
	return 0, false
}

func (c *compiler) messageFields(fields []declaration) []plan.NamedNode {
	var out []plan.NamedNode
	for _, f := range fields {
		r := c.read(f.text, customer, false)
		if r == nil {
			continue
		}
		if k := kindOfType(r.typ); k == expr.List || k == expr.Record || k == expr.Absent {
			c.fail(f.text, "a message field must be a single value, but this is %s", inWords(r.typ))
			continue
		}
		out = append(out, plan.NamedNode{Name: f.name.text, Node: r.node})
	}
	slices.SortFunc(out, func(a, b plan.NamedNode) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// input returns the index of the input, which is entered if no other has its
// text.
func (c *compiler) input(in plan.Input) int {
	if i, ok := c.byText[in.Text]; ok {
		return i
	}
	i := len(c.spec.Inputs)
	c.byText[in.Text] = i
	c.spec.Inputs = append(c.spec.Inputs, in)
	return i
}

// inputNode is a new node that reads the input.
func (c *compiler) inputNode(in plan.Input) *expr.Node {
	return &expr.Node{Op: expr.OpInput, Type: in.Type, Ref: c.input(in)}
}

// text prints a node in canonical form.
func (c *compiler) text(n *expr.Node) string {
	return n.Text(func(i int) string { return c.spec.Inputs[i].Text })
}

// cycles finds segments that depend on their own membership.
func (c *compiler) cycles() {
	state := make(map[string]defineState)
	var path []string
	var visit func(unit string)
	visit = func(unit string) {
		state[unit] = reading
		path = append(path, unit)
		for _, u := range c.uses[unit] {
			next, _, _ := strings.Cut(u.segment, "/")
			switch state[next] {
			case unread:
				visit(next)
			case reading:
				loop := append(slices.Clone(path[slices.Index(path, next):]), next)
				c.failHint(u.at, "", "%s depends on itself: %s", strconv.Quote(next), strings.Join(loop, " → "))
			case read:
			}
		}
		path = path[:len(path)-1]
		state[unit] = read
	}
	for _, s := range c.segments {
		unit, _, _ := strings.Cut(s, "/")
		if state[unit] == unread {
			visit(unit)
		}
	}
}
