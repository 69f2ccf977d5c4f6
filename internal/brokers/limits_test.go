//go:build brokers

package brokers

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/segmill/segmill/internal/promise"
)

var errHung = errors.New("it hangs")

// An engine is idle for longer than the broker remembers transactional ids. The
// next batch is dropped, the partition acquired again, and nothing is lost.
func TestIdsExpire(t *testing.T) {
	parallel(t)
	r := promise.SeedOf(t)
	j := promise.New(t, kafka(one.get(t)), promise.Setup{Rules: promise.Seconds})
	in := j.Instance("a", "")
	p := in.Start()
	j.Load.For(r, 2*time.Second, 60)
	j.Load.Flush()
	j.AwaitRead()
	j.Await("the broker forgets the transactional ids", func() error {
		for n := range 4 {
			id := fmt.Sprintf("%s-%d", j.App, n)
			d, err := j.Admin.DescribeTransactions(t.Context(), id)
			if err != nil {
				return err
			}
			if !errors.Is(d[id].Err, kerr.TransactionalIDNotFound) {
				return fmt.Errorf("%s: %s, %w", id, d[id].State, d[id].Err)
			}
		}
		return nil
	})
	if !p.Running() {
		t.Fatal("the engine has ended")
	}
	j.Load.For(r, 2*time.Second, 60)
	j.Load.Flush()
	j.Finish(9*time.Second, p)
	j.Judge(nil)
	if !strings.Contains(in.Logged(), "INVALID_PRODUCER_ID_MAPPING") {
		t.Error("no batch met an id that has expired")
	}
}

// The changelog is compacted as hard as Kafka can, while the engine writes it. All
// disks are lost, and every partition is restored from what is left.
func TestCompactedChangelog(t *testing.T) {
	parallel(t)
	r := promise.SeedOf(t)
	j := promise.New(t, kafka(one.get(t)), promise.Setup{Rules: promise.Seconds})
	j.Compacted = true
	var ins [2]*promise.Instance
	var ps [2]*promise.Process
	for i := range ins {
		ins[i] = j.Instance(fmt.Sprint(i), "")
		ps[i] = ins[i].Start()
	}
	stop := j.Load.Begin(r.Uint64(), 60)
	j.AwaitCommit(ps[:]...)
	set := func(name, value string) kadm.AlterConfig {
		return kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value}
	}
	answers, err := j.Admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{
		set("segment.ms", "1000"), set("min.cleanable.dirty.ratio", "0.001"), set("max.compaction.lag.ms", "1000"), set("min.compaction.lag.ms", "0"),
	}, j.Topic("changelog"))
	if err == nil && len(answers) == 1 {
		err = answers[0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		time.Sleep(4 * time.Second)
		j.Await("the changelog is compacted", func() error {
			written, left := j.Written("changelog"), len(j.Records(j.Topic("changelog")))
			if int64(left)*2 > written {
				return fmt.Errorf("%d of %d records are left", left, written)
			}
			t.Logf("%d of %d records are left", left, written)
			return nil
		})
		for i := range ins {
			ps[i].Kill()
			ins[i].LoseDisk()
		}
		for i := range ins {
			ps[i] = ins[i].Start()
		}
		j.AwaitCommit(ps[:]...)
	}
	stop()
	j.Finish(9*time.Second, ps[:]...)
	j.Judge(nil)
}
