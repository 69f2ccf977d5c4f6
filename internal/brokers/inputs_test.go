//go:build brokers

package brokers

import (
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/internal/promise"
)

// Records are deleted that were not read. The partition stops and names the way
// on; with it the engine goes on, and says what it left out.
func TestUnreadDeleted(t *testing.T) {
	parallel(t)
	r := promise.SeedOf(t)
	j := promise.New(t, kafka(one.get(t)), promise.Setup{Partitions: 1})
	in := j.Instance("a", "")
	p := in.Start()
	j.Load.For(r, time.Second, 100)
	j.Load.Flush()
	j.AwaitRead()
	p.Stop()
	j.Load.For(r, time.Second, 100)
	j.Load.Flush()
	ends, err := j.Admin.ListEndOffsets(t.Context(), j.Topic("purchase"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Admin.DeleteRecords(t.Context(), ends.Offsets()); err != nil {
		t.Fatal(err)
	}
	p = in.Start()
	in.AwaitLog("were deleted before they were read; to go on without them, set skip_deleted")
	p.Stop()
	in = j.Instance("b", "skip_deleted: true")
	p = in.Start()
	in.AwaitLog("records were deleted before they were read; going on without them")
	j.Load.For(r, time.Second, 100)
	j.Load.Flush()
	j.AwaitRead()
	p.Stop()
}

// An input is deleted and created again under the same name while the engine runs:
// its offsets begin at 0 and mean other records. The partition stops.
func TestInputCreatedAnew(t *testing.T) {
	parallel(t)
	r := promise.SeedOf(t)
	j := promise.New(t, kafka(one.get(t)), promise.Setup{Partitions: 1})
	in := j.Instance("a", "")
	p := in.Start()
	j.Load.For(r, time.Second, 100)
	j.Load.Flush()
	j.AwaitRead()
	before := len(j.Records(j.Topic("changes")))
	if _, err := j.Admin.DeleteTopic(t.Context(), j.Topic("web")); err != nil {
		t.Fatal(err)
	}
	j.Await("the topic is gone", func() error {
		_, err := j.Admin.DeleteTopic(t.Context(), j.Topic("web"))
		if err == nil || !strings.Contains(err.Error(), "UNKNOWN_TOPIC") {
			return err
		}
		return nil
	})
	j.CreateTopic(j.Topic("web"), 1)
	in.AwaitLog("has been recreated since")
	cl, err := kgo.NewClient(j.Options(kgo.UnknownTopicRetries(-1))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	rec := j.Load.Event(r, time.Now())
	rec.Topic = j.Topic("web")
	if err := cl.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	p.Stop()
	if after := len(j.Records(j.Topic("changes"))); after != before {
		t.Errorf("%d changes, %d before: the new topic's records were taken for the old one's", after, before)
	}
}

// A producer begins a transaction on an input, writes, and never ends it. The
// partition waits for the broker's timeout, and then goes on without what the
// transaction wrote.
func TestHungTransaction(t *testing.T) {
	parallel(t)
	r := promise.SeedOf(t)
	j := promise.New(t, kafka(one.get(t)), promise.Setup{Rules: promise.Seconds, Partitions: 1})
	in := j.Instance("a", "")
	p := in.Start()
	stop := j.Load.Begin(r.Uint64(), 60)
	j.AwaitCommit(p)
	const timeout = 6 * time.Second
	cl, err := kgo.NewClient(j.Options(kgo.TransactionalID(j.App+"-hung"), kgo.TransactionTimeout(timeout))...)
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	rec := j.Load.Event(r, time.Now())
	rec.Topic = j.Topic("web")
	begin := time.Now()
	if err := cl.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
		t.Fatal(err)
	}
	cl.Close() // nothing ends the transaction
	stable := func() int64 {
		ends, err := j.Admin.ListCommittedOffsets(t.Context(), j.Topic("web"))
		if err != nil {
			t.Fatal(err)
		}
		o, _ := ends.Lookup(j.Topic("web"), 0)
		return o.Offset
	}
	if at := stable(); at > rec.Offset {
		t.Fatalf("the last stable offset %d is beyond the hung transaction's %d", at, rec.Offset)
	}
	time.Sleep(2 * time.Second)
	if at := stable(); at > rec.Offset {
		t.Error("nothing hung")
	}
	j.Await("the broker ends the transaction", func() error {
		if at := stable(); at <= rec.Offset {
			return errHung
		}
		return nil
	})
	t.Logf("the partition hung for %s", time.Since(begin).Round(time.Millisecond))
	stop()
	j.Finish(9*time.Second, p)
	j.Judge(notExact)
}

// Half of the records come from a producer with another partitioner than Java's:
// they are forwarded to their customers' partitions.
func TestPartitioners(t *testing.T) {
	parallel(t)
	r := promise.SeedOf(t)
	j := promise.New(t, kafka(one.get(t)), promise.Setup{Rules: promise.Seconds})
	in := j.Instance("a", "")
	p := in.Start()
	other, err := kgo.NewClient(j.Options(kgo.UnknownTopicRetries(-1), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(
		kgo.KafkaHasher(func(key []byte) uint32 { return crc32.ChecksumIEEE(key) }))))...)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for range 600 {
		rec := j.Load.Event(r, time.Now())
		if r.IntN(2) == 0 {
			j.Load.Publish(rec)
			continue
		}
		if err := other.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	j.Load.Flush()
	j.Finish(9*time.Second, p)
	if report := j.Judge(notExact); report.Forwarded < 100 {
		t.Errorf("only %d records were forwarded", report.Forwarded)
	}
}

// Inputs have fewer and more partitions than there are tasks, and get more of them while
// two instances run, which are killed before they have noticed and after.
func TestInputsGrow(t *testing.T) {
	parallel(t)
	r := promise.SeedOf(t)
	j := promise.New(t, kafka(three.get(t)), promise.Setup{
		Rules: promise.Seconds, Sizes: map[string]int32{"web": 3, "purchase": 7, "email": 1},
	})
	j.Load.Customers = 100
	stop := j.Load.Begin(r.Uint64(), 60)
	var ins [2]*promise.Instance
	var ps [2]*promise.Process
	for i := range ins {
		ins[i] = j.Instance(strconv.Itoa(i), "")
		ps[i] = ins[i].Start()
	}
	j.AwaitCommit(ps[:]...)
	j.Grow("purchase", 9)
	j.Grow("web", 5)
	j.Await("added partitions are read", func() error {
		// By the offsets: a task that has to acquire its partition again meanwhile takes
		// them up without a word.
		offsets, err := j.Admin.FetchOffsets(j.Context(), j.App+"-progress")
		if err != nil {
			return err
		}
		n := 0
		for topic, first := range map[string]int32{"purchase": 7, "web": 3} {
			for p := first; p < first+2; p++ {
				if at, ok := offsets.Lookup(j.Topic(topic), p); ok && at.Err == nil {
					n++
				}
			}
		}
		if n < 4 {
			return fmt.Errorf("%d of 4", n)
		}
		return nil
	})
	for i := range ps {
		ps[i].Kill()
	}
	ins[1].LoseDisk()
	for i := range ps {
		ps[i] = ins[i].Start()
	}
	j.AwaitCommit(ps[:]...)
	j.Grow("purchase", 12)
	ps[0].Kill() // nobody has noticed
	time.Sleep(time.Second)
	ps[0] = ins[0].Start()
	j.AwaitCommit(ps[:]...)
	stop()
	j.Finish(9*time.Second, ps[:]...)
	if report := j.Judge(notExact); report.Forwarded < 100 {
		t.Errorf("only %d records were forwarded", report.Forwarded)
	}
}
