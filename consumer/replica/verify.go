package replica

import (
	"context"
	"fmt"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/state"
)

// Verification is what was found in the local copy of a task.
type Verification struct {
	Seq       uint64 // of the position
	Customers int
	Digest    state.Digest
}

// Verify reads the local copy of a partition and compares its digest with that
// of its position. It can run while the task runs.
func Verify(ctx context.Context, store *state.Store, partition int32) (Verification, error) {
	got, err := store.Task(partition).Verify(ctx)
	if err != nil {
		return Verification{}, err
	}
	pos, err := changelog.DecodePosition(got.Meta.Position)
	if err != nil {
		return Verification{}, fmt.Errorf("%w: %w", fault.ErrLocal, err)
	}
	v := Verification{Seq: pos.Seq, Customers: got.Customers, Digest: got.Digest}
	switch {
	case got.Digest != pos.Digest:
		err = fmt.Errorf("%w: digest %v, position %d says %v", fault.ErrLocal, got.Digest, pos.Seq, pos.Digest)
	case got.Misplaced > 0:
		err = fmt.Errorf("%w: %d entries of the due index are wrong", fault.ErrLocal, got.Misplaced)
	}
	return v, err
}
