package broker

import (
	"errors"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/fault"
)

// IsUnreachable reports whether an error says only that brokers can't be reached
// now, or do not agree yet. The client does not count a connection that is refused:
// it would rather have a mistyped address end the program. But the address can be
// that of a broker that is down, and a program that starts beside a cluster can't
// choose the moment. Nor does it count a connection that is closed before the first
// answer, which it takes for missing TLS: a broker that dies does the same.
func IsUnreachable(err error) bool {
	var network *net.OpError
	var name *net.DNSError
	broken := errors.As(err, &network) || errors.As(err, &name) || errors.Is(err, io.EOF) || errors.Is(err, ErrDisagree)
	return !fault.IsFatal(err) && (broken || kgo.IsRetryableBrokerErr(err) || kerr.IsRetriable(err))
}

// IsDeterministic reports whether producing the same record again would fail in
// the same way.
func IsDeterministic(err error) bool {
	for _, e := range []error{kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// ErrNoProgress is returned when the changelog does not come. If the brokers answer,
// a transaction holds it up that was never ended: Kafka 4.3 skips the markers of a
// transaction whose partitions have no leader for a moment, when all brokers were
// killed.
var ErrNoProgress = errors.New("no records came; if the brokers are healthy, a transaction was never ended: find it with kafka-transactions.sh find-hanging")
