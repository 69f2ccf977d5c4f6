package group

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// The coordinator takes another member for this instance, though there is none: so
// it is on a real broker when one that stood still wakes up beside the one that
// took its place. The instance joins again. If it is shut out at once once more,
// somebody else has its name, and it ends.
func TestFencedByMistake(t *testing.T) {
	t.Parallel()
	g := newFleet(t, 3)
	in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) { c.Group.Instance = "a" })
	in.ready()
	shutOut := func() {
		g.Broker.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Group: rig.App, Err: kerr.FencedInstanceID})
	}
	shutOut()
	g.Eventually("it is shut out and joins again", func() bool {
		in.o.mu.Lock()
		defer in.o.mu.Unlock()
		return !in.o.fence.last.IsZero() && in.o.refused == "" && len(in.o.tasks) == 3
	})
	g.Produce(g.Event(plan.Purchase, g.CustomersOf(0, 1)[0], g.Now(), nil))
	in.caughtUp()
	for {
		shutOut()
		select {
		case err := <-in.done:
			if !errors.Is(err, kerr.FencedInstanceID) {
				t.Errorf("it ended: %v", err)
			}
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// The group refuses an instance twice within a second and then takes it. The second
// refusal is logged a second after the first, when the instance is in the group: it
// is not shown as being outside by what is old.
func TestOldErrorsOfTheGroup(t *testing.T) {
	t.Parallel()
	g := newFleet(t, 1)
	log := &logged{}
	in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) { c.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	in.ready()
	g.Broker.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat, kmsg.JoinGroup}, Group: rig.App, Count: 2, Err: kerr.GroupAuthorizationFailed})
	g.Eventually("both refusals are logged", func() bool {
		log.mu.Lock()
		defer log.mu.Unlock()
		return strings.Count(log.b.String(), kerr.GroupAuthorizationFailed.Message) == 2
	})
	in.caughtUp()
	in.stop()
}
