package plan

import (
	"iter"

	"github.com/segmill/segmill/engine/expr"
)

// Stream is the number of a stream of events: its row in the table of streams. Those
// of streams of one's own depend on the rule set, so that nothing that is kept holds
// them.
type Stream uint8

// The built-in streams, in the order of the table.
const (
	Web Stream = iota
	Email
	Purchase
	Profile
	Consent
	NumBuiltin
)

// StreamInfo is a row of the table of streams: what the rule compiler, the schemas
// and the configuration have to know of one.
type StreamInfo struct {
	// Name is the stream's name in rules, in events and in the configuration.
	Name string
	// Schema is the name of its schema; a declared stream has the CommonFields of it.
	Schema string
	// Own: a rule file declares it. Key is then the hash of its name, by which its
	// events are remembered.
	Own bool
	Key uint32
	// Attributes: its events are not counted but set attributes of the customer, and
	// a record without a value erases the customer.
	Attributes bool
	// Dedup is how far behind a customer's instant the ids of its events are
	// remembered unless the rules say otherwise, in ms: longer where a producer may
	// send an event again late, and where taking it twice costs more.
	Dedup expr.Millis
	// Frequent: the ids of its events do not use the room that is reserved for those
	// of other streams.
	Frequent bool
	// Settled says which of its events a rule means that does not say, nil: all.
	Settled *Settled
	// Active is the condition under which an event shows that the customer is active,
	// unless the rule files say otherwise. Nil: every event does, or none if Idle.
	Active *expr.Node
	Idle   bool
	// Unattended is what a rule file is warned of that counts every event as
	// activity; nil if there is nothing wrong with that.
	Unattended *Flaw
	// Machine says which of its events a machine can make in the place of the customer;
	// nil if none.
	Machine *Machine
}

// Machine tells events that a machine can make, those with a value in a field, and the
// field that is true where one did.
type Machine struct {
	Field, Value, Flag string
	// Message is what a condition is warned of that does not look at Flag.
	Message string
}

// Settled tells events that hold from those that take something back, by a field.
type Settled struct {
	Field string
	Holds string   // its value in events that a rule means
	Back  []string // its values in those that take money back, sorted
}

const day expr.Millis = 24 * 3_600_000

var builtin = [NumBuiltin]StreamInfo{
	Web: {Name: "web", Schema: "web_event", Dedup: day, Frequent: true},
	Email: {Name: "email", Schema: "email_event", Dedup: 3 * day, Active: readOrClicked(), Unattended: &Flaw{
		Message: "this also counts messages that were merely sent", Remedy: `for example email.action == "clicked"`,
	}, Machine: &Machine{
		Field: "action", Value: "opened", Flag: "machine_open", Message: "this also counts mails that a mail program or a proxy opened",
	}},
	Purchase: {Name: "purchase", Schema: "purchase_event", Dedup: 30 * day, Settled: &Settled{
		Field: "kind", Holds: "completed", Back: []string{"cancelled", "refunded"},
	}},
	Profile: {Name: "profile", Schema: "profile_update", Dedup: 7 * day, Attributes: true, Idle: true},
	Consent: {Name: "consent", Schema: "consent_event", Dedup: 30 * day, Idle: true},
}

// readOrClicked holds for what a person did with a message. The operands are in the
// order of their texts, as the rule compiler has them.
func readOrClicked() *expr.Node {
	field := func(path string, k expr.Kind) *expr.Node {
		return &expr.Node{Op: expr.OpField, Type: k, Name: "email", Path: path}
	}
	action := func(is string) *expr.Node {
		val := &expr.Node{Op: expr.OpConst, Type: expr.String, Const: expr.StringValue(is)}
		return &expr.Node{Op: expr.OpEq, Type: expr.Bool, Args: []*expr.Node{field("action", expr.String), val}}
	}
	byHand := &expr.Node{Op: expr.OpNot, Type: expr.Bool, Args: []*expr.Node{field("machine_open", expr.Bool)}}
	read := &expr.Node{Op: expr.OpAnd, Type: expr.Bool, Args: []*expr.Node{byHand, action("opened")}}
	return &expr.Node{Op: expr.OpOr, Type: expr.Bool, Args: []*expr.Node{read, action("clicked")}}
}

// Builtin returns the row of a built-in stream, an empty one for another number.
func (s Stream) Builtin() *StreamInfo {
	if s < NumBuiltin {
		return &builtin[s]
	}
	return &StreamInfo{Name: "unknown"}
}

// String returns the name of a built-in stream in rules and events; see
// [Streams.Name] for that of any stream.
func (s Stream) String() string { return s.Builtin().Name }

// Streams is the table of streams of a rule set: the built-in ones, then those of its
// own in the order of their names. Nil is the table of the built-in ones. It is
// immutable.
type Streams struct{ own []StreamInfo }

// Len returns how many streams there are.
func (t *Streams) Len() int {
	if t == nil {
		return int(NumBuiltin)
	}
	return int(NumBuiltin) + len(t.own)
}

// All yields every stream, in the order of the table.
func (t *Streams) All() iter.Seq2[Stream, *StreamInfo] {
	return func(yield func(Stream, *StreamInfo) bool) {
		for s := range Stream(t.Len()) {
			if !yield(s, t.Info(s)) {
				return
			}
		}
	}
}

// Info returns the stream's row, an empty one for a number without.
func (t *Streams) Info(s Stream) *StreamInfo {
	if s >= NumBuiltin && int(s) < t.Len() {
		return &t.own[s-NumBuiltin]
	}
	return s.Builtin()
}

// Name returns the name of the stream in rules and events.
func (t *Streams) Name(s Stream) string { return t.Info(s).Name }

// ByName returns the stream of that name.
func (t *Streams) ByName(name string) (Stream, bool) {
	for s, info := range t.All() {
		if info.Name == name {
			return s, true
		}
	}
	return 0, false
}

// Names returns the names of all streams.
func (t *Streams) Names() (l []string) {
	for _, info := range t.All() {
		l = append(l, info.Name)
	}
	return l
}

// Counted returns the names of the streams whose events rules count.
func (t *Streams) Counted() (l []string) {
	for _, info := range t.All() {
		if !info.Attributes {
			l = append(l, info.Name)
		}
	}
	return l
}
