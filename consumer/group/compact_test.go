package group

import (
	"bytes"
	"cmp"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// The changelog is compacted all the time, while the engine runs and while it
// restores after losing its disk.
func TestCompaction(t *testing.T) {
	t.Parallel()
	want := undisturbed(t)
	// Its retention, which goes with it, must leave the history alone.
	g := newFleet(t, 2, kfake.BrokerConfigs(map[string]string{"log.retention.ms": "-1"}))
	g.Compacted = true
	g.History(rand.New(rand.NewPCG(matrixSeed, 0)), matrixEvents)
	g.createTopics()
	// This broker's compaction must not run while a transaction is open.
	var open sync.RWMutex
	done, stopped := make(chan struct{}), make(chan struct{})
	n := 0
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
				open.Lock()
				g.Broker.Compact()
				open.Unlock()
				n++
			}
		}
	}()
	restores := 0
	g.byHandToEnd(func(c *config.Config) {
		rig.FailAt(g, c, func(task int32, point string) error {
			switch point {
			case "begun":
				open.RLock()
			case "ended":
				open.RUnlock()
			case "applied":
				if task == 0 {
					if restores++; restores%3 == 0 {
						return cmp.Or(c.Store.Task(task).Drop(), rig.ErrCrash)
					}
				}
			}
			return nil
		})
	})
	close(done)
	<-stopped
	got := g.outcome()
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	left := 0
	for _, records := range g.Read(rig.App + ".changelog") {
		for _, r := range records {
			if string(r.Key) == changelog.PositionKey {
				left++
			}
		}
	}
	seq := uint64(0)
	for _, p := range g.Positions() {
		seq += p.Seq
	}
	if n == 0 || restores < 3 || left >= int(seq) {
		t.Errorf("compacted %d times, %d transactions of one task, %d of %d positions left", n, restores, left, seq)
	}
	g.verifyFromNothing(fixture.Rules, func(c *config.Config) { c.Time.Clock = config.EventsClock })
}

// An old disk does not bring back a customer who was erased since: it is not used
// once the tombstone may be gone.
func TestOldDisk(t *testing.T) {
	t.Parallel()
	g := newFleet(t, 1)
	g.Compacted = true
	settings := map[string]string{"cleanup.policy": "compact", "delete.retention.ms": "1"}
	if err := g.Broker.CreateTopic(rig.App+".changelog", 1, settings); err != nil {
		t.Fatal(err)
	}
	old := vfs.NewMem()
	in := g.start(fixture.Rules, old, nil)
	in.ready()
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil), g.Event(plan.Purchase, "berta", g.Now(), nil))
	in.caughtUp()
	in.stop()

	in = g.start(fixture.Rules, vfs.NewMem(), nil)
	in.ready()
	g.Produce(&kgo.Record{Topic: "profile", Key: []byte("anna")})
	in.caughtUp()
	g.Produce(g.Event(plan.Purchase, "carla", g.Now(), nil)) // so that the tombstone is not in the last batch
	in.caughtUp()
	in.stop()
	g.Eventually("the tombstone is gone", func() bool {
		g.Broker.Compact()
		return !slices.ContainsFunc(g.Read(rig.App + ".changelog")[0], func(r *kgo.Record) bool { return string(r.Key) == changelog.CustomerPrefix+"anna" })
	})

	g.Shift.Store(int64(replica.TombstonesKept - replica.StaleMargin + time.Minute))
	var log bytes.Buffer
	in = g.start(fixture.Rules, old, func(c *config.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	in.caughtUp()
	if _, ok, err := in.store.Task(0).Customer(nil, "anna"); ok || err != nil {
		t.Errorf("anna is back: %v", err)
	}
	in.stop()
	// By its age, and not only because it does not add up.
	if s := log.String(); !bytes.Contains([]byte(s), []byte("it is too old")) || bytes.Contains([]byte(s), []byte("local state is wrong")) {
		t.Error(s)
	}
	if got := g.Members(); !slices.Equal(got, []string{"berta buyer", "carla buyer"}) {
		t.Error(got)
	}
}
