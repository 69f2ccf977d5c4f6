package group

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/consumer/topics"
	"github.com/segmill/segmill/internal/rig"
)

// One fault at a time: what all of these tests share. Each runs over the same
// history while one thing goes wrong, and wants what a run without it gives.

const (
	matrixSeed   = 5
	matrixEvents = 300
)

// outcome is what a run over the history leaves.
type outcome struct {
	Transcript              string
	Folded, Dead, Forwarded uint64
}

var calm struct {
	sync.Once
	outcome
}

// undisturbed is what a run without a fault leaves.
func undisturbed(t *testing.T) outcome {
	t.Helper()
	calm.Do(func() {
		g := newFleet(t, 2)
		g.History(rand.New(rand.NewPCG(matrixSeed, 0)), matrixEvents)
		g.byHandToEnd(nil)
		calm.outcome = g.outcome()
	})
	if calm.Transcript == "" {
		t.Fatal("the run without a fault gave nothing")
	}
	return calm.outcome
}

func (g *fleet) outcome() outcome {
	g.Helper()
	g.Members()
	o := outcome{Transcript: g.Transcript()}
	o.Folded, o.Dead, o.Forwarded = g.Totals()
	return o
}

// disturbance is one thing that goes wrong.
type disturbance struct {
	// broker installs it, once the topics are there; it may be nil.
	broker func(*fleet) []kfake.Fault
	// config installs it in the engine; it may be nil.
	config func(*config.Config)
	// happened reports whether it did; nil if broker's faults tell.
	happened func() bool
}

// changesNothing runs over the history under a fault, and compares.
func (f disturbance) changesNothing(t *testing.T, opts ...kfake.Opt) {
	t.Helper()
	g := newFleet(t, 2, opts...)
	g.History(rand.New(rand.NewPCG(matrixSeed, 0)), matrixEvents)
	g.createTopics()
	var handles []*kfake.FaultHandle
	if f.broker != nil {
		for _, one := range f.broker(g) {
			handles = append(handles, g.Broker.Fault(one))
		}
	}
	g.byHandToEnd(f.config)
	for i, h := range handles {
		h.Remove() // the test still has to read what came out
		if h.Hits() == 0 {
			t.Errorf("fault %d did not happen", i)
		}
	}
	if f.happened != nil && !f.happened() {
		t.Error("the fault did not happen")
	}
	if diff := gocmp.Diff(undisturbed(t), g.outcome()); diff != "" {
		t.Error(diff)
	}
}

// createTopics makes the topics of the engine, so that faults can name them.
func (g *fleet) createTopics() {
	g.Helper()
	c := config.Config{App: rig.App, Changes: "changes", Triggers: "triggers"}
	for topic, settings := range topics.Own(&c) {
		plain := map[string]string{}
		for k, v := range settings {
			plain[k] = *v
		}
		if err := g.Broker.CreateTopic(topic, g.Partitions, plain); err != nil {
			g.Fatal(err)
		}
	}
}

// matrixConfig makes a Config read the history to its end, in batches that do not
// depend on how fast that goes.
func matrixConfig(c *config.Config) {
	rig.OverHistory(c)
	c.Batch.Interval = time.Hour
	c.Group.SessionTimeout = 100 * time.Millisecond // what a fenced task waits
	c.Group.RebalanceTimeout = 50 * time.Millisecond
	c.Kafka = append(c.Kafka, kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }), kgo.MetadataMinAge(20*time.Millisecond))
}

// byHandToEnd runs every partition over the history to its end, in no group.
func (g *fleet) byHandToEnd(change func(*config.Config)) {
	g.Helper()
	o, end := g.byHand(func(c *config.Config) {
		matrixConfig(c)
		if change != nil {
			change(c)
		}
	})
	defer end()
	for p := range g.Partitions {
		o.startByHand(p)
	}
	select {
	case <-o.Until.Over():
	case err := <-o.failed:
		g.Errorf("run: %v", err)
	case <-time.After(time.Minute):
		g.Errorf("no end within a minute: %+v", o.Status())
	}
}

// asks counts the requests of some kinds.
func (g *fleet) asks(keys ...kmsg.Key) *kfake.FaultHandle {
	return g.Broker.Fault(kfake.Fault{Keys: keys, Observe: true, Count: -1})
}

// taskIs waits until the task of a partition is in a state and has an error with
// some text.
func (g *fleet) taskIs(o *Owner, p int32, state task.State, text string) {
	g.Helper()
	var last task.Status
	defer func() {
		if g.Failed() {
			g.Logf("partition %d: %s %s", p, last.State, last.Error)
		}
	}()
	g.Eventually(fmt.Sprintf("partition %d is %s: %s", p, state, text), func() bool {
		for _, t := range o.Status().Tasks {
			if t.Partition == p {
				last = t
				return t.State == state && strings.Contains(t.Error, text)
			}
		}
		return false
	})
}

// noSpin makes sure that something that was refused some times is not asked for
// without a pause: from now on each wait is twice as long as the one before.
func (g *fleet) noSpin(h *kfake.FaultHandle, waits int) {
	g.Helper()
	const most = 20 // in two attempts, of which each may be several requests
	from, wait := h.Hits(), replica.MinBackoff<<waits/2
	if rig.Within(wait, func() bool { return h.Hits()-from > most }) {
		g.Errorf("%d requests within %v, want %d at most", h.Hits()-from, wait, most)
	}
}
