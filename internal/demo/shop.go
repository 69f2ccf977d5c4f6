package demo

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas"
)

// shop publishes a history: from the past in quick motion, and in real time once
// it has reached the present.
type shop struct {
	opt     Options
	topics  [plan.NumBuiltin]string
	encoder *schemas.EventEncoder
	client  *kgo.Client

	published atomic.Int64
	at        atomic.Int64 // the shop's time, ms
	present   atomic.Bool
}

// progress returns how many events were published, the shop's time, and whether
// that is the present.
func (s *shop) progress() (published int64, at expr.Millis, present bool) {
	return s.published.Load(), expr.Millis(s.at.Load()), s.present.Load()
}

// behind is how far the shop's present is behind the wall clock: the events of
// several topics may overtake each other on their way by as much.
const behind = 500 * time.Millisecond

// tickEvery is how often due events are published.
const tickEvery = 20 * time.Millisecond

func (s *shop) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	start := time.Now()
	from := time.UnixMilli(s.at.Load()).UTC()
	speed := float64(s.opt.Past) / float64(s.opt.CatchUp)
	h := newHistory(s.opt.Seed, s.opt.Customers, from)
	next := h.next()
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		now := time.Now()
		at := from.Add(time.Duration(float64(now.Sub(start)) * speed))
		if live := now.Add(-behind); at.After(live) {
			at = live
			s.present.Store(true)
		}
		for !next.at.After(at) {
			if err := s.publish(ctx, next, cancel); err != nil {
				return err
			}
			next = h.next()
		}
		s.at.Store(at.UnixMilli())
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// publish sends an event. The client waits while its buffer is full, so that a
// slow engine does not fill the memory.
func (s *shop) publish(ctx context.Context, e *happening, fail context.CancelCauseFunc) error {
	value, err := s.encoder.Append(nil, e.stream, e.fields)
	if err != nil {
		return fmt.Errorf("demo shop: %w", err)
	}
	s.client.Produce(ctx, &kgo.Record{Topic: s.topics[e.stream], Key: []byte(e.customer), Value: value, Timestamp: e.at},
		func(_ *kgo.Record, err error) {
			if err != nil {
				fail(fmt.Errorf("demo shop: %w", err))
			}
		})
	s.published.Add(1)
	return ctx.Err()
}

func (s *shop) close() { s.client.Close() }
