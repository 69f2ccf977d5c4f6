package plan

import (
	"slices"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
)

// Kind is what rule files and plans need to know of a kind of trigger. Package
// triggers has the kinds, with what else belongs to them; here nothing depends on
// which there are. A Kind does not change once rules were read with it.
type Kind struct {
	// Name is the kind's name in rule files and in outputs.
	Name string
	// Later marks a name that is kept for a later version: the rest is empty, and
	// a rule file that has it gets an error that says so.
	Later bool
	// Settings are the keys that a trigger of this kind takes besides those that
	// every trigger takes. At most one is a SetInput, a SetCondition, and so on.
	Settings []Setting
	// Fact says what must be kept of a customer's events for the trigger. Nil: it
	// reads the input or the condition of a setting, or nothing.
	Fact func(t *Trigger) Fact
	// Zoned says that when the trigger is due depends on the customer's time zone.
	Zoned bool
	// AsOf is the instant as of which it is asked when it is due.
	AsOf AsOf
	// Message are the fields of its messages that other kinds do not have, by the
	// names that the output schema has.
	Message []expr.Field
}

// AsOf says as of which instant a trigger is asked when it is next due, after an
// event changed what it reads.
type AsOf uint8

const (
	// AsOfEvent is the event's time, or the customer's last instant if that is
	// later: what is due between it and the customer's new instant fires as of its
	// own instant.
	AsOfEvent AsOf = iota
	// AsOfInstant is the customer's new instant, if the value of the trigger's
	// SetInput changed: that is when the value becomes known, and what would have
	// been due before is not news.
	AsOfInstant
)

// Fact describes a summary of events.
type Fact struct {
	Family  *aggregate.Family
	Sources []Source
	Reach   expr.Millis // how far back it looks, 0 for all time
	// Text is what it is stored under, "" for a text that family and sources give. It
	// stays when what the summary reads of events changes, so that what was kept is found.
	Text string
}

// Setting is one key of a trigger.
type Setting struct {
	Word string
	Form Form
	// Missing is the remedy that an error names where the key is missing, "" if it
	// may be.
	Missing string
	// Read reads a SetValue from its text. The flaw, nil if there is none, becomes
	// an error at the text's place.
	Read func(text string) (expr.Value, *Flaw)
	// Default is a SetValue that is left out. It can depend on the defaults of the
	// rule set.
	Default func(s *Spec) expr.Value
}

// Flaw is what is wrong with the text of a setting.
type Flaw struct {
	Message string
	Remedy  string   // "" if that is not known
	Choices []string // if nothing else is accepted: the nearest one is suggested
}

// Form says what the value of a setting is and where a Trigger has it.
type Form uint8

// The forms.
const (
	SetValue     Form = iota // a single value that Setting.Read reads: Trigger.Setting
	SetStreams               // streams of what counts as activity, all of it by default: Trigger.Sources
	SetInput                 // a date or a time of the customer: Trigger.Input
	SetCondition             // Trigger.When; the trigger fires when it turns true
	SetFields                // named expressions: Trigger.Fields
)

// Has reports whether the kind has a setting of a form.
func (k *Kind) Has(f Form) bool {
	return slices.ContainsFunc(k.Settings, func(s Setting) bool { return s.Form == f })
}

// NoValues returns room for the values of the kind's settings.
func (k *Kind) NoValues() []expr.Value { return make([]expr.Value, len(k.Settings)) }

// Trigger is a rule that sends a message.
type Trigger struct {
	ID      string
	Was     string // the id before, "" if it had no other
	Kind    *Kind
	Pos     Pos
	Reentry Reentry
	// Values are those of the kind's settings, in their order; Absent for one that
	// is no SetValue.
	Values []expr.Value
	// What settings of the other forms hold.
	Sources []Source
	Input   int
	When    *expr.Node
	Fields  []NamedNode
}

// Setting returns the value of a SetValue, Absent if the kind has none of that
// name.
func (t *Trigger) Setting(word string) expr.Value {
	for i := range t.Kind.Settings {
		if t.Kind.Settings[i].Word == word {
			return t.Values[i]
		}
	}
	return expr.Value{}
}

// Reentry says how often a trigger may fire for one customer.
type Reentry uint8

// The re-entry policies that this version has.
const (
	EveryTime Reentry = iota
	Once
)

// NamedNode is an expression with the name under which its value is sent.
type NamedNode struct {
	Name string
	Node *expr.Node
}
