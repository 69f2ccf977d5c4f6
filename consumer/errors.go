package consumer

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/state"
)

// Three classes of errors: a task acquires its partition again after any error
// but these two.

// StoppedError is why a partition does not run and will not by itself. The other
// partitions go on.
type StoppedError struct {
	Partition int32
	Reason    error
}

// Error names the partition and the reason.
func (e *StoppedError) Error() string {
	return fmt.Sprintf("partition %d is stopped: %v", e.Partition, e.Reason)
}

// Unwrap returns the reason.
func (e *StoppedError) Unwrap() error { return e.Reason }

// fatalError ends the Owner: what is wrong is wrong for every partition.
type fatalError struct{ error }

func (e fatalError) Unwrap() error { return e.error }

func stopped(partition int32, format string, args ...any) error {
	return &StoppedError{partition, fmt.Errorf(format, args...)}
}

func fatal(format string, args ...any) error { return fatalError{fmt.Errorf(format, args...)} }

// isStopped and isFatal tell the class of an error.
func isStopped(err error) bool {
	var s *StoppedError
	return errors.As(err, &s)
}

func isFatal(err error) bool {
	var f fatalError
	return errors.As(err, &f) || errors.Is(err, state.ErrFailed) || errors.Is(err, state.ErrDamaged)
}

// isFenced reports whether another owner has initialised the transactional id, or
// written a claim, or must be expected to.
func isFenced(err error) bool {
	return errors.Is(err, errClaimed) || errors.Is(err, errPaused) || errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, kerr.ProducerFenced)
}

// isUnreachable reports whether an error says only that brokers can't be reached
// now, or do not agree yet. The client does not count a connection that is refused:
// it would rather have a mistyped address end the program. But the address can be
// that of a broker that is down, and whoever starts a program beside a cluster can't
// choose the moment. Nor does it count a connection that is closed before the first
// answer, which it takes for missing TLS: a broker that dies does the same.
func isUnreachable(err error) bool {
	var network *net.OpError
	var name *net.DNSError
	broken := errors.As(err, &network) || errors.As(err, &name) || errors.Is(err, io.EOF) || errors.Is(err, errDisagree)
	return !isFatal(err) && (broken || kgo.IsRetryableBrokerErr(err) || kerr.IsRetriable(err))
}

// isDeterministic reports whether producing the same record again would fail in
// the same way.
func isDeterministic(err error) bool {
	for _, e := range []error{kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
