package group

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// Whatever the broker answers to somebody who reads, or asks where a partition
// begins and ends, or who leads it: nothing is passed over and nothing read twice.
func TestFetchErrors(t *testing.T) {
	partition := []*kerr.Error{
		kerr.OffsetOutOfRange, kerr.UnknownTopicOrPartition, kerr.NotLeaderForPartition, kerr.ReplicaNotAvailable,
		kerr.KafkaStorageError, kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch, kerr.OffsetNotAvailable,
		kerr.TopicAuthorizationFailed, kerr.CorruptMessage, kerr.UnknownServerError, kerr.UnknownTopicID,
		kerr.InconsistentTopicID, kerr.UnsupportedCompressionType, kerr.OffsetMovedToTieredStorage, kerr.LeaderNotAvailable,
	}
	session := []*kerr.Error{
		kerr.FetchSessionIDNotFound, kerr.InvalidFetchSessionEpoch, kerr.FetchSessionTopicIDError, kerr.UnknownServerError,
	}
	for key, errs := range map[kmsg.Key][]*kerr.Error{
		kmsg.Fetch: partition, kmsg.ListOffsets: partition[:12], kmsg.Metadata: {kerr.UnknownTopicOrPartition, kerr.LeaderNotAvailable},
	} {
		for _, e := range errs {
			t.Run(key.Name()+" "+e.Message, func(t *testing.T) {
				t.Parallel()
				reads(key, e, false).changesNothing(t)
			})
		}
	}
	for _, e := range session {
		t.Run("session "+e.Message, func(t *testing.T) {
			t.Parallel()
			reads(kmsg.Fetch, e, true).changesNothing(t)
		})
	}
}

// reads is a fault of reading, from the fourth transaction on: the disk is lost
// now and then, so that the changelog is read too.
func reads(key kmsg.Key, e *kerr.Error, top bool) disturbance {
	var g *fleet
	var h *kfake.FaultHandle
	n := 0
	return disturbance{
		broker: func(r *fleet) []kfake.Fault { g = r; return nil },
		config: func(c *config.Config) {
			rig.FailAt(g, c, func(task int32, point string) error {
				if task != 0 || point != "applied" {
					return nil
				}
				switch n++; n {
				case 3:
					h = g.Broker.Fault(kfake.Fault{Keys: []kmsg.Key{key}, TopLevel: top, Err: e, Count: 3})
				case 4:
					if err := c.Store.Task(task).Drop(); err != nil {
						return err
					}
					return rig.ErrCrash
				}
				return nil
			})
		},
		happened: func() bool {
			hits := h != nil && h.Hits() == 3
			if h != nil {
				h.Remove()
			}
			return hits
		},
	}
}

// Leaders move all the time. This broker then makes clients believe that data was
// lost: nobody may follow them back.
func TestLeadersMove(t *testing.T) {
	t.Parallel()
	var g *fleet
	n := 0
	disturbance{
		broker: func(r *fleet) []kfake.Fault { g = r; return nil },
		config: func(c *config.Config) {
			rig.FailAt(g, c, func(task int32, point string) error {
				if task == 0 && (point == "begun" || point == "produced" || point == "applied") {
					if n++; n%3 == 0 {
						g.Broker.ShufflePartitionLeaders()
					} else if n%5 == 0 {
						_ = g.Broker.MoveTopicPartition("web", 0, int32(n%3))
					}
				}
				return nil
			})
		},
		happened: func() bool { return n > 10 },
	}.changesNothing(t, kfake.NumBrokers(3))
}

// Retention deletes what was read, which is nothing, and then what was not.
func TestDeletedWhileRunning(t *testing.T) {
	t.Parallel()
	g := newFleet(t, 1)
	var hold *kfake.FaultHandle
	in := g.start(fixture.Rules, vfs.NewMem(), nil)
	in.ready()
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
	in.caughtUp()
	if err := g.Broker.DeleteRecords("purchase", 0, 1); err != nil {
		t.Fatal(err)
	}
	g.Produce(g.Event(plan.Purchase, "berta", g.Now(), nil))
	in.caughtUp()
	hold = g.Broker.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.NotLeaderForPartition, Count: -1})
	g.Produce(g.Event(plan.Purchase, "carla", g.Now(), nil), g.Event(plan.Purchase, "dora", g.Now(), nil))
	if err := g.Broker.DeleteRecords("purchase", 0, 3); err != nil {
		t.Fatal(err)
	}
	hold.Remove()
	g.taskIs(in.o, 0, task.Stopped, "records 2 to 2 of purchase were deleted before they were read; to go on without them, set skip_deleted")
	in.stop()
	if got := g.Members(); !slices.Equal(got, []string{"anna buyer", "berta buyer"}) {
		t.Errorf("%v", got)
	}
}

