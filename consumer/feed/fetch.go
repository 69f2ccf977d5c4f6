package feed

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
)

// Fetched records wait in the task's queues, each of which has room for several
// fetches. Room is bytes: a fetch of small records that compress well is ten thousand
// of them, and a bound of records would be reached by every fetch.
const (
	mostRoom    = 32 << 20 // of one queue, in bytes
	leastRoom   = 64 << 10
	recordBytes = 200 // of a record beside its key, value and headers, about
)

// fetcher gets the records of one task's input partitions. It has a client of its
// own; tasks know only this type, so that they could share one.
type fetcher struct {
	cl      *kgo.Client // nil before the first poll
	cluster *broker.Cluster
	most    int32 // bytes of one answer
	now     func() time.Time
	inputs  map[broker.Partition]*Input
	paused  map[broker.Partition]bool
	size    int64 // of all queues, in bytes
	room    int   // of each queue, in bytes
	idle    prometheus.Counter
	pauses  prometheus.Counter

	decompressor *broker.Decompressor
}

// newFetcher returns a fetcher that begins at its first poll.
func newFetcher(o *Options, inputs []*Input) *fetcher {
	f := &fetcher{
		cluster: o.Cluster, now: o.Config.Now, inputs: map[broker.Partition]*Input{}, paused: map[broker.Partition]bool{},
		idle: o.Config.Metrics.FetchIdle, pauses: o.Config.Metrics.FetchPauses,
		size: o.QueueBytes,
		most: int32(max(leastRoom, min(o.QueueBytes, broker.MaxFetch))),
	}
	for _, in := range inputs {
		f.inputs[in.Place()] = in
	}
	f.share()
	return f
}

// share gives each queue its share of the room.
func (f *fetcher) share() {
	f.room = int(max(leastRoom, min(f.size/int64(max(1, len(f.inputs))), mostRoom)))
}

// begin fetches from in.Next of every input. There is no offset to fall back to: data
// that is not there is an error.
func (f *fetcher) begin() (err error) {
	from := map[string]map[int32]kgo.Offset{}
	for place, in := range f.inputs {
		if from[place.Topic] == nil {
			from[place.Topic] = map[int32]kgo.Offset{}
		}
		from[place.Topic][place.Number] = kgo.NewOffset().At(in.Next)
	}
	if f.decompressor, err = broker.NewDecompressor(); err != nil {
		return err
	}
	f.cl, err = kgo.NewClient(append(f.cluster.ConsumerOptions(), kgo.ConsumePartitions(from), kgo.WithDecompressor(f.decompressor),
		kgo.WithPools(&broker.RecordPool{Most: f.room / recordBytes}), kgo.FetchMaxBytes(f.most))...)
	return err
}

// add fetches another input, too.
func (f *fetcher) add(in *Input) {
	f.inputs[in.Place()] = in
	f.share()
	if f.cl != nil {
		f.cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{in.Topic: {in.Partition: kgo.NewOffset().At(in.Next)}})
	}
}

// drop fetches an input no longer.
func (f *fetcher) drop(in *Input) {
	in.endLarge()
	delete(f.inputs, in.Place())
	delete(f.paused, in.Place())
	f.share()
	if f.cl != nil {
		f.cl.RemoveConsumePartitions(map[string][]int32{in.Topic: {in.Partition}})
	}
}

// poll waits up to wait for records and puts them in the queues. Of 0 it does not
// wait. While there is enough in hand nothing is taken from the client, which then
// stops fetching by itself: a topic need not be paused for that, and is not, since
// one that was paused is missing in the next request, which a broker that has
// nothing else to send holds for FetchMaxWait.
func (f *fetcher) poll(ctx context.Context, wait time.Duration) error {
	if f.cl == nil {
		if err := f.begin(); err != nil {
			return err
		}
	}
	if f.inflate() {
		wait = 0
	}
	if f.enough() {
		pause(ctx, wait)
		return nil
	}
	f.balance()
	var fetches kgo.Fetches
	if wait <= 0 {
		fetches = f.cl.PollRecords(nil, 0) //nolint:staticcheck // SA1012: to this client, nil means not to wait
	} else {
		waiting, cancel := context.WithTimeout(ctx, wait)
		fetches = f.cl.PollRecords(waiting, 0)
		cancel()
	}
	if fetches.NumRecords() > 0 {
		f.decompressor.Polled()
	} else if wait > 0 && f.hungry() {
		f.idle.Inc()
	}
	var failed error
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if err := f.queue(p); err != nil {
			failed = err
		}
	})
	if failed != nil {
		return failed
	}
	for _, e := range fetches.Errors() {
		if !errors.Is(e.Err, context.DeadlineExceeded) && !errors.Is(e.Err, context.Canceled) {
			if err := f.failed(ctx, e); err != nil {
				return err
			}
		}
	}
	f.lookAtLate(ctx)
	return nil
}

// pause waits, if there is something to wait for.
func pause(ctx context.Context, wait time.Duration) {
	if wait <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}

func (f *fetcher) queue(p kgo.FetchTopicPartition) error {
	in := f.inputs[broker.Partition{Topic: p.Topic, Number: p.Partition}]
	if in == nil || len(p.Records) == 0 {
		return nil
	}
	want := in.want()
	if got := p.Records[0].Offset; got < want {
		return fmt.Errorf("fetch %s/%d: offset %d came again, %d was next", p.Topic, p.Partition, got, want)
	}
	in.push(p.Records...)
	in.fetched = f.now()
	return nil
}

// hungry reports whether a topic has nothing in hand although it has, or may have,
// records that were not taken.
func (f *fetcher) hungry() bool {
	for _, in := range f.inputs {
		if len(in.queue) == 0 && in.missing() {
			return true
		}
	}
	return false
}

// enough reports whether a queue is full, and nobody needs what else there is.
func (f *fetcher) enough() bool {
	for _, in := range f.inputs {
		if in.bytes > f.room {
			return !f.hungry()
		}
	}
	return false
}

// balance pauses the topics that have enough in hand while another one has nothing,
// so that they are not fetched along with it. They go on when they have taken half.
func (f *fetcher) balance() {
	hungry := f.hungry()
	for place, in := range f.inputs {
		one := map[string][]int32{place.Topic: {place.Number}}
		switch {
		case in.bytes > f.room && hungry && !f.paused[place]:
			f.cl.PauseFetchPartitions(one)
			f.pauses.Inc()
			f.paused[place] = true
		case in.bytes <= f.room/2 && f.paused[place]:
			f.cl.ResumeFetchPartitions(one)
			f.paused[place] = false
		}
	}
}

func (f *fetcher) close() {
	if f.cl != nil {
		f.cl.Close()
	}
	for _, in := range f.inputs {
		in.endLarge()
	}
}
