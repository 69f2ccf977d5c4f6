// Package fault classifies errors by what has to happen next. After any error that
// has no class, a task drops its batch and acquires its partition again.
package fault

import (
	"errors"
	"fmt"

	"github.com/segmill/segmill/state"
)

// StoppedError is why a partition does not run and will not by itself. The other
// partitions continue.
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

// Stopped returns an error that stops one partition.
func Stopped(partition int32, format string, args ...any) error {
	return &StoppedError{partition, fmt.Errorf(format, args...)}
}

// IsStopped reports whether an error stops its partition.
func IsStopped(err error) bool {
	var s *StoppedError
	return errors.As(err, &s)
}

// fatalError ends the instance: what is wrong is wrong for every partition.
type fatalError struct{ error }

func (e fatalError) Unwrap() error { return e.error }

// Fatal returns an error that ends the instance.
func Fatal(format string, args ...any) error { return fatalError{fmt.Errorf(format, args...)} }

// IsFatal reports whether an error ends the instance; a local store that has failed
// does.
func IsFatal(err error) bool {
	var f fatalError
	return errors.As(err, &f) || errors.Is(err, state.ErrFailed) || errors.Is(err, state.ErrDamaged)
}

// ErrLocal is wrapped by errors that blame the local copy of a partition: it is
// dropped, and the partition restored from its changelog.
var ErrLocal = errors.New("local state")
