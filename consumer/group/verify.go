package group

import (
	"context"
	"errors"

	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/consumer/task"
)

// verifier scans copies in the background after they were continued from the
// disk, one at a time: acquiring only carries the digest on.
type verifier struct {
	o    *Owner
	todo chan *task.Task
}

func newVerifier(o *Owner) *verifier {
	return &verifier{o: o, todo: make(chan *task.Task, max(1, int(o.Partitions)))}
}

// later asks for a task's copy to be verified. If too many wait, it is not.
func (v *verifier) later(t *task.Task) {
	select {
	case v.todo <- t:
	default:
	}
}

// run verifies until ctx ends.
func (v *verifier) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case t := <-v.todo:
			_, err := replica.Verify(ctx, v.o.Config.Store, t.Partition)
			if errors.Is(err, fault.ErrLocal) {
				t.AcquireAgain(err)
			}
		}
	}
}
