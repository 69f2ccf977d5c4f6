package feed

import (
	"fmt"
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

	// Before those are these, of an event that was made of a record by a mapping.
	HeaderMapping = "segmill.mapping"
	HeaderStream  = "segmill.stream"
	HeaderNumber  = "segmill.number" // which element of the record it was made of
)

// Origin is where a record came into the engine: for a forwarded one, the place
// and time that its headers name.
type Origin struct {
	Topic     string
	Partition int32
	Offset    int64
	At        engine.Millis
	// Mapped says what the value is if it was made of the record, nil if it is the
	// record's.
	Mapped *schemas.MappedAs
}

// String returns the place, which no other record has.
func (o Origin) String() string { return fmt.Sprintf("%s/%d@%d", o.Topic, o.Partition, o.Offset) }

// OriginOf reads the last headers of a forwarded record, which must be of one of
// the inputs (config.Config.IsInput). A producer may have used the same names before.
func OriginOf(r *kgo.Record, isInput func(topic string) bool) (Origin, *schemas.BadInput) {
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
		if l[0].Key == HeaderTopic && l[3].Key == HeaderTime && err == nil && o.Partition >= 0 && o.Offset >= 0 && isInput(o.Topic) {
			if len(r.Value) > 0 {
				o.Mapped = mappedAs(r.Headers[:n])
			}
			return o, nil
		}
	}
	return Origin{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}, &schemas.BadInput{
		Cause: schemas.CauseFormat, Detail: "the record on the repartition topic does not say where it comes from; only the engine may write there",
	}
}

// importedOf reads what a record of the topic of history stands for. Its value is JSON,
// whatever that input has, and it erases nobody.
func importedOf(r *kgo.Record, isInput func(topic string) bool) (Origin, *schemas.BadInput) {
	o, bad := OriginOf(r, isInput)
	detail := ""
	switch {
	case bad != nil:
		detail = "the record does not say which of the inputs it stands for; only segmill import may write to this topic"
	case len(r.Value) == 0:
		detail = "the value is empty: an import erases nobody"
	case r.Value[0] == 0x00 || r.Value[0] == 0xC3:
		detail = "the value is not JSON: an import has nothing else"
	default:
		return o, nil
	}
	return o, &schemas.BadInput{Cause: schemas.CauseFormat, Detail: detail}
}

// mappedAs reads what the headers before those of the origin say of a mapped event, nil if
// the record is as it came.
func mappedAs(l []kgo.RecordHeader) *schemas.MappedAs {
	n := len(l) - 3
	if n < 0 || l[n].Key != HeaderMapping || l[n+1].Key != HeaderStream || l[n+2].Key != HeaderNumber {
		return nil
	}
	number, err := strconv.Atoi(string(l[n+2].Value))
	if err != nil {
		return nil
	}
	return &schemas.MappedAs{Mapping: string(l[n].Value), Stream: string(l[n+1].Value), Number: number}
}

// MappedHeaders returns the headers of an event that was made of a record.
func MappedHeaders(m *schemas.MappedText) []kgo.RecordHeader {
	return []kgo.RecordHeader{
		{Key: HeaderMapping, Value: []byte(m.Mapping)},
		{Key: HeaderStream, Value: []byte(m.Stream)},
		{Key: HeaderNumber, Value: strconv.AppendInt(nil, int64(m.Number), 10)},
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
