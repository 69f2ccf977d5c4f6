// Package imports is the form of the topic <app>.history, through which events that Kafka
// no longer has come into an application. The one rule it keeps: an import counts in a
// partition when its mark is there, behind its records, and not before.
//
// A partition of the topic belongs to the task of the same number. Each record is one event
// as it is written on the input that it stands for, as JSON, with the origin that a forwarded
// record has (see consumer/feed): that input, partition 0, and the number of the record
// within the import and the partition.
package imports

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/engine"
)

// HeaderImport is the first header of every record: the ID of the import.
const HeaderImport = "segmill.import"

// markKey is the key of marks. Customers can have this id: a mark has no origin as well.
const markKey = "import"

// Range is what an import has of one input, in one partition.
type Range struct {
	Records int64 `json:"records"`
	// First and Last are the earliest and the latest event time.
	First engine.Millis `json:"first"`
	Last  engine.Millis `json:"last"`
}

// Mark says that an import is complete in a partition.
type Mark struct {
	Import  string        `json:"import"` // its ID: 16 hexadecimal digits
	At      engine.Millis `json:"at"`     // the wall clock when it was completed
	Records int64         `json:"records"`
	// Topics has the inputs of which there are records.
	Topics map[string]Range `json:"topics"`
	// Earlier are the IDs of the imports that were complete before, oldest first: to know
	// whether something has been imported, nobody need read the partition.
	Earlier []string `json:"earlier,omitempty"`
}

// Has reports whether an import is complete, by the last mark of a partition; nil if there is
// none.
func (m *Mark) Has(id string) bool {
	return m != nil && (m.Import == id || slices.Contains(m.Earlier, id))
}

// Before returns what the mark that comes next has as Earlier.
func (m *Mark) Before() []string {
	if m == nil {
		return nil
	}
	return append(slices.Clone(m.Earlier), m.Import)
}

// Record returns the record of a mark.
func (m *Mark) Record(topic string, partition int32) *kgo.Record {
	value, err := json.Marshal(m)
	if err != nil {
		panic(err) // numbers and texts
	}
	return &kgo.Record{
		Topic: topic, Partition: partition, Key: []byte(markKey), Value: value,
		Headers: []kgo.RecordHeader{{Key: HeaderImport, Value: []byte(m.Import)}}, Timestamp: m.At.Time(),
	}
}

// MarkOf reads a mark. It returns nil and no error if the record is an event.
func MarkOf(r *kgo.Record) (*Mark, error) {
	if len(r.Headers) != 1 || r.Headers[0].Key != HeaderImport || string(r.Key) != markKey {
		return nil, nil
	}
	m := new(Mark)
	if err := json.Unmarshal(r.Value, m); err != nil || m.Import != string(r.Headers[0].Value) || m.Records < 0 {
		return nil, fmt.Errorf("%s/%d@%d is not a readable mark of an import", r.Topic, r.Partition, r.Offset)
	}
	return m, nil
}

// IDOf returns the ID of the import of a record, "" if it has none.
func IDOf(r *kgo.Record) string {
	if len(r.Headers) == 0 || r.Headers[0].Key != HeaderImport {
		return ""
	}
	return string(r.Headers[0].Value)
}

// ID returns the ID of an import from a hash of what it imports.
func ID(hash uint64) string { return fmt.Sprintf("%016x", hash) }