// A topic is deleted and recreated: with fewer records than were read, as many
// and more; while the engine runs and while it does not; on brokers that know
// topics by id in every request, and on older ones. Nobody takes the new records
// for those after the old ones, and nobody begins from nothing, then or after a restart.
func TestTopicsCreatedAnew(t *testing.T) {
	for _, c := range []struct {
		topic   string
		records int // in the new topic
		running bool
		want    string
	}{
		{"purchase", 0, true, "purchase was read up to offset 2 and has been recreated since"},
		{"purchase", 4, true, "purchase was read up to offset 2 and has been recreated since"},
		{"purchase", 2, false, "purchase was read up to offset 2 and has been recreated since"},
		{"purchase", 4, false, "purchase was read up to offset 2 and has been recreated since"},
		{rig.App + ".repartition", 0, true, rig.App + ".repartition was read up to offset 0 and has been recreated since"},
		{rig.App + ".changelog", 0, true, rig.App + ".changelog was recreated while the engine ran"},
		{rig.App + ".changelog", 0, false, rig.App + ".changelog was recreated and is empty"},
		{rig.App + ".changelog", 1, false, rig.App + ".changelog was recreated and is empty"},
	} {
		for version, opts := range map[string][]kfake.Opt{"": nil, ", without ids in requests": {kfake.MaxVersions(kversion.V3_0_0())}} {
			when := " while stopped"
			if c.running {
				when = " while running"
			}
			t.Run(c.topic+when+version, func(t *testing.T) {
				t.Parallel()
				g := newFleet(t, 1, opts...)
				files := vfs.NewMem()
				config := func(cfg *config.Config) {
					cfg.Fixed.Watch = 20 * time.Millisecond
					cfg.Kafka = append(cfg.Kafka, kgo.MetadataMinAge(20*time.Millisecond), kgo.MetadataMaxAge(100*time.Millisecond))
				}
				in := g.start(fixture.Rules, files, config)
				in.ready()
				g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil), g.Event(plan.Purchase, "berta", g.Now(), nil))
				in.caughtUp()
				want := []string{"anna buyer", "berta buyer"}
				if !c.running {
					in.stop()
				}
				if err := g.Broker.DeleteTopic(c.topic); err != nil {
					t.Fatal(err)
				}
				if err := g.Broker.CreateTopic(c.topic, 1, map[string]string{"cleanup.policy": "compact"}); err != nil {
					t.Fatal(err)
				}
				g.Client.PurgeTopicsFromClient(c.topic)
				for i := range c.records {
					if c.topic == rig.App+".changelog" {
						g.aborted(&kgo.Record{Topic: c.topic, Key: []byte("c/anna")})
						continue
					}
					g.Produce(g.Event(plan.Purchase, "new"+strings.Repeat("x", i), g.Now(), nil))
				}
				if c.topic == rig.App+".changelog" && c.running {
					g.Produce(g.Event(plan.Purchase, "carla", g.Now(), nil)) // something to commit
				}
				if !c.running {
					in = g.start(fixture.Rules, files, config)
				}
				g.taskIs(in.o, 0, task.Stopped, c.want)
				in.stop()
				// Without ids, a client finds out only when it next asks for metadata,
				// and until then writes to the new topic.
				got := slices.DeleteFunc(g.Members(), func(m string) bool { return version != "" && m == "carla buyer" })
				if !slices.Equal(got, want) {
					t.Errorf("%v, want %v", got, want)
				}
				in = g.start(fixture.Rules, files, config)
				g.taskIs(in.o, 0, task.Stopped, "")
				in.stop()
			})
		}
	}
}

// aborted writes a record in a transaction and aborts it.
func (g *fleet) aborted(r *kgo.Record) {
	g.Helper()
	cl := g.NewClient(kgo.TransactionalID("somebody"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	err := cl.BeginTransaction()
	if err == nil {
		err = cl.ProduceSync(context.Background(), r).FirstErr()
	}
	if err == nil {
		err = cl.EndTransaction(context.Background(), kgo.TryAbort)
	}
	if err != nil {
		g.Fatal(err)
	}
}
