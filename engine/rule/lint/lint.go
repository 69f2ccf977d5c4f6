// Package lint warns of rules that run and mean something other than people expect: a
// condition that is true of everybody, a comparison that an absent value makes unknown.
//
// Its one rule: a warning changes nothing. What a rule means and whether it is accepted
// is decided elsewhere, and a rule that is right can be written so that no warning is left.
package lint

import (
	"slices"
	"strconv"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/bounds"
	"github.com/segmill/segmill/engine/rule/canon"
	"github.com/segmill/segmill/engine/rule/file"
)

// Linter warns of the rules of one set.
type Linter struct {
	// Log takes the warnings.
	Log *file.Log
	// Spec has the inputs that nodes refer to. It may grow while rules are read.
	Spec *plan.Spec
	// Zones are the time zones that rules may name.
	Zones expr.Zones
	// Fields says which field a node's value comes from.
	Fields map[*expr.Node]*expr.Type
	// Judge knows what values can be.
	Judge *bounds.Judge
}

// Word warns of a text that is compared with a field, called name, of which other values
// are usual.
func (l *Linter) Word(at file.Place, value string, f *expr.Type, name string) {
	if f.Words != nil && !slices.Contains(f.Words, value) {
		l.Log.Warn(at, file.UnusualValue.Hint(file.DidYouMean(value, f.Words)), "%s is not a usual value of %s", strconv.Quote(value), name)
	}
}

// Activity warns of a stream that happens without the customer's doing.
func (l *Linter) Activity(at file.Place, s *plan.StreamInfo) {
	if u := s.Unattended; u != nil {
		l.Log.Warn(at, file.UnattendedActivity.Hint(u.Remedy), "%s", u.Message)
	}
}

// Size warns of a condition that is true of a customer who never did anything: it matches
// nearly everybody, which is seldom meant.
func (l *Linter) Size(p *file.Passage, n *expr.Node) {
	v, err := canon.Evaluate(l.Zones, n, func(ref int) expr.Value {
		switch in := l.Spec.Inputs[ref]; {
		case in.Kind == plan.InSegment || in.Kind == plan.InConsent:
			return expr.BoolValue(false)
		case in.Kind == plan.InAggregate:
			return in.Agg.Nothing(in.Type)
		}
		return expr.Value{}
	})
	if err == nil && v.K == expr.Bool && v.N == 1 {
		l.Log.Warn(p, file.MatchesIdle.Hint("add what they did, such as count(purchase) > 0"), "this is true of every known customer who did nothing")
	}
}
