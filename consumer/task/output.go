package task

import (
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
	o := &b.effects.record
	for ; b.effects.n < len(b.out.Effects); b.effects.n++ {
		e := &b.out.Effects[b.effects.n]
		b.memory.keep(s.cfg.Encoder.Append(b.memory.room(pieceBytes), o, e, s.wall))
		r := b.record()
		r.Topic, r.Partition, r.Key, r.Value = s.cfg.Changes, s.t.Partition, o.Key, o.Value
		if e.Action == engine.Fired {
			r.Topic = s.cfg.Triggers
		}
		r.Headers = b.headers.keep(s.headers.Append(b.headers.room(pieceHeaders), o))
		s.emit(r)
		if e.Action != engine.Erased {
			b.effects.counted = append(b.effects.counted, counted{s.emitted.kind(s.cfg.Metrics, e), e.Action != engine.Fired && e.Cause == engine.CauseEvent, e.At})
		}
	}
	if s.cfg.OnEffects == nil {
		b.out.Effects, b.effects.n = b.out.Effects[:0], 0
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
	value, headers := r.Value, r.Headers
	if len(h.More.Texts) > 0 { // the receiver need not map it again, and has no other events of it
		value, headers = h.More.Texts[0].JSON, feed.MappedHeaders(&h.More.Texts[0])
	}
	// The copy has the time of the forwarding as its timestamp: retention goes by
	// it, and an old one would be deleted before it is read.
	s.emit(&kgo.Record{
		Topic: s.cfg.Repartition(), Partition: s.route.Partition(h.Ev.Customer),
		Key: r.Key, Value: value, Headers: h.From.Headers(headers), Timestamp: s.wall.Time(),
	})
	s.batch.forwarded++
	return "forwarded"
}

// deadLetter refuses a record. It returns what became of the record.
func (s *session) deadLetter(h *feed.Head, cause, reason string) string {
	if r := s.letters.Refuse(h, cause, reason, s.wall.Time()); r != nil {
		s.emit(r)
	}
	return "dead_letter"
}
