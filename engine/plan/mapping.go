package plan

import (
	"fmt"

	"github.com/segmill/segmill/engine/expr"
)

// Mapping says how the records of a topic become events of one stream. It is part of
// the rule set: the same record must mean the same to every instance.
type Mapping struct {
	// Name is its name in rule files; the parts of a preset have that of the whole, a
	// slash and their own.
	Name   string
	Stream Stream
	// Fields are the fields of the events and what each is. None: the records are events
	// of the stream already, in one of the formats that need no mapping.
	Fields []MappedField
	// When says which records are events of the stream, nil: all. Each is the list whose
	// elements are events of their own, nil: the record is one.
	When, Each *Expression
	// Erase: a record without a value erases the customer whom Key names, nil: whom the
	// key of the record names, as text.
	Erase bool
	Key   *Expression
	// ClearNulls: null clears an attribute. Otherwise it is as if it were not there.
	ClearNulls bool
	// Zone is the IANA time zone of times that name none, "" if they are refused.
	Zone string
	// Strict makes a field of the schema that cannot be read a dead letter.
	Strict bool
	// NotIDs are texts that are no ids, beside those that never are.
	NotIDs []string
}

// MappedField is a field of the event with what it is computed from.
type MappedField struct {
	Name string
	Is   *Expression
}

// Expression is an expression over the parts of a record, as written and as read. It reads
// the fields at the places of [DocumentNames].
type Expression struct {
	Text string
	Node *expr.Node
}

// DocumentNames are what expressions over records read: the slots of [expr.Env].Fields.
var DocumentNames = []string{"msg", "it", "key", "headers", "record"}

// The slots of what expressions over records read.
const (
	DocMsg     = iota // the value
	DocIt             // the element of Each
	DocKey            // the key, a text
	DocHeaders        // an object
	DocRecord         // an object: time, topic, id
	NumDocs
)

// DocSlot returns the slot of a name, -1 if there is none.
func DocSlot(name string) int {
	for i, n := range DocumentNames {
		if n == name {
			return i
		}
	}
	return -1
}

// Version is the content hash of what decides how a record is read. Layout does not enter.
func (m *Mapping) Version(streams *Streams) string {
	v := newVersions()
	one := func(name string, e *Expression) {
		if e != nil {
			v.add(name + ": " + e.Node.Text(nil))
		}
	}
	v.add(streams.Name(m.Stream))
	one("when", m.When)
	one("each", m.Each)
	one("key", m.Key)
	for i := range m.Fields {
		one("map "+m.Fields[i].Name, m.Fields[i].Is)
	}
	v.add(fmt.Sprintf("%t %t %t %q %q", m.Erase, m.ClearNulls, m.Strict, m.Zone, m.NotIDs))
	return v.version()
}
