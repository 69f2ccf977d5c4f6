package task

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/segmill/segmill/consumer/cache"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/engine"
)

// fat is what keeps customers from growing beyond what their record of the changelog
// may be. Lists give way; the texts that rules keep do not, so an event whose texts
// would not fit is refused before it is folded. A record that Kafka refuses would cost
// the whole transaction, again and again.
type fat struct {
	logged  time.Time
	refused int // since then
}

// causeCustomer is the cause of dead letters of events whose customer is too large.
const causeCustomer = "customer_size"

// logFatEach is how often refused events of large customers are logged.
const logFatEach = time.Minute

// fits reports whether a customer still fits with an event folded. An event adds at
// most a copy of itself for each summary that keeps texts; only if that could be too
// much it is looked at exactly.
func (s *folder) fits(e *cache.Customer, h *feed.Head) (bool, error) {
	e.Grown += len(h.Rec.Value) * s.cfg.Engine.Keepers(h.Ev.Stream)
	if e.Encoded+e.Grown <= engine.MaxCustomerBytes {
		return true, nil
	}
	before, after, err := s.batch.eval.SizeWith(e.C, &h.Ev, s.feed.Clock.Now)
	if err != nil {
		return false, fmt.Errorf("%w: a customer's bytes: %w", fault.ErrLocal, err)
	}
	e.Grown = max(before, after) - e.Encoded
	return after <= engine.MaxCustomerBytes || after <= before, nil
}

// tooFat refuses an event whose customer is too large, and says which rule it is that
// takes most.
func (s *session) tooFat(e *cache.Customer, h *feed.Head) string {
	text, bytes := s.cfg.Engine.Heaviest(e.C)
	f := &s.fat
	f.refused++
	if now := s.cfg.Now(); now.Sub(f.logged) >= logFatEach {
		s.t.log.Error("events are refused because what rules keep of their customer is too large",
			"customer_hash", hashOf(s.cfg.App, e.C.ID), "bytes", e.Encoded+e.Grown, "most", engine.MaxCustomerBytes,
			"rule", s.cfg.Engine.Reader(text), "largest", text, "largest_bytes", bytes, "topic", h.From.Topic, "offset", h.From.Offset, "refused", f.refused)
		f.logged, f.refused = now, 0
	}
	return s.deadLetter(h, causeCustomer, fmt.Sprintf("what rules keep of the customer would be more than %d bytes; %s takes most, %d bytes",
		engine.MaxCustomerBytes, text, bytes))
}

// hashOf names a customer where the id must not be: in logs.
func hashOf(app, customer string) string {
	sum := sha256.Sum256([]byte(app + "\x00" + customer))
	return hex.EncodeToString(sum[:8])
}
