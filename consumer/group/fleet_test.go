package group

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/rig"
	"github.com/segmill/segmill/state"
)

// fleet is a rig, and the instances that run on it.
type fleet struct{ *rig.Rig }

// newFleet starts a broker with the inputs. Options come after those that all share.
func newFleet(t testing.TB, partitions int32, opts ...kfake.Opt) *fleet {
	t.Helper()
	return &fleet{rig.New(t, partitions, opts...)}
}

// newFleetOn is newFleet with options of the broker, and of every client.
func newFleetOn(t testing.TB, partitions int32, opts []kfake.Opt, clients ...kgo.Opt) *fleet {
	t.Helper()
	return &fleet{rig.NewOn(t, partitions, opts, clients...)}
}

// instance is an Owner that runs.
type instance struct {
	g      *fleet
	o      *Owner
	store  *state.Store
	cancel context.CancelFunc
	done   chan error
}

// start runs an Owner on files.
func (g *fleet) start(text string, files vfs.FS, change func(*config.Config)) *instance {
	g.Helper()
	in := &instance{g: g, store: g.Store(files), done: make(chan error, 1)}
	cfg := g.Config(text, in.store)
	if change != nil {
		change(&cfg)
	}
	var err error
	if in.o, err = New(cfg); err != nil {
		g.Fatal(err)
	}
	var ctx context.Context
	ctx, in.cancel = context.WithCancel(context.Background())
	go func() { in.done <- in.o.Run(ctx) }()
	g.Cleanup(in.cancel)
	return in
}

// stop ends an instance in good order.
func (in *instance) stop() {
	in.g.Helper()
	in.cancel()
	if err := <-in.done; err != nil {
		in.g.Errorf("run: %v", err)
	}
	if err := in.store.Close(); err != nil {
		in.g.Errorf("close: %v", err)
	}
}

// crash ends an instance as if it were killed: nothing is committed. The group
// is left, so that the next one need not wait for the session to time out.
func (in *instance) crash() {
	in.g.Helper()
	in.o.mu.Lock()
	if in.o.kill != nil {
		in.o.kill()
	}
	in.o.mu.Unlock()
	in.stop()
}

// wait waits for a run with an end.
func (in *instance) wait() error {
	err := <-in.done
	in.cancel()
	if cerr := in.store.Close(); cerr != nil {
		in.g.Errorf("close: %v", cerr)
	}
	return err
}

// refused waits for the error of an instance that must not run, nil if it does all the same.
func (in *instance) refused() error {
	select {
	case err := <-in.done:
		in.done <- err
		return in.wait()
	case <-time.After(20 * time.Second):
		in.crash()
		return nil
	}
}

// caughtUp waits until an instance has taken everything.
func (in *instance) caughtUp() {
	in.g.Helper()
	var st Status
	defer func() {
		if in.g.Failed() {
			in.g.Logf("its last state: %+v", st)
		}
	}()
	in.g.Eventually("caught up", func() bool {
		st = in.o.Status()
		if !st.Ready || len(st.Tasks) == 0 || st.Lag > 0 {
			return false
		}
		ends := in.g.Ends("web", "purchase", "profile")
		for _, t := range st.Tasks {
			for topic, end := range ends {
				if t.Sources[changelog.Input{Topic: topic}].Next < end[t.Partition] {
					return false
				}
			}
		}
		return true
	})
}

func (in *instance) ready() {
	in.g.Helper()
	in.g.Eventually("ready", func() bool {
		st := in.o.Status()
		return st.Ready && len(st.Tasks) == int(in.g.Partitions)
	})
}

// verifyFromNothing restores every partition on an empty disk and checks that the
// digest comes out right: acquiring does that.
func (g *fleet) verifyFromNothing(text string, change func(*config.Config)) {
	g.Helper()
	in := g.start(text, vfs.NewMem(), change)
	in.ready()
	for p := range g.Partitions {
		v, err := replica.Verify(context.Background(), in.store, p)
		if err != nil && v.Seq > 0 {
			g.Errorf("partition %d restored from nothing: %v", p, err)
		}
	}
	in.stop()
}

// heard collects the effects that OnEffects is called with.
type heard struct {
	mu   sync.Mutex
	list []string
}

func (h *heard) add(_ int32, effects []engine.Effect) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range effects {
		e := &effects[i]
		h.list = append(h.list, fmt.Sprintf("%s %v %s #%d", e.Customer, e.Action, e.Name, e.Sequence))
	}
}

func (h *heard) sorted() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedFunc(slices.Values(h.list), cmp.Compare[string])
}

// isAny takes every topic for an input.
func isAny(string) bool { return true }
