package task

import (
	"time"

	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/state"
)

// The copy in the store is written when the changelog is ahead of it by the task's
// share of Config.StoreEach or for storeInterval, whatever comes first, at the end of a
// session, and when there is no memory for what it lacks. After a crash that much of
// the changelog is replayed, in four seconds or so. A task that keeps up writes each
// storeLive records: its events wait meanwhile, some 20 ms.
const (
	storeLive     = 4_000
	storeInterval = 10 * time.Second
)

// storeDue reports whether the copy is to be written.
func (s *session) storeDue() bool {
	each := int(s.t.Instance.shareOf(int64(s.cfg.Fixed.StoreEach)))
	if s.feed.Lag() <= backlog {
		each = min(each, storeLive)
	}
	return s.unstored > each || s.unstored > 0 && s.cfg.Now().Sub(s.storedAt) >= storeInterval
}

// store writes what the copy lacks in one batch, so that the copy is always what the
// state was at some position. Nothing may have changed since that was committed.
func (s *session) store() error {
	s.storedAt = s.cfg.Now()
	if s.unstored == 0 {
		return nil
	}
	meta := state.Meta{
		Position: s.pos.Append(nil), Versions: s.unstoredVersions,
		// asOf and not now: somebody else may have taken over since.
		TopicID: replica.TopicIDOf(s.topicID, len(s.rewrite) > 0), Next: s.next, AppliedAt: s.asOf,
	}
	if err := s.t.Store.Write(s.customers.Changes(), &meta); err != nil {
		return err
	}
	s.customers.Stored()
	s.t.Store.Check(s.pos.Digest)
	s.unstored, s.unstoredVersions = 0, nil
	return s.at("stored")
}
