package feed

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// Headers of forwarded records: where the record came from.
const (
	HeaderTopic     = "segmill.topic"
	HeaderPartition = "segmill.partition"
	HeaderOffset    = "segmill.offset"
	HeaderTime      = "segmill.time" // the record's timestamp, milliseconds
)

// Origin is where a record came into the engine: for a forwarded one, the place
// and time that its headers name.
type Origin struct {
	Topic     string
	Partition int32
	Offset    int64
	At        engine.Millis
}

// OriginOf reads the last headers of a forwarded record, which must be of one of
// the inputs. A producer may have used the same names before.
func OriginOf(r *kgo.Record, inputs []string) (Origin, *schemas.BadInput) {
	if n := len(r.Headers) - 4; n >= 0 {
		l := r.Headers[n:]
		number := func(h kgo.RecordHeader, key string, bits int) int64 {
			v, err := strconv.ParseInt(string(h.Value), 10, bits)
			if err != nil || h.Key != key {
				return -1
			}
			return v
		}
		o := Origin{Topic: string(l[0].Value), Partition: int32(number(l[1], HeaderPartition, 32)), Offset: number(l[2], HeaderOffset, 64)}
		at, err := strconv.ParseInt(string(l[3].Value), 10, 64)
		o.At = engine.Millis(at)
		if l[0].Key == HeaderTopic && l[3].Key == HeaderTime && err == nil && o.Partition >= 0 && o.Offset >= 0 && slices.Contains(inputs, o.Topic) {
			return o, nil
		}
	}
	return Origin{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}, &schemas.BadInput{
		Cause: schemas.CauseFormat, Detail: "the record on the repartition topic does not say where it comes from; only the engine may write there",
	}
}

// Headers returns the headers of a record with those that say where it came from.
func (o Origin) Headers(of []kgo.RecordHeader) []kgo.RecordHeader {
	return append(of[:len(of):len(of)],
		kgo.RecordHeader{Key: HeaderTopic, Value: []byte(o.Topic)},
		kgo.RecordHeader{Key: HeaderPartition, Value: strconv.AppendInt(nil, int64(o.Partition), 10)},
		kgo.RecordHeader{Key: HeaderOffset, Value: strconv.AppendInt(nil, o.Offset, 10)},
		kgo.RecordHeader{Key: HeaderTime, Value: strconv.AppendInt(nil, int64(o.At), 10)})
}
