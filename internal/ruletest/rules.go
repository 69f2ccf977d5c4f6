package ruletest

import (
	"errors"
	"slices"
	"strings"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas"
)

// Rules is a rule set that tests are run with.
type Rules struct {
	Engine *engine.Engine
	Zones  expr.Zones
	// Grace is how far the clock stays behind the events, in ms, as in a replay.
	Grace engine.Millis

	reader  *schemas.Reader
	whole   *schemas.Reader // reads all fields, whether or not a rule does
	encoder *schemas.Encoder
	noted   func(*schemas.Note) // of the record that is being read
	// Coverage is what the tests have shown of the rules; nil: nobody asks.
	coverage *Coverage
}

// NewRules returns a rule set to test. What the tests show of it goes to cover, if that
// is not nil.
func NewRules(e *engine.Engine, zones expr.Zones, grace engine.Millis, cover *Coverage) (*Rules, error) {
	r := &Rules{Engine: e, Zones: zones, Grace: grace, coverage: cover}
	var err error
	if r.reader, err = r.newReader(e.Layout); err != nil {
		return nil, err
	}
	if r.whole, err = r.newReader(wholeLayouts(e.Catalog())); err != nil {
		return nil, err
	}
	r.encoder, err = schemas.NewEncoder(schemas.JSON, "test", schemas.IDs{})
	if err != nil {
		return nil, err
	}
	if cover != nil {
		cover.add(r)
	}
	return r, nil
}

// newReader returns a reader of the fields that layouts name.
func (r *Rules) newReader(layouts func(plan.Stream) *plan.Layout) (*schemas.Reader, error) {
	return schemas.NewReader(schemas.Config{
		Catalog:   r.Engine.Catalog(),
		Layouts:   layouts,
		Locations: r.Zones,
		Zones:     func(name string) bool { _, ok := r.Zones(name); return ok },
		Noted:     func(_ string, n *schemas.Note) { r.noted(n) },
		Reading:   r.Engine.Plan().Spec.Reading,
	})
}

// wholeLayouts are layouts of all fields.
func wholeLayouts(c *plan.Catalog) func(plan.Stream) *plan.Layout {
	return func(s plan.Stream) *plan.Layout {
		l := &plan.Layout{Stream: s}
		for _, f := range c.Fields[s] {
			if !f.Type.Map {
				l.Paths = append(l.Paths, f.Name)
			}
		}
		slices.Sort(l.Paths)
		return l
	}
}

// read makes an event of a line. What is wrong with any of its fields is noted.
func (r *Rules) read(line []byte, ev *engine.Event, noted func(*schemas.Note)) error {
	var whole engine.Event
	var more schemas.More
	r.noted = noted
	if _, err := r.whole.ReadJSONLine(line, &whole, &more); err != nil {
		return err
	}
	r.noted = func(*schemas.Note) {} // the same
	_, err := r.reader.ReadJSONLine(line, ev, &more)
	if err == nil && len(more.Events)+len(more.Refused) > 0 {
		err = errSeveral
	}
	return err
}

// errSeveral is a batch of messages where one event is expected.
var errSeveral = errors.New("it is several events; write each of them by itself")

func (r *Rules) streams() *plan.Streams { return r.Engine.Catalog().Table() }

// segments are the ids of segments and stages.
func (r *Rules) segments() (l []string) {
	for i := range r.Engine.Plan().Segments {
		l = append(l, r.Engine.Plan().Segments[i].ID)
	}
	return l
}

func (r *Rules) triggers() (l []string) {
	for i := range r.Engine.Plan().Triggers {
		l = append(l, r.Engine.Plan().Triggers[i].ID)
	}
	return l
}

func (r *Rules) trigger(id string) *plan.TriggerPlan {
	all := r.Engine.Plan().Triggers
	if i := slices.IndexFunc(all, func(t plan.TriggerPlan) bool { return t.ID == id }); i >= 0 {
		return &all[i]
	}
	return nil
}

// triggerName is the name of a trigger where segments have names, too, as in versions.
func triggerName(id string) string { return "trigger:" + id }

// nameOf is the name of what an effect is of.
func nameOf(e *engine.Effect) string {
	if e.Action == engine.Fired {
		return triggerName(e.Name)
	}
	return e.Name
}

// Shown is a name as people write it.
func Shown(name string) string { return strings.TrimPrefix(name, "trigger:") }

// namesOf returns the names that a word of "of" stands for, nil if there are none.
func (r *Rules) namesOf(word string) (l []string) {
	for i := range r.Engine.Plan().Segments {
		if s := &r.Engine.Plan().Segments[i]; s.ID == word || s.Group == word {
			l = append(l, s.ID)
		}
	}
	if r.trigger(word) != nil {
		l = append(l, triggerName(word))
	}
	return l
}

// names are the words that "of" can have.
func (r *Rules) names() []string {
	l := append(r.segments(), r.triggers()...)
	for i := range r.Engine.Plan().Segments {
		if g := r.Engine.Plan().Segments[i].Group; g != "" {
			l = append(l, g)
		}
	}
	slices.Sort(l)
	return slices.Compact(l)
}
