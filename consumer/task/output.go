package task

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/engine"
)

// Most pieces of memory that a record needs are smaller.
const (
	pieceBytes   = 1024
	pieceHeaders = 8
)

// encode makes records of the effects that have none yet. They are kept only if
// somebody wants to see them: there can be very many in a transaction.
func (s *session) encode() {
	b := &s.batch
	o := &b.effect
	for ; b.encoded < len(b.out.Effects); b.encoded++ {
		e := &b.out.Effects[b.encoded]
		b.memory.keep(s.cfg.Encoder.Append(b.memory.room(pieceBytes), o, e, s.wall))
		r := b.record()
		r.Topic, r.Partition, r.Key, r.Value = s.cfg.Changes, s.t.Partition, o.Key, o.Value
		if e.Action == engine.Fired {
			r.Topic = s.cfg.Triggers
		}
		r.Headers = b.headers.keep(s.headers.Append(b.headers.room(pieceHeaders), o))
		s.emit(r)
		if e.Action != engine.Erased {
			b.counted = append(b.counted, counted{s.emitted.kind(s.cfg.Metrics, e), e.Action != engine.Fired && e.Cause == engine.CauseEvent, e.At})
		}
	}
	if s.cfg.OnEffects == nil {
		b.out.Effects, b.encoded = b.out.Effects[:0], 0
	}
}

// emit adds a record to the transaction.
func (s *session) emit(r *kgo.Record) {
	s.batch.records = append(s.batch.records, r)
	s.batch.bytes += len(r.Key) + len(r.Value) + 64
}

// forward sends a record to its customer's partition, through the repartition
// topic. It returns what became of the record.
func (s *session) forward(h *feed.Head) string {
	r := h.Rec
	if broker.Size(r) > s.t.Instance.MaxCopied(s.cfg.Repartition()) {
		return s.deadLetter(h, "size", "the record is on a wrong partition and too large to be forwarded")
	}
	// The copy has the time of the forwarding as its timestamp: retention goes by
	// it, and an old one would be deleted before it is read.
	s.emit(&kgo.Record{
		Topic: s.cfg.Repartition(), Partition: s.route.Partition(h.Ev.Customer),
		Key: r.Key, Value: r.Value, Headers: h.From.Headers(r.Headers), Timestamp: s.wall.Time(),
	})
	s.batch.forwarded++
	return "forwarded"
}

// deadLetter puts a record on the dead-letter topic, as it was, with the reason, unless
// there are too many of them. It returns what became of the record. Where the content is to be kept out, of the
// reason only what is not content is left.
func (s *session) deadLetter(h *feed.Head, cause, reason string) string {
	s.batch.dead += uint64(h.Records())
	s.batch.causes[cause] += h.Records()
	if !h.IsBatch() && !s.letterAllowed(cause) {
		s.leaveOut(h, cause)
		return "dead_letter"
	}
	if s.cfg.HashDeadLetters {
		reason = placeOf(h, cause)
	}
	r := &kgo.Record{Topic: s.cfg.DeadLetters(), Partition: s.t.Partition, Key: h.Rec.Key, Value: h.Rec.Value}
	r.Headers = append(h.Rec.Headers[:len(h.Rec.Headers):len(h.Rec.Headers)],
		kgo.RecordHeader{Key: "dlq.error", Value: []byte(reason)},
		kgo.RecordHeader{Key: "dlq.cause", Value: []byte(cause)},
		kgo.RecordHeader{Key: "dlq.topic", Value: []byte(h.From.Topic)},
		kgo.RecordHeader{Key: "dlq.partition", Value: strconv.AppendInt(nil, int64(h.From.Partition), 10)},
		kgo.RecordHeader{Key: "dlq.offset", Value: strconv.AppendInt(nil, h.From.Offset, 10)},
		kgo.RecordHeader{Key: "dlq.at", Value: []byte(s.wall.Time().Format(time.RFC3339Nano))})
	if h.IsBatch() {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "dlq.last_offset", Value: strconv.AppendInt(nil, h.Rec.Offset, 10)})
	} else if s.cfg.HashDeadLetters || broker.Size(h.Rec) > s.t.Instance.MaxCopied(s.cfg.DeadLetters()) {
		r.Headers = append(r.Headers[len(h.Rec.Headers):], s.hashOf(r.Value)...)
		r.Key, r.Value = nil, nil
	}
	s.emit(r)
	return "dead_letter"
}

// placeOf says what is wrong with a record without a word of what is in it.
func placeOf(h *feed.Head, cause string) string {
	switch {
	case h.Bad():
		return h.Err.Place()
	case cause == "future":
		return "bad input (future): occurred_at"
	}
	return "bad input (" + cause + ")"
}

// hashOf returns the header that stands for a value that is left out. A plain hash
// of a short value can be guessed, so where the content is to be kept out there is
// one with a key or none.
func (s *session) hashOf(value []byte) []kgo.RecordHeader {
	switch {
	case len(s.cfg.DeadLetterKey) > 0:
		mac := hmac.New(sha256.New, s.cfg.DeadLetterKey)
		mac.Write(value)
		return []kgo.RecordHeader{{Key: "dlq.hmac_sha256", Value: hex.AppendEncode(nil, mac.Sum(nil))}}
	case s.cfg.HashDeadLetters:
		return nil
	}
	sum := sha256.Sum256(value)
	return []kgo.RecordHeader{{Key: "dlq.sha256", Value: hex.AppendEncode(nil, sum[:])}}
}
