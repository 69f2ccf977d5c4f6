package rule

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/bounds"
	"github.com/segmill/segmill/engine/rule/file"
	"github.com/segmill/segmill/engine/rule/language"
	"github.com/segmill/segmill/engine/rule/lint"
	"github.com/segmill/segmill/engine/rule/mapping"
	"github.com/segmill/segmill/engine/rule/preset"
)

// compiler turns a document into a Spec.
type compiler struct {
	*file.Log
	catalog *language.Catalog
	zones   expr.Zones
	lang    *language.Language
	lint    *lint.Linter
	spec    plan.Spec
	byText  map[string]int // index into spec.Inputs
	defines map[string]*define
	// places says where each segment, lifecycle and stage is written.
	places map[string]file.Place
	// segments holds the ids that in_segment may name.
	segments []string
	// renamed has the ids that segments and stages had before, with those of today.
	renamed map[string]string
	// activity says that spec.Activity is not the default one.
	ownActivity bool
	// allowed is what is allowed of rules, by their places.
	allowed map[plan.Pos]*file.Allow
	// rules are the segments, to be compared with one another.
	rules []lint.Rule
	// fields remembers which field a node's value comes from.
	fields map[*expr.Node]*expr.Type
	// uses are the memberships that each segment or lifecycle reads.
	uses map[string][]use
}

// use is a call of in_segment.
type use struct {
	segment string
	at      file.Place
}

// define is a named expression.
type define struct {
	file.Declaration
	state  defineState
	result *result // nil if the expression has errors
}

type defineState uint8

const (
	unread defineState = iota
	reading
	read
)

func newCompiler(cat *plan.Catalog, zones expr.Zones, l *file.Log) *compiler {
	c := language.NewCatalog(cat)
	comp := &compiler{
		Log: l, catalog: c, zones: zones, lang: language.New(c), spec: plan.Spec{Catalog: cat, Written: make(map[*expr.Node]string)},
		byText: make(map[string]int), defines: make(map[string]*define), places: make(map[string]file.Place),
		fields: make(map[*expr.Node]*expr.Type), uses: make(map[string][]use),
		allowed: make(map[plan.Pos]*file.Allow), renamed: make(map[string]string),
	}
	comp.lint = &lint.Linter{Log: l, Spec: &comp.spec, Zones: zones, Fields: comp.fields, Judge: bounds.New(&comp.spec)}
	return comp
}

// table is the table of the streams that rules read.
func (c *compiler) table() *plan.Streams { return c.spec.Streams() }

func (c *compiler) compile(doc *file.Document) {
	c.spec.Zone = "UTC"
	if doc.Zone != nil {
		c.spec.Zone = doc.Zone.Text
	}
	c.spec.MarFirst = doc.MarFirst
	c.setReading(&doc.Reading)
	c.declare(doc)
	c.spec.Mappings = mapping.Compile(doc.Mappings, c.mappingSources(), c.Log)
	c.setActivity(doc.Activity, doc.ActivityAllow)
	for _, d := range doc.Defines {
		c.resolve(d.Name.Text)
	}
	for _, s := range doc.Segments {
		c.segment(s)
	}
	for _, l := range doc.Lifecycles {
		c.lifecycle(l)
	}
	for i := range doc.Triggers {
		c.trigger(&doc.Triggers[i])
	}
	c.lint.Same(c.rules)
	c.Unused()
	c.cycles()
}

// mappingSources returns what mappings are checked against.
func (c *compiler) mappingSources() mapping.Sources {
	streams := c.spec.Streams()
	return mapping.Sources{
		Preset: preset.Find, Presets: preset.Names(), Stream: streams.ByName, Streams: streams.Names(),
		Field: func(stream, name string) bool {
			_, i := c.catalog.Field("@"+stream, name)
			return i >= 0
		},
		Fields:  func(stream string) []string { return c.catalog.Names("@" + stream) },
		Members: c.members,
	}
}

// members returns the names of what the elements of a field have, nil if it is no list of
// objects.
func (c *compiler) members(stream, field string) (names []string) {
	s, _ := c.spec.Streams().ByName(stream)
	t := c.spec.Catalog.TypeOf(s, field)
	if t == nil || t.Elem == nil {
		return nil
	}
	for _, f := range t.Elem.Fields {
		names = append(names, f.Name)
	}
	return names
}

// declare enters every name of every file, so that their order does not matter.
func (c *compiler) declare(doc *file.Document) {
	for _, d := range doc.Defines {
		switch prev := c.defines[d.Name.Text]; {
		case c.lang.IsTaken(d.Name.Text):
			c.FailHint(d.Name, "choose another name", "%q is a reserved name", d.Name.Text)
		case prev != nil:
			c.Fail(d.Name, "%q is already defined in %s", d.Name.Text, file.Where(prev.Name))
		default:
			c.defines[d.Name.Text] = &define{Declaration: d}
		}
	}
	for _, s := range doc.Segments {
		c.name(s.ID.Text, s.ID, true)
	}
	for _, l := range doc.Lifecycles {
		c.name(l.ID.Text, l.ID, false)
		for _, s := range l.Stages {
			c.name(l.ID.Text+"/"+s.ID.Text, s.ID, true)
		}
	}
	triggers := make(map[string]file.Place)
	for _, t := range doc.Triggers {
		if prev := triggers[t.ID.Text]; prev != nil {
			c.Fail(t.ID, "the id %q is already used in %s", t.ID.Text, file.Where(prev))
			continue
		}
		triggers[t.ID.Text] = t.ID
	}
	c.declareRenames(doc)
}

