package consumer

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// Headers of forwarded records: where the record came from.
const (
	headerTopic     = "segmill.topic"
	headerPartition = "segmill.partition"
	headerOffset    = "segmill.offset"
	headerTime      = "segmill.time" // the record's timestamp, milliseconds
)

// copiedBytes is max.message.bytes of the topics that records are copied to, which must
// hold what the inputs hold, with headers. copyMargin is what a batch of one record
// has beside it.
const (
	copiedBytes  = 4 << 20
	defaultBytes = 1_048_588 // of brokers
	copyMargin   = 4 << 10
)

// maxCopied returns the size of the largest record that can be copied to a topic, as
// that was at the start.
func (o *Owner) maxCopied(topic string) int { return o.batchBytes(topic) - copyMargin }

// batchBytes returns the size of the largest batch that a topic of copies takes, about.
func (o *Owner) batchBytes(topic string) int {
	if n, ok := o.messageBytes[topic]; ok {
		return min(n, copiedBytes)
	}
	return defaultBytes
}

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
		r.Topic, r.Partition, r.Key, r.Value = s.cfg.Changes, s.t.n, o.Key, o.Value
		if e.Action == engine.Fired {
			r.Topic = s.cfg.Triggers
		}
		r.Headers = b.headers.keep(s.headers.Append(b.headers.room(pieceHeaders), o))
		s.emit(r)
		if e.Action != engine.Erased {
			b.counted = append(b.counted, counted{s.told.kind(s.cfg.Metrics, e), e.Action != engine.Fired && e.Cause == engine.CauseEvent, e.At})
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

// origin is where a record came into the engine: for a forwarded one, the place
// and time that its headers name.
type origin struct {
	topic     string
	partition int32
	offset    int64
	at        engine.Millis
}

// originOf reads the last headers of a forwarded record, which must be of one of
// the inputs. A producer may have used the same names before.
func originOf(r *kgo.Record, inputs []string) (origin, *schemas.BadInput) {
	if n := len(r.Headers) - 4; n >= 0 {
		l := r.Headers[n:]
		number := func(h kgo.RecordHeader, key string, bits int) int64 {
			v, err := strconv.ParseInt(string(h.Value), 10, bits)
			if err != nil || h.Key != key {
				return -1
			}
			return v
		}
		o := origin{topic: string(l[0].Value), partition: int32(number(l[1], headerPartition, 32)), offset: number(l[2], headerOffset, 64)}
		at, err := strconv.ParseInt(string(l[3].Value), 10, 64)
		o.at = engine.Millis(at)
		if l[0].Key == headerTopic && l[3].Key == headerTime && err == nil && o.partition >= 0 && o.offset >= 0 && slices.Contains(inputs, o.topic) {
			return o, nil
		}
	}
	return origin{topic: r.Topic, partition: r.Partition, offset: r.Offset}, &schemas.BadInput{
		Cause: schemas.CauseFormat, Detail: "the record on the repartition topic does not say where it comes from; only the engine may write there",
	}
}

// forward sends a record to its customer's partition, through the repartition
// topic. It returns what became of the record.
func (s *session) forward(h *head) string {
	r := h.rec
	if broker.Size(r) > s.t.o.maxCopied(s.cfg.Repartition()) {
		return s.deadLetter(h, "size", "the record is on a wrong partition and too large to be forwarded")
	}
	// The copy has the time of the forwarding as its timestamp: retention goes by
	// it, and an old one would be deleted before it is read.
	s.emit(&kgo.Record{
		Topic: s.cfg.Repartition(), Partition: s.route.Partition(h.ev.Customer),
		Key: r.Key, Value: r.Value, Headers: h.from.headers(r.Headers), Timestamp: s.wall.Time(),
	})
	s.batch.forwarded++
	return "forwarded"
}

// headers returns the headers of a record with those that say where it came from.
func (o origin) headers(of []kgo.RecordHeader) []kgo.RecordHeader {
	return append(of[:len(of):len(of)],
		kgo.RecordHeader{Key: headerTopic, Value: []byte(o.topic)},
		kgo.RecordHeader{Key: headerPartition, Value: strconv.AppendInt(nil, int64(o.partition), 10)},
		kgo.RecordHeader{Key: headerOffset, Value: strconv.AppendInt(nil, o.offset, 10)},
		kgo.RecordHeader{Key: headerTime, Value: strconv.AppendInt(nil, int64(o.at), 10)})
}

// deadLetter puts a record on the dead-letter topic, as it was, with the reason, unless
// there are too many of them. It returns what became of the record. Where the content is to be kept out, of the
// reason only what is not content is left.
func (s *session) deadLetter(h *head, cause, reason string) string {
	s.batch.dead += uint64(h.records())
	s.batch.causes[cause] += h.records()
	if h.batch == nil && !s.letterAllowed(cause) {
		s.leaveOut(h, cause)
		return "dead_letter"
	}
	if s.cfg.HashDeadLetters {
		reason = placeOf(h, cause)
	}
	r := &kgo.Record{Topic: s.cfg.DeadLetters(), Partition: s.t.n, Key: h.rec.Key, Value: h.rec.Value}
	r.Headers = append(h.rec.Headers[:len(h.rec.Headers):len(h.rec.Headers)],
		kgo.RecordHeader{Key: "dlq.error", Value: []byte(reason)},
		kgo.RecordHeader{Key: "dlq.cause", Value: []byte(cause)},
		kgo.RecordHeader{Key: "dlq.topic", Value: []byte(h.from.topic)},
		kgo.RecordHeader{Key: "dlq.partition", Value: strconv.AppendInt(nil, int64(h.from.partition), 10)},
		kgo.RecordHeader{Key: "dlq.offset", Value: strconv.AppendInt(nil, h.from.offset, 10)},
		kgo.RecordHeader{Key: "dlq.at", Value: []byte(s.wall.Time().Format(time.RFC3339Nano))})
	if h.batch != nil {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "dlq.last_offset", Value: strconv.AppendInt(nil, h.rec.Offset, 10)})
	} else if s.cfg.HashDeadLetters || broker.Size(h.rec) > s.t.o.maxCopied(s.cfg.DeadLetters()) {
		r.Headers = append(r.Headers[len(h.rec.Headers):], s.hashOf(r.Value)...)
		r.Key, r.Value = nil, nil
	}
	s.emit(r)
	return "dead_letter"
}

// placeOf says what is wrong with a record without a word of what is in it.
func placeOf(h *head, cause string) string {
	switch {
	case h.bad():
		return h.err.Place()
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
