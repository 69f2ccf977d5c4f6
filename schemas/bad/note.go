package bad

// Note is something about a record that was read all the same: what is wrong with it
// costs a field or an item, and not the event.
type Note struct {
	Kind NoteKind
	// Field is the field of the schema that it is about, such as "items.price", and of a
	// key in a free-form map the map, such as "traits": the set is small and fixed, so
	// that it can be a label of a metric. Of a derived revenue it is what that was
	// derived from, and of a currency its code, or "other".
	Field string
	Cause Cause // of a refused field or an item that was left out
	// Name is the field with the key of a map, such as "traits.plan".
	Name string
	// Detail says what it is. It may quote what is there, as errors do.
	Detail string
}

// NoteKind says what a note is about.
type NoteKind uint8

// The kinds of notes.
const (
	Refused   NoteKind = iota + 1 // a field was refused, and is absent
	Unknown                       // a word is none of its closed list, and was read as unknown
	LeftOut                       // an item was left out of a list
	Derived                       // the revenue of an order was derived from other fields
	Doubled                       // an object has a key twice: the last one counts
	Skipped                       // a message is of a type that is no event
	Undecided                     // whether a record is an event of a mapping is unknown
	NoRate                        // amounts are absent: there is no rate of their currency
	Mixed                         // the currency is not that of the input's first record
	NumNoteKinds
)

// Note returns what a refused field leaves behind.
func (e *Input) Note(field string) Note {
	return Note{Kind: Refused, Field: field, Cause: e.Cause, Name: e.Field, Detail: e.Detail}
}
