package consumer

import (
	"encoding/binary"
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"
)

// moveKey is the key of the record by which a resharding closes a changelog. In
// the old one it stays for good; in the new one it stands until all state is
// there.
const moveKey = "move"

// move says from which application to which one state is moved.
type move struct {
	from, to   string
	partitions int32 // of the new application
}

// moveFormat is the first byte of a stored move.
const moveFormat = 1

var errMove = errors.New("move record is not readable")

// append appends the stored form: | format (1) | from | to | partitions |.
func (m *move) append(b []byte) []byte {
	b = appendText(appendText(append(b, moveFormat), m.from), m.to)
	return binary.AppendUvarint(b, uint64(m.partitions))
}

// decodeMove reads the stored form; nil, a tombstone, is no move.
func decodeMove(b []byte) (*move, error) {
	if b == nil {
		return nil, nil
	}
	if len(b) == 0 || b[0] != moveFormat {
		return nil, errMove
	}
	d := decoder{b: b[1:]}
	m := &move{from: d.text(maxName), to: d.text(maxName), partitions: int32(d.uvarint(1 << 30))}
	if d.bad || len(d.b) != 0 {
		return nil, errMove
	}
	return m, nil
}

// record returns the record that writes the move to a changelog; nil takes it
// away.
func (m *move) record(changelog string, partition int32) *kgo.Record {
	r := &kgo.Record{Topic: changelog, Partition: partition, Key: []byte(moveKey)}
	if m != nil {
		r.Value = m.append(nil)
	}
	return r
}

// checkMove makes sure that the changelog is neither moved away nor half there.
func (s *session) checkMove() error {
	m := s.move
	switch {
	case m == nil || s.mover:
		return nil
	case m.from == s.cfg.App:
		return fatal("the state of %s was moved to %s with %d partitions by segmill state reshard: run the configuration of %s (or, if the move was not completed, take it back with segmill state reshard --undo)",
			m.from, m.to, m.partitions, m.to)
	default:
		return fatal("the state of %s is not complete: segmill state reshard from %s has not ended; run it again", s.cfg.App, m.from)
	}
}
