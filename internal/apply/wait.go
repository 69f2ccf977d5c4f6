package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/ruled"
	"github.com/segmill/segmill/consumer/rulelog"
	"github.com/segmill/segmill/internal/app"
)

// ErrTime is wrapped by the error of a set that was not ready in time.
var ErrTime = errors.New("not ready in time")

// pollEvery is how often the partitions are looked at.
const pollEvery = 500 * time.Millisecond

// checkEvery is how often it is looked whether they still can go over to the set. A refusal is
// believed when it is seen twice: a partition may have made its facts before the records were
// deleted.
const checkEvery = 10 * time.Second

// Wait waits until all partitions are under a set with all their customers, and calls show
// with how far they are. It is an ErrTime if that takes longer than d, a Gone if they refuse,
// and another error if other rules replace the set meanwhile. Whatever it returns, the set
// stays in the log.
func (s *Session) Wait(ctx context.Context, e *rulelog.Entry, d time.Duration, show func(text string)) error {
	rules, err := app.CompileSet(e)
	if err != nil {
		return err
	}
	deadline, is := time.After(d), judged(e, rules)
	check, refused := time.NewTicker(s.checkEvery), false
	defer check.Stop()
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
		case <-check.C:
			var gone *Gone
			if errors.As(s.checkWaiting(ctx, rules, parts, is), &gone) && refused {
				return fmt.Errorf("%s, and the others stay as they are: %w", text, gone)
			}
			refused = gone != nil
		case <-deadline:
			return fmt.Errorf("%w: after %v %s. It stays in force and goes on while instances run: segmill rules shows how far", ErrTime, d, text)
		case <-time.After(pollEvery):
		}
	}
}

// checkWaiting returns a Gone if partitions that are under another set refuse to go over.
func (s *Session) checkWaiting(ctx context.Context, rules *app.Rules, parts []ruled.Partition, is func(*ruled.Partition) bool) error {
	if newest := s.View.Newest(); newest != nil && newest.AcceptLoss {
		return nil
	}
	return s.checkHistory(ctx, rules, parts, func(p *ruled.Partition) bool { return !is(p) && !p.Changing })
}
