package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/rulelog"
	"github.com/segmill/segmill/internal/app"
)

// ErrTime is wrapped by the error of a set that was not ready in time.
var ErrTime = errors.New("not ready in time")

// pollEvery is how often the partitions are looked at.
const pollEvery = 500 * time.Millisecond

// Wait waits until all partitions are under a set with all their customers, and calls show
// with how far they are. It is an ErrTime if that takes longer than d, and an error if other
// rules replace the set meanwhile. Whatever it returns, the set stays in the log.
func (s *Session) Wait(ctx context.Context, e *rulelog.Entry, d time.Duration, show func(text string)) error {
	rules, err := app.CompileSet(e)
	if err != nil {
		return err
	}
	deadline, is := time.After(d), judged(e, rules)
	for {
		parts, err := s.parts.Partitions(ctx)
		if err == nil {
			err = s.log.Refresh(ctx, s.View)
		}
		text := fmt.Sprintf("%d of %d partitions are under set %d", under(parts, is), len(parts), e.Number)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !broker.IsUnreachable(err):
			return err
		case err != nil:
			text = "brokers do not answer: " + err.Error()
		case under(parts, is) == len(parts):
			return nil
		case s.View.Number() > e.Number && s.View.Newest().Versions != e.Versions:
			return fmt.Errorf("%s has replaced set %d, when %s", s.View.Newest(), e.Number, text)
		}
		show(text)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			return fmt.Errorf("%w: after %v %s. It stays in force and goes on while instances run: segmill rules shows how far", ErrTime, d, text)
		case <-time.After(pollEvery):
		}
	}
}
