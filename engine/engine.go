package engine

import (
	"time"

	"github.com/segmill/segmill/engine/plan"
)

// Options are the settings of an Engine that decide results besides the rules.
type Options struct {
	// Zones resolves an IANA time zone name, false if there is none of that
	// name. It must give the same answer whenever it is asked.
	Zones func(name string) (*time.Location, bool)
	// DedupHorizon is how far behind a customer's instant event ids are
	// remembered. 0 means 24 h.
	DedupHorizon Millis
}

// Engine is a compiled rule set. It is immutable and shared by all tasks.
type Engine struct {
	p *plan.Plan
}

// Output collects what calls on an Engine give, and holds their scratch space.
// It belongs to one goroutine; reuse it after Reset.
type Output struct {
	Effects []Effect
	Stats   Stats
}

// Stats counts what happened since Reset.
type Stats struct {
	Duplicates int // events that were already folded
	EarlyWakes int // timer steps that changed nothing
	Evaluated  int // rules evaluated
}

// Reset empties o for reuse.
func (o *Output) Reset() { o.Effects, o.Stats = o.Effects[:0], Stats{} }

// New returns an engine for a compiled plan.
func New(p *plan.Plan, triggers []Trigger, opt Options) (*Engine, error) { panic("stub") }

// Trigger is what one trigger of the rule set means; package triggers has one
// implementation for each kind.
type Trigger interface{ stub() }

// Layout returns which fields of a stream events must carry, in which slots.
func (e *Engine) Layout(s plan.Stream) *plan.Layout { panic("stub") }

// Versions returns the content hash of every segment, stage and trigger by id
// (triggers as "trigger:<id>"), and of the settings that decide results.
func (e *Engine) Versions() map[string]string { panic("stub") }

// Customer is everything known about one customer.
type Customer struct{ ID string }

// NewCustomer returns a customer of whom nothing is known yet.
func (e *Engine) NewCustomer(id string) *Customer { panic("stub") }

// Decode reads a customer from its bytes.
func (e *Engine) Decode(id string, b []byte) (*Customer, error) { panic("stub") }

// Append appends the customer's bytes to b and returns it.
func (e *Engine) Append(b []byte, c *Customer) []byte { panic("stub") }

// WakeOf reads the wake-up instant from the head of a customer's bytes.
func WakeOf(b []byte) (Millis, error) { panic("stub") }

// Wake returns the earliest instant at which something about the customer can
// change with no further event, Never if there is none.
func (c *Customer) Wake() Millis { panic("stub") }

// Known reports whether anything is known of the customer: false for a new one
// and after an erasure. A customer that is not known must not be stored.
func (c *Customer) Known() bool { panic("stub") }

// Apply folds one event (semantics: one fold). clock is the task clock. It
// returns false if the event was already folded: then nothing changed.
func (e *Engine) Apply(c *Customer, ev *Event, clock Millis, out *Output) bool { panic("stub") }

// Advance fires everything that is due at or before to, in order, each as of its
// own instant.
func (e *Engine) Advance(c *Customer, to Millis, out *Output) { panic("stub") }

// Erase exits every membership, deletes everything known, and appends the
// receipt (an Erased effect). The effects' instant is the later of the
// customer's and clock.
func (e *Engine) Erase(c *Customer, clock Millis, out *Output) { panic("stub") }

// Merge folds src's facts into dst and tells the differences with CauseMerge.
func (e *Engine) Merge(dst, src *Customer, clock Millis, out *Output) { panic("stub") }

// FoldFacts folds one event into the facts and tells nothing.
func (e *Engine) FoldFacts(c *Customer, ev *Event) bool { panic("stub") }

// Rebuild gives old the facts of fresh, keeps what old was told (instant,
// memberships, sequences, trigger memory), and tells the differences with
// CauseRuleChange. known are the ids (keys of Versions) of the rule set that old
// was told under, so that members of removed segments can be exited by name. Triggers
// that are overdue by then do not fire.
func (e *Engine) Rebuild(old, fresh *Customer, known []string, clock Millis, out *Output) {
	panic("stub")
}
