package consumer

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The keys of a changelog, for tools that read one. Every transaction writes
// customers and then, always last, one position.
const (
	CustomerPrefix = customerPrefix // and the customer's id: state, null if deleted
	PositionKey    = positionKey    // see DecodePosition
	VersionsKey    = versionsKey    // see Versions
)

// DecodePosition reads the value of a record with the key PositionKey. It is an
// error if another version of the engine wrote it.
func DecodePosition(b []byte) (*Position, error) { return decodePosition(b) }

// Counting returns the records of a changelog partition that count, of all that it
// has, in the order of their offsets. In transactions all do; for at-least-once
// delivery see claim.go.
func Counting(records []*kgo.Record) ([]*kgo.Record, error) {
	r := replay{foreign: map[string]struct{}{}}
	var count, batch []*kgo.Record
	for _, rec := range records {
		by, err := r.judge(rec)
		if err != nil {
			return nil, fmt.Errorf("changelog offset %d: %w", rec.Offset, err)
		}
		if by == nil {
			continue
		}
		if batch = append(batch, rec); string(rec.Key) == positionKey {
			count, batch = append(count, batch...), batch[:0]
		}
	}
	return count, nil
}
