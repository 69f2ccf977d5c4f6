package engine

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/internal/wire"
)

// Action is what an Effect says.
type Action uint8

// The actions.
const (
	Entered Action = iota + 1
	Exited
	Erased // the receipt of an erasure: Segment is empty
	Fired  // a trigger
	// Renamed says that a segment of which the customer is a member has another id than the
	// last change under From said, and that nothing else has changed.
	Renamed
)

// String returns the action as outputs have it.
func (a Action) String() string {
	return [...]string{"unknown", "entered", "exited", "erased", "fired", "renamed"}[a]
}

// Cause is why a membership changed.
type Cause uint8

// The causes.
const (
	CauseEvent Cause = iota + 1
	CauseTimer
	CauseRuleChange
	CauseBackfill
	CauseMerge
	CauseErasure
)

// String returns the cause as outputs have it.
func (c Cause) String() string {
	return [...]string{"unknown", "event", "timer", "rule_change", "backfill", "merge", "erasure"}[c]
}

// Pair is a name and a value as text.
type Pair struct{ Name, Value string }

// Effect is one thing that the outside must hear. Effects of one customer are
// in order of At; (customer, Name, Sequence) identifies one. Many are gathered in
// a batch: what only triggers have is apart.
type Effect struct {
	Action Action
	Cause  Cause
	// Customer is who it is about.
	Customer string
	// Name is the segment or the trigger, Version the hash of its condition. Both
	// are empty for Erased.
	Name    string
	Version string
	// At is the instant of the step that gave it.
	At Millis
	// Sequence counts from 1 per customer and segment (odd: entered, even:
	// exited) or trigger. It is 0 for Erased. Renamed has that of the entry, or a later odd one
	// if another segment has had that id.
	Sequence uint64
	// CauseEvent is the id of the event when Cause is CauseEvent, else "".
	CauseEvent string
	// Erasure is the Place of the Erasure when Cause is CauseErasure, else "".
	Erasure string

	// Of membership changes.
	Group string // the lifecycle, "" for a plain segment
	// From is the stage left in the same step, "" if none; of Renamed the id before, "" if
	// another segment of which the customer is a member has that id now.
	From      string
	MemberFor Millis // on an exit: how long the customer was a member
	Evidence  []Pair // the values that decided, sorted by name
	Known     bool   // on an erasure: whether anything was known of the customer

	// Of triggers; nil of anything else.
	*Message
}

// Message is what a trigger says.
type Message struct {
	Kind     string // the name of its kind
	Due      Millis // when it was due: at or before At
	AnchorID string // the event that the delay counts from, "" if none
	AnchorAt Millis // its time; Never if there is none
	// Fields are those that the kind declares (plan.Kind.Message) and that have a
	// value, in its order.
	Fields  []Field
	Context []Pair // the fields that the rule chose, sorted by name
}

// Field is a named value of a message.
type Field struct {
	Name  string
	Value expr.Value
}

// Field returns the value of a field, Absent if there is none of that name.
func (m *Message) Field(name string) expr.Value {
	for i := range m.Fields {
		if m.Fields[i].Name == name {
			return m.Fields[i].Value
		}
	}
	return expr.Value{}
}

// ID returns the effect's deterministic id (change_id, trigger_id): the same
// change computed again has the same one. It is 128 bits of SHA-256 over app,
// customer, name, sequence, instant and causing event (of a trigger: due instant
// and anchor event; of a rename the id before, too; of an erasure: its place, and of its
// receipt whether nothing was known), each with its length, in hexadecimal.
func (e *Effect) ID(app string) string { return string(e.AppendID(make([]byte, 0, 128), app)) }

// AppendID appends the effect's ID to b.
func (e *Effect) AppendID(b []byte, app string) []byte {
	n := len(b)
	b = wire.AppendText(b, app)
	b = wire.AppendText(b, e.Customer)
	b = wire.AppendText(b, e.Name)
	b = append(b, byte(e.Action))
	b = binary.AppendUvarint(b, e.Sequence)
	if e.Action == Fired {
		b = binary.AppendVarint(b, int64(e.Due))
		b = wire.AppendText(b, e.AnchorID)
	} else {
		b = binary.AppendVarint(b, int64(e.At))
		b = wire.AppendText(b, e.CauseEvent)
	}
	if e.Action == Erased && !e.Known {
		b = append(b, 1) // one that is forwarded twice says something else the second time
	}
	if e.Action == Renamed {
		b = wire.AppendText(b, e.From)
	}
	if e.Erasure != "" {
		// Every sequence begins again, so a second erasure at the same instant would
		// have the same ids.
		b = wire.AppendText(b, e.Erasure)
	}
	h := sha256.Sum256(b[n:])
	b = b[:n]
	for i := 0; i < 16; i += 4 {
		b = binary.BigEndian.AppendUint64(b, hexOf(binary.BigEndian.Uint32(h[i:])))
	}
	return b
}

// hexOf returns the eight hexadecimal digits of x as text, the first one highest.
func hexOf(x uint32) uint64 {
	n := uint64(x)
	n = (n | n<<16) & 0x0000ffff0000ffff
	n = (n | n<<8) & 0x00ff00ff00ff00ff
	n = (n | n<<4) & 0x0f0f0f0f0f0f0f0f                           // a digit in each byte
	letters := (n + 0x0606060606060606) >> 4 & 0x0101010101010101 // 1 where it is 10 and up
	return n + 0x3030303030303030 + letters*('a'-'0'-10)
}
