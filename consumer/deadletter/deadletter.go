// Package deadletter makes the records of the dead-letter topic.
//
// The one rule it keeps: the topic says of every refused record where it is and why. A
// record has a dead letter of its own, or it is named in one that lists the offsets of
// many.
package deadletter

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/feed"
)

// Writer makes the dead letters of one session of a task, batch by batch. It is used by
// one goroutine. What it is given must not change before it is used first.
type Writer struct {
	Config    *config.Config
	Partition int32
	Log       *slog.Logger
	// MostBytes is the size of the largest record that can be copied to the topic; of a
	// larger one the dead letter has a hash.
	MostBytes int

	limits map[string]*limit // by cause

	// Of the current batch.
	refused uint64
	causes  map[string]int
	lists   map[origin]*list // that offsets are added to
	inOrder []*list
}

// Refuse returns the dead letter of a record: the record as it was, with the reason. Where
// its content is to be kept out, of the reason only what is not content is left. It
// returns nil if there are too many: then the record is named by one of Lists.
func (w *Writer) Refuse(h *feed.Head, cause, reason string, at time.Time) *kgo.Record {
	w.refused += uint64(h.Records())
	if w.causes == nil {
		w.causes = map[string]int{}
	}
	w.causes[cause] += h.Records()
	if !h.IsBatch() && !w.allowed(cause) {
		w.leaveOut(h, cause)
		return nil
	}
	if w.Config.DeadLetter.Hash {
		reason = placeOf(h, cause)
	}
	r := &kgo.Record{Topic: w.Config.DeadLetters(), Partition: w.Partition, Key: h.Rec.Key, Value: h.Rec.Value}
	r.Headers = append(h.Rec.Headers[:len(h.Rec.Headers):len(h.Rec.Headers)],
		kgo.RecordHeader{Key: "dlq.error", Value: []byte(reason)},
		kgo.RecordHeader{Key: "dlq.cause", Value: []byte(cause)},
		kgo.RecordHeader{Key: "dlq.topic", Value: []byte(h.From.Topic)},
		kgo.RecordHeader{Key: "dlq.partition", Value: strconv.AppendInt(nil, int64(h.From.Partition), 10)},
		kgo.RecordHeader{Key: "dlq.offset", Value: strconv.AppendInt(nil, h.From.Offset, 10)},
		kgo.RecordHeader{Key: "dlq.at", Value: []byte(at.Format(time.RFC3339Nano))})
	if h.IsBatch() {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "dlq.last_offset", Value: strconv.AppendInt(nil, h.Rec.Offset, 10)})
	} else if w.Config.DeadLetter.Hash || broker.Size(h.Rec) > w.MostBytes {
		r.Headers = append(r.Headers[len(h.Rec.Headers):], w.hashOf(r.Value)...)
		r.Key, r.Value = nil, nil
	}
	return r
}

// Refused returns how many records of the current batch were refused.
func (w *Writer) Refused() uint64 { return w.refused }

// Committed counts the refused records of the batch, which has committed, logs those
// that have no dead letter of their own, and begins another batch.
func (w *Writer) Committed() {
	for cause, n := range w.causes {
		w.Config.Metrics.DeadLetters.WithLabelValues(cause).Add(float64(n))
	}
	w.countLeftOut()
	w.refused = 0
	clear(w.causes)
	clear(w.lists)
	w.inOrder = nil
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

// hashOf returns the header that represents a value that is left out. A plain hash
// of a short value can be guessed, so where the content is to be kept out there is
// one with a key or none.
func (w *Writer) hashOf(value []byte) []kgo.RecordHeader {
	switch {
	case len(w.Config.DeadLetter.Key) > 0:
		mac := hmac.New(sha256.New, w.Config.DeadLetter.Key)
		mac.Write(value)
		return []kgo.RecordHeader{{Key: "dlq.hmac_sha256", Value: hex.AppendEncode(nil, mac.Sum(nil))}}
	case w.Config.DeadLetter.Hash:
		return nil
	}
	sum := sha256.Sum256(value)
	return []kgo.RecordHeader{{Key: "dlq.sha256", Value: hex.AppendEncode(nil, sum[:])}}
}
