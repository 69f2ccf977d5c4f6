package recorded

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/metrics"
)

// rig is a broker and the clock of the engine. It lives in a bubble of synctest, so
// that to wait means to let everything happen that can happen.
//
// The clock of the engine is not that of the bubble: it is moved by the test alone,
// and only while nothing is going on. So nothing depends on how long anything takes:
//
//   - The records of one page become visible at once, in a transaction that opens
//     before they are written, and the engine waits for what it knows to be there. So
//     their order is that of their times.
//   - A transaction of the engine ends when it is full, or when the clock has moved
//     since the one before. The first page of an instant is therefore one record a
//     partition, and what follows is taken by full transactions.
type rig struct {
	testing.TB
	setup
	broker  *kfake.Cluster
	kafka   []kgo.Opt
	log     *slog.Logger
	metrics *metrics.Metrics
	reg     *prometheus.Registry
	history *history
	writer  *kgo.Client
	clockAt atomic.Int64 // nanoseconds since 1970
}

// began is the first instant, the day before clocks change in Europe.
var began = time.Date(2027, 3, 27, 0, 0, 0, 0, time.UTC)

func newRig(t testing.TB, s setup) *rig {
	t.Helper()
	net := &kfake.VirtualNetwork{}
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(net.Listen), kfake.Ports(9092),
		kfake.SeedTopics(partitions, slices.Sorted(maps.Keys(inputs))...), kfake.GroupMaxSessionTimeout(longAgo))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	r := &rig{TB: t, setup: s, broker: broker, log: testLogger(), history: newHistory(s.avro)}
	r.kafka = []kgo.Opt{kgo.Dialer(net.DialContext), kgo.SeedBrokers(broker.ListenAddrs()...)}
	r.metrics, r.reg = newMetrics()
	r.clockAt.Store(began.UnixNano())
	r.writer = r.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("history"))
	return r
}

// client returns a client of the test's own.
func (r *rig) client(more ...kgo.Opt) *kgo.Client {
	r.Helper()
	cl, err := kgo.NewClient(append(more, r.kafka...)...)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(cl.Close)
	return cl
}

// now is the wall clock of the engine.
func (r *rig) now() time.Time { return time.Unix(0, r.clockAt.Load()).UTC() }

// settle lets everything happen that can happen without the clock of the engine.
func (r *rig) settle() {
	time.Sleep(2 * time.Second) //nolint:forbidigo // in a bubble of synctest
	synctest.Wait()
}

// tick moves the clock, and lets everything happen that follows.
func (r *rig) tick(d time.Duration) {
	r.clockAt.Add(int64(d))
	r.settle()
}

// publish writes records so that they are seen all at once, and lets them be taken.
func (r *rig) publish(records []*kgo.Record) {
	r.Helper()
	if err := r.writer.BeginTransaction(); err != nil {
		r.Fatal(err)
	}
	ctx := context.Background()
	if err := r.writer.ProduceSync(ctx, records...).FirstErr(); err != nil {
		r.Fatal(err)
	}
	r.settle() // the engine knows that something is to come
	if err := r.writer.EndTransaction(ctx, kgo.TryCommit); err != nil {
		r.Fatal(err)
	}
	r.settle()
}

// day moves the clock and publishes events of then: one a partition, and n of any.
func (r *rig) day(step time.Duration, n int) {
	r.Helper()
	r.tick(step)
	var first []*kgo.Record
	for p := range int32(partitions) {
		at := r.now()
		first = append(first, r.history.event(r.history.customer(p), at, at))
	}
	r.publish(first)
	r.publish(r.history.page(n, r.now(), -1))
}

// lostDay is day, and on one partition the first transaction of the page is not
// answered with success: the engine can't know, drops what it has, and acquires the
// partition again. With transactions the end of one is refused. Without them the
// position is, which leaves a whole batch void, in outputs that readers have seen.
func (r *rig) lostDay(step time.Duration, partition int32) {
	r.Helper()
	r.day(step, 10)
	var lost atomic.Bool
	if r.delivery == config.ExactlyOnce {
		r.broker.ControlKey(kmsg.EndTxn.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
			end := req.(*kmsg.EndTxnRequest)
			if end.TransactionalID != fmt.Sprintf("%s-%d", appName, partition) {
				return nil, nil, false
			}
			lost.Store(true)
			resp := end.ResponseKind().(*kmsg.EndTxnResponse)
			resp.ErrorCode = kerr.InvalidTxnState.Code
			return resp, nil, true
		})
	} else {
		r.broker.ControlKey(kmsg.Produce.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
			resp := refused(req.(*kmsg.ProduceRequest), r.topicID(appName+".changelog"), partition)
			if resp == nil {
				return nil, nil, false
			}
			lost.Store(true)
			return resp, nil, true
		})
	}
	r.publish(r.history.page(3*batchRecords, r.now(), partition))
	if !lost.Load() {
		r.Fatal("no transaction was lost")
	}
}

// topicID returns the id of a topic.
func (r *rig) topicID(topic string) [16]byte { return r.broker.TopicInfo(topic).TopicID }

// refused returns the answer that refuses a request which writes one record to one
// partition, as a position is written, nil if the request does something else.
func refused(req *kmsg.ProduceRequest, topic [16]byte, partition int32) kmsg.Response {
	if len(req.Topics) != 1 || req.Topics[0].TopicID != topic || len(req.Topics[0].Partitions) != 1 {
		return nil
	}
	const recordsAt = 57 // of the number of records in a batch
	p := req.Topics[0].Partitions[0]
	if p.Partition != partition || len(p.Records) < recordsAt+4 || binary.BigEndian.Uint32(p.Records[recordsAt:]) != 1 {
		return nil
	}
	answer := kmsg.NewProduceResponseTopicPartition()
	answer.Partition, answer.ErrorCode = partition, kerr.PolicyViolation.Code
	of := kmsg.NewProduceResponseTopic()
	of.Topic, of.TopicID, of.Partitions = req.Topics[0].Topic, topic, []kmsg.ProduceResponseTopicPartition{answer}
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	resp.Topics = []kmsg.ProduceResponseTopic{of}
	return resp
}

// wrongDay is day with a page of records on one partition of which some belong on
// others. What makes the transactions full that forward them are records that
// belong there: the others take what is forwarded before the clock moves.
func (r *rig) wrongDay(step time.Duration, partition int32) {
	r.Helper()
	r.day(step, 10)
	page := r.history.page(50, r.now(), -1)
	misplace(page, partition)
	page = slices.DeleteFunc(page, func(rec *kgo.Record) bool { return rec.Partition != partition })
	r.publish(page)
	r.publish(r.history.page(2*batchRecords, r.now(), partition))
}
