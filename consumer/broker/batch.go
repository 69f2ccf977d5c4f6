package broker

import (
	"context"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A stored batch (KIP-98), with the offsets of what follows a field:
//
//	0 base offset (8) | 8 length (4) | 12 leader epoch (4) | 16 magic (1) |
//	17 CRC (4) | 21 attributes (2) … | 57 number of records (4) | 61 records
//
// The length counts what follows it; the CRC covers what follows it.
const (
	afterLength = 12
	afterCRC    = 21
	batchHeader = 61
)

// FirstBatch returns the first batch of an answer if it is whole and as it was written.
func FirstBatch(p *kmsg.FetchResponseTopicPartition) (b kmsg.RecordBatch, ok bool) {
	if len(p.RecordBatches) < batchHeader || b.ReadFrom(p.RecordBatches) != nil || b.Length < batchHeader-afterLength || int(b.Length) > len(p.RecordBatches)-afterLength {
		return b, false
	}
	p.RecordBatches = p.RecordBatches[:afterLength+b.Length]
	if b.ReadFrom(p.RecordBatches) != nil || b.Magic != 2 {
		return b, false
	}
	// What is damaged on its way or on the broker's disk, another replica may have.
	return b, crc32.Checksum(p.RecordBatches[afterCRC:], castagnoli) == uint32(b.CRC)
}

// Aborted reports whether a batch, the first of an answer, is of a transaction that was
// aborted: a broker names those that end where the answer begins or behind it.
func Aborted(p *kmsg.FetchResponseTopicPartition, b *kmsg.RecordBatch) bool {
	if b.Attributes&isTransactional == 0 {
		return false
	}
	for _, t := range p.AbortedTransactions {
		if t.ProducerID == b.ProducerID && t.FirstOffset <= b.FirstOffset {
			return true
		}
	}
	return false
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// FetchOne fetches what is at an offset, outside of what the client fetches.
func FetchOne(ctx context.Context, cl *kgo.Client, topic string, partition int32, offset int64) (p kmsg.FetchResponseTopicPartition, err error) {
	where := kmsg.NewPtrMetadataRequest()
	asked := kmsg.NewMetadataRequestTopic()
	asked.Topic = &topic
	where.Topics = append(where.Topics, asked)
	places, err := where.RequestWith(ctx, cl)
	if err != nil {
		return p, err
	}
	for _, t := range places.Topics {
		for _, part := range t.Partitions {
			if part.Partition != partition || part.Leader < 0 {
				continue
			}
			req := kmsg.NewPtrFetchRequest()
			req.MaxBytes, req.IsolationLevel = MaxFetch, LastStable.isolation
			rt := kmsg.NewFetchRequestTopic()
			rt.Topic, rt.TopicID = topic, t.TopicID
			rp := kmsg.NewFetchRequestTopicPartition()
			rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = partition, offset, maxPartitionFetch
			rt.Partitions = append(rt.Partitions, rp)
			req.Topics = append(req.Topics, rt)
			resp, err := req.RequestWith(ctx, cl.Broker(int(part.Leader)))
			if err != nil {
				return p, err
			}
			if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
				return p, kerr.ErrorForCode(resp.ErrorCode)
			}
			p = resp.Topics[0].Partitions[0]
			return p, kerr.ErrorForCode(p.ErrorCode)
		}
	}
	return p, kerr.LeaderNotAvailable
}