func (c *compiler) name(id string, at file.Place, isSegment bool) {
	if prev := c.places[id]; prev != nil {
		c.Fail(at, "the id %q is already used in %s", id, file.Where(prev))
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
	before := c.Allowing(d.Allow)
	d.result = c.read(d.Text, language.Customer, true)
	c.Allowing(before)
	d.state = read
	return d
}

func (c *compiler) segment(s file.Segment) {
	if s.When == nil {
		return
	}
	defer c.Allowing(c.allowing(s.Allow, s.Meta.Pos))
	if r := c.condition(s.When, s.ID.Text); r != nil {
		c.crowd(s.When, r)
		c.rules = append(c.rules, lint.Rule{ID: s.ID.Text, At: s.When, When: r.node, Allow: s.Allow})
		c.spec.Segments = append(c.spec.Segments, plan.Segment{ID: s.ID.Text, Was: textOf(s.Was), Meta: s.Meta, When: r.node})
	}
}

func (c *compiler) lifecycle(l file.Lifecycle) {
	out := plan.Lifecycle{ID: l.ID.Text, Was: textOf(l.Was), Meta: l.Meta}
	var written []lint.Rule
	for _, s := range l.Stages {
		if s.When == nil {
			continue
		}
		before := c.allowing(s.Allow, file.PosOf(s.ID))
		r := c.condition(s.When, l.ID.Text)
		c.Allowing(before)
		if r == nil {
			continue
		}
		out.Stages = append(out.Stages, plan.Stage{ID: s.ID.Text, Was: textOf(s.Was), When: r.node, Pos: file.PosOf(s.ID)})
		written = append(written, lint.Rule{ID: s.ID.Text, At: s.When, When: r.node, Allow: s.Allow})
	}
	c.lint.Stages(written)
	c.spec.Lifecycles = append(c.spec.Lifecycles, out)
}

// allowing begins a rule at pos, which allows some warnings. It returns what was allowed
// before.
func (c *compiler) allowing(a *file.Allow, pos plan.Pos) (before *file.Allow) {
	if a != nil {
		c.allowed[pos] = a
	}
	return c.Allowing(a)
}

// condition reads an expression that must be true or false. Memberships that it
// reads are noted for owner, a segment or a lifecycle.
func (c *compiler) condition(p *file.Passage, owner string) *result {
	r := c.read(p, language.Customer, false)
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
		c.FailHint(p, hint, "a condition must be true or false, but this is %s", language.InWords(r.typ))
		return nil
	}
	c.uses[owner] = append(c.uses[owner], r.member...)
	if !r.decided {
		c.lint.Condition(p, r.node, "customer")
	}
	return r
}

// crowd warns of a condition that nearly everybody meets.
func (c *compiler) crowd(p *file.Passage, r *result) {
	if !r.decided && !c.lint.Always(p, r.node, "customer") {
		c.lint.Size(p, r.node)
	}
}

func (c *compiler) trigger(t *file.Trigger) {
	defer c.Allowing(c.allowing(t.Allow, t.Spec.Pos))
	spec := t.Spec
	spec.Was = textOf(t.Was)
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
			spec.Sources = c.silence(t.Streams)
		case plan.SetInput:
			spec.Input, ok = c.triggerInput(t.Input, set.Word)
		case plan.SetCondition:
			spec.When, ok = c.triggerCondition(t.When)
		case plan.SetFields:
			spec.Fields = c.messageFields(t.Fields)
		}
		good = good && ok
	}
	if good {
		c.spec.Triggers = append(c.spec.Triggers, spec)
	}
}

// triggerCondition reads the condition of a trigger.
func (c *compiler) triggerCondition(p *file.Passage) (*expr.Node, bool) {
	if p == nil {
		return nil, false
	}
	r := c.condition(p, "")
	if r == nil {
		return nil, false
	}
	c.crowd(p, r)
	return r.node, true
}

// triggerInput returns the input that a trigger goes by.
func (c *compiler) triggerInput(p *file.Passage, word string) (int, bool) {
	if p == nil {
		return 0, false
	}
	r := c.read(p, language.Customer, false)
	if r == nil {
		return 0, false
	}
	if n := r.node; n.Op == expr.OpInput && (n.Type == expr.Date || n.Type == expr.Time) {
		return n.Ref, true
	}
	c.FailHint(p, "write an attribute such as profile.birth_date, or first(purchase)", "%s must be a date or a time of the customer, but this is %s", word, language.InWords(r.typ))
	return 0, false
}

func (c *compiler) messageFields(fields []file.Declaration) []plan.NamedNode {
	var out []plan.NamedNode
	for _, f := range fields {
		r := c.read(f.Text, language.Customer, false)
		if r == nil {
			continue
		}
		if k := language.KindOf(r.typ); k == expr.List || k == expr.Record || k == expr.Absent {
			c.Fail(f.Text, "a message field must be a single value, but this is %s", language.InWords(r.typ))
			continue
		}
		out = append(out, plan.NamedNode{Name: f.Name.Text, Node: r.node})
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
				c.FailHint(u.at, "", "%s depends on itself: %s", strconv.Quote(next), strings.Join(loop, " → "))
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
