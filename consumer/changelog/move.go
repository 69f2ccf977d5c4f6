package changelog

import (
	"encoding/binary"
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/internal/wire"
)

// Move says from which application to which one state is moved.
type Move struct {
	From, To   string
	Partitions int32 // of the new application
}

// moveFormat is the first byte of a stored move.
const moveFormat = 1

var errMove = errors.New("move record is not readable")

// Append appends the stored form: | format (1) | from | to | partitions |.
func (m *Move) Append(b []byte) []byte {
	b = wire.AppendText(wire.AppendText(append(b, moveFormat), m.From), m.To)
	return binary.AppendUvarint(b, uint64(m.Partitions))
}

// DecodeMove reads the stored form; nil, a tombstone, is no move.
func DecodeMove(b []byte) (*Move, error) {
	if b == nil {
		return nil, nil
	}
	if len(b) == 0 || b[0] != moveFormat {
		return nil, errMove
	}
	r := wire.NewReader(b[1:])
	m := &Move{From: r.TextTo(maxName), To: r.TextTo(maxName), Partitions: int32(r.UvarintTo(maxPartitions))}
	if !r.Done() {
		return nil, errMove
	}
	return m, nil
}

// Record returns the record that writes the move to a changelog; nil takes it
// away.
func (m *Move) Record(topic string, partition int32) *kgo.Record {
	r := &kgo.Record{Topic: topic, Partition: partition, Key: []byte(moveKey)}
	if m != nil {
		r.Value = m.Append(nil)
	}
	return r
}
