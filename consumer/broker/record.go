package broker

import "github.com/twmb/franz-go/pkg/kgo"

// headerBytes is how many bytes a header takes besides its contents, at most.
const headerBytes = 10

// Size returns how many bytes the contents of a record have.
func Size(r *kgo.Record) int {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value) + headerBytes
	}
	return n
}

// Router knows which partition a customer's records belong on: where the default
// partitioner of Kafka's own client puts them.
type Router struct {
	p     kgo.TopicPartitioner
	n     int
	probe *kgo.Record
}

// NewRouter returns a Router over so many partitions.
func NewRouter(partitions int32) Router {
	return Router{p: kgo.StickyKeyPartitioner(nil).ForTopic(""), n: int(partitions), probe: &kgo.Record{}}
}

// Partition returns the partition of a customer.
func (r Router) Partition(customer string) int32 {
	r.probe.Key = append(r.probe.Key[:0], customer...)
	return int32(r.p.Partition(r.probe, r.n))
}
