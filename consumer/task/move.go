package task

import (
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/fault"
)

// checkMove makes sure that the changelog is neither moved away nor half there.
func (t *Task) checkMove(m *changelog.Move) error {
	switch {
	case m == nil:
		return nil
	case m.From == t.Instance.Config.App:
		return fault.Fatal("the state of %s was moved to %s with %d partitions by segmill state reshard: run the configuration of %s (or, if the move was not completed, return it with segmill state reshard --undo)",
			m.From, m.To, m.Partitions, m.To)
	default:
		return fault.Fatal("the state of %s is incomplete: segmill state reshard from %s has not finished; run it again", t.Instance.Config.App, m.From)
	}
}
