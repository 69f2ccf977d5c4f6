//go:build hostile

package hostile

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// batch is a batch as it goes over the wire: n records that it claims. Each must end
// in a dead letter of a cause, of its own or of the batch.
type batch struct {
	name  string
	codec kgo.CompressionCodecType
	n     int
	raw   []byte
	cause string
	// refusable: brokers that look into batches do not take it.
	refusable bool
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var codecs = map[string]kgo.CompressionCodec{
	"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func batches(t *testing.T) []batch {
	t.Helper()
	value := []byte("{")
	whole := rawRecords(value, value, value)
	l := []batch{
		{"claims more than it has", kgo.CodecNone, 4, whole, "batch", true},
		{"cut off", kgo.CodecNone, 3, whole[:len(whole)-2], "batch", true},
		{"of no records", kgo.CodecNone, 2, nil, "batch", true},
		{"a length of 2^34", kgo.CodecNone, 1, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 1}, "batch", true},
	}
	for _, name := range slices.Sorted(maps.Keys(codecs)) {
		c, err := kgo.DefaultCompressor(codecs[name])
		if err != nil {
			t.Fatal(err)
		}
		pack := func(raw []byte) ([]byte, kgo.CompressionCodecType) {
			b, as := c.Compress(new(bytes.Buffer), raw)
			return slices.Clone(b), as
		}
		size := 64 << 20
		if name == "snappy" { // compresses to a twentieth, and a batch has a limit
			size = 17 << 20
		}
		bomb, as := pack(rawRecords(make([]byte, size)))
		small, _ := pack(whole)
		if name == "gzip" {
			flood, _ := pack(rawRecords(make([][]byte, 50_000)...))
			l = append(l, batch{"50,000 empty records", as, 50_000, flood, "format", false})
		}
		l = append(l,
			batch{name + " bomb", as, 1, bomb, "size", true},
			batch{name + ", bad records", as, 3, small, "format", false},
			batch{name + ", cut off", as, 3, small[:len(small)/2], "batch", true},
			batch{name + ", no such thing", as, 1, []byte("nothing that this codec has made"), "batch", true})
	}
	return l
}

func rawRecords(values ...[]byte) []byte {
	var b []byte
	for i, v := range values {
		body := kbin.AppendInt8(nil, 0)               // attributes
		body = kbin.AppendVarint(body, 0)             // timestamp delta
		body = kbin.AppendVarint(body, int32(i))      // offset delta
		body = kbin.AppendVarint(body, 1)             // length of the key
		body = append(body, 'k')                      //
		body = kbin.AppendVarint(body, int32(len(v))) // length of the value
		body = append(body, v...)                     //
		body = kbin.AppendVarint(body, 0)             // headers
		b = kbin.AppendVarint(b, int32(len(body)))
		b = append(b, body...)
	}
	return b
}

// tryBatch sends a batch to each partition, and an event behind it once its dead
// letters are there: the client passes over records that are missing as soon as
// something follows them.
func (s *site) tryBatch(t *testing.T, b batch) {
	topic := s.app + ".web"
	var first [partitions]int64
	for p := range int32(partitions) {
		var err error
		if first[p], err = s.produceBatch(topic, p, b); err != nil && b.refusable && cluster == nil {
			leftOut.Add(1)
			t.Skipf("the broker does not take it: %v", err)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	heard := s.sing(t)
	for p := range int32(partitions) {
		s.covered(t, topic, p, first[p], int64(b.n), b.cause)
		r := event("web", p, customer("behind", p), `,"name":"page_viewed"`)
		s.produce(t, r)
		s.entered(t, string(r.Key), "viewer", soon)
	}
	heard()
}

// tryLarge sends 20,000 ordinary events in one batch, 17 MB when they are inflated.
func (s *site) tryLarge(t *testing.T) {
	const n = 20_000
	c, err := kgo.DefaultCompressor(codecs["gzip"])
	if err != nil {
		t.Fatal(err)
	}
	ids, values := make([]string, n), make([][]byte, n)
	for i := range n {
		ids[i] = customer("large", 0)
		values[i] = event("web", 0, ids[i], fmt.Sprintf(`,"name":"page_viewed","referrer":%q`, strings.Repeat("x", 750))).Value
	}
	raw, as := c.Compress(new(bytes.Buffer), rawRecords(values...))
	if _, err := s.produceBatch(s.app+".web", 0, batch{codec: as, n: n, raw: raw}); err != nil {
		t.Fatal(err)
	}
	heard := s.sing(t)
	for _, id := range ids {
		s.entered(t, id, "viewer", 20*time.Second)
	}
	heard()
}

// covered waits until dead letters stand for the n records from first on, one of them
// with a cause.
func (s *site) covered(t *testing.T, topic string, p int32, first, n int64, cause string) {
	t.Helper()
	var seen []string
	eventually(t, 20*time.Second, fmt.Sprintf("dead letters of %s/%d/%d to %d", topic, p, first, first+n-1), func() bool {
		s.out.mu.Lock()
		defer s.out.mu.Unlock()
		seen = seen[:0]
		for at := first; at < first+n; {
			h := s.out.dead[fmt.Sprintf("%s/%d/%d", topic, p, at)]
			if h == nil {
				return false
			}
			seen = append(seen, h["dlq.cause"])
			last := at
			if text := h["dlq.last_offset"]; text != "" {
				if _, err := fmt.Sscan(text, &last); err != nil {
					return false
				}
			}
			at = last + 1
		}
		return true
	})
	s.expected.Add(int64(len(seen)))
	if !slices.Contains(seen, cause) {
		t.Errorf("dead letters of causes %v, want %s", seen, cause)
	}
}

// produceBatch writes a batch as it is and returns the offset of its first record.
func (s *site) produceBatch(topic string, p int32, c batch) (int64, error) {
	now := time.Now().UnixMilli()
	batch := kmsg.RecordBatch{
		Length: int32(49 + len(c.raw)), PartitionLeaderEpoch: -1, Magic: 2, Attributes: int16(c.codec), LastOffsetDelta: int32(c.n - 1),
		FirstTimestamp: now, MaxTimestamp: now, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(c.n), Records: c.raw,
	}
	b := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
	topics, err := s.adm.ListTopics(context.Background(), topic)
	if err != nil {
		return 0, err
	}
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 10_000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.TopicID = topic, topics[topic].ID
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = p, b
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(context.Background(), s.cl.Broker(int(topics[topic].Partitions[p].Leader)))
	if err != nil {
		return 0, err
	}
	got := resp.Topics[0].Partitions[0]
	return got.BaseOffset, kerr.ErrorForCode(got.ErrorCode)
}
