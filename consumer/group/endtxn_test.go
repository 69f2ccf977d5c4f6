package group

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/internal/rig"
)

// endTxnErrors are what Kafka answers to the end of a transaction, and some that
// it should not.
var endTxnErrors = []*kerr.Error{
	kerr.UnknownServerError, kerr.RequestTimedOut, kerr.NetworkException,
	kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator,
	kerr.ConcurrentTransactions, kerr.TransactionCoordinatorFenced,
	kerr.InvalidTxnState, kerr.InvalidProducerIDMapping, kerr.UnknownProducerID,
	kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.TransactionAbortable,
	kerr.TransactionalIDAuthorizationFailed, kerr.InvalidRequest, kerr.UnsupportedVersion,
}

// Whatever the broker answers to the end of a transaction, whether it has done it
// or not: the changelog says what happened, and the outputs do not change.
func TestEndTxnErrors(t *testing.T) {
	for _, e := range endTxnErrors {
		t.Run("refused, "+e.Message, func(t *testing.T) {
			t.Parallel()
			disturbance{broker: func(*fleet) []kfake.Fault {
				return []kfake.Fault{{Keys: []kmsg.Key{kmsg.EndTxn}, Err: e, Count: 2}}
			}}.changesNothing(t)
		})
		t.Run("applied, "+e.Message, func(t *testing.T) {
			t.Parallel()
			l := &liar{code: e.Code, error: 2}
			disturbance{config: func(c *config.Config) { c.Kafka = append(c.Kafka, kgo.Dialer(l.dial)) }, happened: l.lied}.changesNothing(t)
		})
	}
	t.Run("no answer", func(t *testing.T) {
		t.Parallel()
		l := &liar{cut: 3}
		disturbance{config: func(c *config.Config) { c.Kafka = append(c.Kafka, kgo.Dialer(l.dial)) }, happened: l.lied}.changesNothing(t)
	})
}

// An end of a transaction that is late: it is waited for; or the broker has
// aborted the transaction before; or the engine has given it up and gone on, and
// it reaches the broker while a later transaction is open.
func TestEndTxnLate(t *testing.T) {
	for _, c := range []struct {
		name                  string
		held, broker, patient time.Duration
	}{
		{"waited for", 500 * time.Millisecond, 10 * time.Second, 10 * time.Second},
		{"after the broker's timeout", 600 * time.Millisecond, 300 * time.Millisecond, 10 * time.Second},
		{"after it was given up", 600 * time.Millisecond, 10 * time.Second, 250 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := &wire{holdEnd: c.held, holdEnds: []int64{2, 5, 9}}
			disturbance{
				config: func(cfg *config.Config) {
					cfg.Kafka = append(cfg.Kafka, kgo.Dialer(w.dial))
					cfg.Fixed.BrokerTimeout, cfg.Fixed.CommitTimeout = c.broker, c.patient
				},
				happened: func() bool {
					return rig.Within(10*time.Second, func() bool { return w.held.Load() >= 3 }) && w.held.Load() == 3
				},
			}.changesNothing(t)
		})
	}
}
