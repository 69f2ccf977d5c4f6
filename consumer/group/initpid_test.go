package group

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/rig"
)

// What a broker answers while a former transaction is decided, or while the
// coordinator moves, is asked again; anything else makes the task acquire again.
func TestInitProducerIDErrors(t *testing.T) {
	for _, e := range []*kerr.Error{
		kerr.ConcurrentTransactions, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator,
		kerr.RequestTimedOut, kerr.UnknownServerError, kerr.NetworkException,
		kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.InvalidTxnState, kerr.InvalidProducerIDMapping,
	} {
		for _, key := range []kmsg.Key{kmsg.InitProducerID, kmsg.FindCoordinator} {
			if key == kmsg.FindCoordinator && (!e.Retriable || e == kerr.ConcurrentTransactions) {
				continue
			}
			t.Run(key.Name()+" "+e.Message, func(t *testing.T) {
				t.Parallel()
				n := 2 // one attempt each, with a wait in between
				switch e {
				case kerr.ConcurrentTransactions, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator:
					n = 5 // within one attempt
				}
				disturbance{broker: func(*fleet) []kfake.Fault {
					return []kfake.Fault{{Keys: []kmsg.Key{key}, TxnID: rig.App + "-1", Err: e, Count: n}}
				}}.changesNothing(t)
			})
		}
	}
}

// A partition whose transactional id is denied does not run and says why; it asks
// ever more seldom, the others run, and it runs once the right is there.
func TestInitProducerIDDenied(t *testing.T) {
	t.Parallel()
	g := newFleet(t, 2)
	denied := g.Broker.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.InitProducerID}, TxnID: rig.App + "-0", Err: kerr.TransactionalIDAuthorizationFailed, Count: -1,
	})
	o, end := g.byHand(nil)
	defer end()
	o.startByHand(0)
	o.startByHand(1)
	g.taskIs(o, 0, task.Waiting, "transactional id shop-0: TRANSACTIONAL_ID_AUTHORIZATION_FAILED")
	g.Produce(g.Event(plan.Purchase, g.CustomersOf(1, 1)[0], g.Now(), nil), g.Event(plan.Purchase, g.CustomersOf(0, 1)[0], g.Now(), nil))
	g.Eventually("the other partition runs", func() bool { return len(g.Members()) == 1 })
	// Waits of 100, 200, 400 and 800 ms, whatever else takes long.
	g.Eventually("some attempts", func() bool { return denied.Hits() >= 4 })
	g.noSpin(denied, 4)
	denied.Remove()
	g.Eventually("it runs", func() bool { return len(g.Members()) == 2 })
	g.taskIs(o, 0, task.Running, "")
}
