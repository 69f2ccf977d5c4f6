package state

import (
	"encoding/binary"
	"errors"

	"github.com/segmill/segmill/internal/wire"
)

// Meta says what a task's copy is a copy of.
type Meta struct {
	// Position is the position record that the data corresponds to. What is in it
	// is the caller's business.
	Position []byte
	// Versions is a second record of the caller's that changes rarely. In Apply,
	// nil leaves the stored one as it is.
	Versions []byte
	// TopicID is the id of the changelog topic: a topic that was deleted and
	// created again has another one.
	TopicID [16]byte
	// Next is the first changelog offset that is not in the copy.
	Next int64
	// AppliedAt is the wall time of the last apply. A copy that is older than the
	// changelog keeps tombstones could bring deleted customers back.
	AppliedAt Millis
}

// The stored form of Meta:
//
//	| format (1) | topic id (16) | next, varint | applied at, varint | position |
const metaFormat = 1

var errMeta = errors.New("the position cannot be read")

func (m *Meta) append(b []byte) []byte {
	b = append(b, metaFormat)
	b = append(b, m.TopicID[:]...)
	b = binary.AppendVarint(b, m.Next)
	b = binary.AppendVarint(b, int64(m.AppliedAt))
	return append(b, m.Position...)
}

func (m *Meta) decode(b []byte) error {
	r := wire.NewReader(b)
	format := r.Byte()
	copy(m.TopicID[:], r.Take(len(m.TopicID)))
	m.Next, m.AppliedAt = r.Varint(), Millis(r.Varint())
	if r.Bad() || format != metaFormat {
		return errMeta
	}
	m.Position = append([]byte(nil), r.Left()...)
	return nil
}
