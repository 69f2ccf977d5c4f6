package group

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
	"github.com/segmill/segmill/state"
)

// A local copy that is wrong is found, dropped, and restored from the changelog.
func TestWrongLocalState(t *testing.T) {
	wake := func(b []byte) (state.Millis, error) { return engine.WakeOf(b) }
	for name, spoil := range map[string]func(*testing.T, *state.Task){
		"a customer is missing": func(t *testing.T, task *state.Task) {
			b, ok, err := task.Customer(nil, "anna")
			if !ok || err != nil {
				t.Fatal(ok, err)
			}
			w, err := wake(b)
			if err != nil {
				t.Fatal(err)
			}
			if err := task.Apply([]state.Change{{Customer: "anna", Old: w, New: engine.Never}}, nil); err != nil {
				t.Fatal(err)
			}
		},
		"a position of nobody": func(t *testing.T, task *state.Task) {
			m, _, err := task.Meta()
			if err != nil {
				t.Fatal(err)
			}
			m.Position = []byte{1, 1} // its format, and flags
			if err := task.Apply(nil, &m); err != nil {
				t.Fatal(err)
			}
		},
		"of another topic": func(t *testing.T, task *state.Task) {
			m, _, err := task.Meta()
			if err != nil {
				t.Fatal(err)
			}
			m.TopicID[3]++
			if err := task.Apply(nil, &m); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newFleet(t, 1)
			files := vfs.NewMem()
			in := g.start(fixture.Rules, files, nil)
			in.ready()
			g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil), g.Event(plan.Purchase, "berta", g.Now(), nil))
			in.caughtUp()
			in.stop()
			s := g.Store(files)
			spoil(t, s.Task(0))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			in = g.start(fixture.Rules, files, nil)
			g.Eventually("the copy is right again", func() bool {
				v, err := replica.Verify(context.Background(), in.store, 0)
				return err == nil && v.Customers == 2 && in.o.Status().Ready
			})
			g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil), g.Event(plan.Purchase, "anna", g.Now(), nil))
			g.Eventually("anna is frequent", func() bool { return slices.Contains(g.Members(), "anna frequent") })
			in.stop()
		})
	}
}

// A changelog that is wrong stops the partition, and says so.
func TestWrongChangelog(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*fleet)
		want  string
	}{
		"a customer that no position knows": {func(g *fleet) {
			g.Produce(&kgo.Record{Topic: rig.App + ".changelog", Key: []byte("c/nobody"), Value: nil},
				&kgo.Record{Topic: rig.App + ".changelog", Key: []byte("c/anna"), Value: nil})
		}, "digest"},
		"a key that nobody writes": {func(g *fleet) {
			g.Produce(&kgo.Record{Topic: rig.App + ".changelog", Key: []byte("hello")})
		}, "somebody else writes"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newFleet(t, 1)
			files := vfs.NewMem()
			in := g.start(fixture.Rules, files, nil)
			in.ready()
			g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
			in.caughtUp()
			in.stop()
			c.spoil(g)
			in = g.start(fixture.Rules, files, nil)
			g.Eventually("stopped", func() bool {
				st := in.o.Status()
				return len(st.Tasks) == 1 && st.Tasks[0].State == task.Stopped && strings.Contains(st.Tasks[0].Error, c.want)
			})
			in.stop()
		})
	}
}

// Records that retention has deleted before they were read are not passed over in
// silence.
func TestDeletedRecords(t *testing.T) {
	g := newFleet(t, 1)
	files := vfs.NewMem()
	in := g.start(fixture.Rules, files, nil)
	in.ready()
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
	in.caughtUp()
	in.stop()
	g.Produce(g.Event(plan.Purchase, "berta", g.Now(), nil), g.Event(plan.Purchase, "carla", g.Now(), nil))
	if err := g.Broker.DeleteRecords("purchase", 0, 2); err != nil {
		t.Fatal(err)
	}
	in = g.start(fixture.Rules, files, nil)
	g.Eventually("stopped", func() bool {
		st := in.o.Status()
		return len(st.Tasks) == 1 && st.Tasks[0].State == task.Stopped && strings.Contains(st.Tasks[0].Error, "records 1 to 1 of purchase were deleted")
	})
	in.stop()
	in = g.start(fixture.Rules, files, func(c *config.Config) { c.SkipDeleted = true })
	in.caughtUp()
	in.stop()
	if got := g.Members(); !slices.Equal(got, []string{"anna buyer", "carla buyer"}) {
		t.Errorf("%v", got)
	}
}

// The end of the changelog is asked for including what is not committed
// (KAFKA-10167); this broker ends transactions at once, so the result proves nothing.
func TestChangelogEndIsReadUncommitted(t *testing.T) {
	g := newFleet(t, 1)
	asked := g.Broker.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: rig.App + ".changelog", Observe: true, Count: -1,
		When: func(r kmsg.Request) bool { return r.(*kmsg.ListOffsetsRequest).IsolationLevel == 0 },
	})
	wrong := g.Broker.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: rig.App + ".changelog", Observe: true, Count: -1,
		When: func(r kmsg.Request) bool { return r.(*kmsg.ListOffsetsRequest).IsolationLevel != 0 },
	})
	in := g.start(fixture.Rules, vfs.NewMem(), nil)
	in.ready()
	in.stop()
	if asked.Hits() == 0 || wrong.Hits() > 0 {
		t.Errorf("asked %d times uncommitted, %d times committed", asked.Hits(), wrong.Hits())
	}
}
