package ruled_test

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/group"
	"github.com/segmill/segmill/consumer/ruled"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// run runs an instance until the condition is true.
func run(g *rig.Rig, text string, files vfs.FS, done func() bool) {
	g.Helper()
	store := g.Store(files)
	cfg := g.Config(text, store)
	cfg.Apply = true
	o, err := group.New(cfg)
	if err != nil {
		g.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	g.Eventually("the rules that are wanted", done)
	stop()
	if err := <-ended; err != nil {
		g.Fatal(err)
	}
	if err := store.Close(); err != nil {
		g.Fatal(err)
	}
}

// A partition is under the rules of its last position; one without has none.
func TestPartitions(t *testing.T) {
	g := rig.New(t, 2)
	cluster, err := broker.Connect(broker.Settings{Client: g.Kafka, Now: g.Now, Log: fixture.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	r := &ruled.Reader{Cluster: cluster, Topic: rig.App + ".changelog"}
	look := func(r *ruled.Reader) []ruled.Partition {
		t.Helper()
		l, err := r.Partitions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	if l := look(r); l != nil {
		t.Error(l, "without a changelog")
	}
	before := changelog.HashVersions(fixture.NewEngine(t, fixture.Rules).Versions())
	after := changelog.HashVersions(fixture.NewEngine(t, fixture.OtherRules).Versions())
	files := vfs.NewMem()
	customer := g.CustomersOf(1, 1)[0]
	g.Produce(g.Event(plan.Purchase, customer, g.Now(), nil))
	run(g, fixture.Rules, files, func() bool {
		l := look(r)
		return len(l) == 2 && !l[1].Empty
	})
	if l := look(r); !l[1].Is(before) || l[1].Is(after) || l[1].Clock == changelog.Never || l[0].Number != 0 || l[1].Number != 1 {
		t.Errorf("%+v", l)
	}
	run(g, fixture.OtherRules, files, func() bool { return look(r)[1].Is(after) })
	for _, l := range [][]ruled.Partition{look(r), look(&ruled.Reader{Cluster: cluster, Topic: rig.App + ".changelog"})} {
		if l[1].Is(before) || !l[1].Is(after) {
			t.Errorf("%+v", l)
		}
	}
	p := ruled.Partition{Versions: after, Changing: true}
	if p.Is(after) {
		t.Error("a change that is in progress has not been made")
	}
}
