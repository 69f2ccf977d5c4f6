package group

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/internal/rig"
)

// produceErrors are what Kafka answers to a record, and some that it should not.
// (DUPLICATE_SEQUENCE_NUMBER is missing: it says that the record is there.)
var produceErrors = []*kerr.Error{
	kerr.UnknownServerError, kerr.CorruptMessage, kerr.UnknownTopicOrPartition, kerr.LeaderNotAvailable,
	kerr.NotLeaderForPartition, kerr.RequestTimedOut, kerr.MessageTooLarge, kerr.NetworkException,
	kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator,
	kerr.InvalidTopicException, kerr.RecordListTooLarge, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend,
	kerr.InvalidRequiredAcks, kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.InvalidTimestamp,
	kerr.UnsupportedVersion, kerr.InvalidRequest, kerr.UnsupportedForMessageFormat, kerr.PolicyViolation,
	kerr.OutOfOrderSequenceNumber, kerr.InvalidProducerEpoch, kerr.InvalidTxnState, kerr.InvalidProducerIDMapping,
	kerr.ConcurrentTransactions, kerr.TransactionalIDAuthorizationFailed, kerr.KafkaStorageError, kerr.UnknownProducerID,
	kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch, kerr.UnsupportedCompressionType, kerr.InvalidRecord,
	kerr.ThrottlingQuotaExceeded, kerr.ProducerFenced, kerr.UnknownTopicID, kerr.TransactionAbortable,
}

// Whatever the broker answers to the records for one topic of a transaction, the
// others being written: it does not commit without them, and the outputs do not
// change.
func TestProduceErrors(t *testing.T) {
	for _, e := range produceErrors {
		t.Run(e.Message, func(t *testing.T) {
			t.Parallel()
			disturbance{broker: func(*fleet) (faults []kfake.Fault) {
				for _, topic := range []string{rig.App + ".changelog", "changes", "triggers", rig.App + ".dlq"} {
					faults = append(faults, kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: e})
				}
				return faults
			}}.changesNothing(t)
		})
	}
}
