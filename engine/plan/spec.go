package plan

import "github.com/segmill/segmill/engine/expr"

// Spec is a checked set of rules: what engine/rule makes of the files and what
// Compile turns into a Plan. Defines are already expanded into the rules that
// use them.
type Spec struct {
	// Zone is the IANA time zone of customers whose profile has none.
	Zone string
	// MarFirst: for whole years, born on 29 February means 1 March in common
	// years, else 28 February.
	MarFirst bool
	// Reading is how records become events.
	Reading Reading
	// Catalog is what the rules were checked against: the fields of a record stand
	// in its order. Nil suits rules that read no record.
	Catalog *Catalog
	// Activity is what counts as the customer being active.
	Activity []Source
	// Inputs are what conditions read, without two of equal Text. OpInput nodes
	// refer to them by index. An input that refers to another one (Of) stands
	// after it.
	Inputs     []Input
	Segments   []Segment
	Lifecycles []Lifecycle
	Triggers   []Trigger
	// Mappings say how records become events, in order of name.
	Mappings []Mapping
	// Written are operands of && and || as somebody wrote them, for reports. One that is
	// not in it was not written so.
	Written map[*expr.Node]string
}

// Streams returns the table of streams of the rule set.
func (s *Spec) Streams() *Streams { return s.Catalog.Table() }

// Source is one stream of an aggregate with the condition that its events must
// meet. Purchases are already narrowed to completed ones where the rule says
// nothing of purchase.kind.
type Source struct {
	Stream Stream
	Cond   *expr.Node // nil: every event of the stream
	Negate *expr.Node // of a sum of money: where it holds, the value is subtracted; nil: never
}

// InputKind says where an input's value comes from.
type InputKind uint8

// The kinds of inputs.
const (
	InAggregate InputKind = iota // Agg, Sources, Field, Window
	InProfile                    // Field: a profile attribute; absent if never set or set to ""
	InSince                      // Of: duration from a time-valued input to now
	InUntil                      // Of: duration from now to a time-valued input, below zero afterwards
	InYears                      // Of: whole calendar years from a date or time to now, in the customer's zone
	InSegment                    // Segment: membership, never unknown
	InConsent                    // Channel, Purpose: the latest decision is "granted", never unknown
)

// Input is one value that conditions read.
type Input struct {
	// Text is the canonical form in the rule language: unique in a Spec, the key
	// in evidence, and what stored summaries are hashed by. Two inputs of equal
	// meaning have equal Text whatever their layout in the file.
	Text string
	Kind InputKind
	// Type is the kind of the value as rules see it (money is Double).
	Type    expr.Kind
	Agg     *Aggregate // of an InAggregate
	Sources []Source   // sorted by Stream
	Field   string     // path of the field, "" where none is read
	// Stored is the kind of the field's values in events: Decimal for money.
	Stored  expr.Kind
	Window  expr.Millis // 0: lifetime
	Of      int
	Segment string
	Channel string
	Purpose string
}

// Pos is a place in a rule file. Lines and columns count from 1.
type Pos struct {
	File         string
	Line, Column int
}

// Meta is what people write about a rule; nothing in it decides a result.
type Meta struct {
	Name         string
	Objective    string
	Owner        string
	ReviewBy     string // a date, YYYY-MM-DD
	Channel      string // preferred channel, "" if none
	ExpectedSize string // "5%..25%", "" if none
	Pos          Pos
}

// Segment is a named condition.
type Segment struct {
	ID   string
	Was  string // the id before, "" if it had no other
	Meta Meta
	When *expr.Node
}

// Lifecycle is a list of stages of which a customer is in the first whose
// condition is true, or in none.
type Lifecycle struct {
	ID     string
	Was    string // the id before, "" if it had no other
	Meta   Meta
	Stages []Stage
}

// Stage is one stage of a lifecycle; the segment's id is "<lifecycle>/<ID>".
type Stage struct {
	ID   string
	Was  string // the id before within the lifecycle, "" if it had no other
	When *expr.Node
	Pos  Pos
}

// Derived reports whether inputs of the kind are computed from another one and the
// instant, so that they change by time alone.
func (k InputKind) Derived() bool { return k == InSince || k == InUntil || k == InYears }
