//go:build brokers

package brokers

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/segmill/segmill/internal/brokers/judge"
	"github.com/segmill/segmill/internal/checker"
	"github.com/segmill/segmill/internal/promise"
)

// harm does harm to three brokers and to the instances of a job under load.
type harm struct {
	*testing.T
	c      *Cluster
	j      *promise.Job
	r      *rand.Rand
	ins    []*promise.Instance
	ps     []*promise.Process
	faults map[string]int
}

func (h *harm) did(err error, format string, args ...any) {
	h.Helper()
	what := fmt.Sprintf(format, args...)
	if err != nil {
		h.Fatalf("%s: %v", what, err)
	}
	h.Logf("%s %s", time.Now().UTC().Format("15:04:05.000"), what)
}

// kill kills brokers at once, waits until the cluster has seen it if any other one
// is left to see it, and starts them again.
func (h *harm) kill(ids ...int) {
	h.Helper()
	for _, id := range ids {
		h.did(h.c.Kill(id), "kill -9 of broker %d", id)
		h.faults["broker killed"]++
	}
	if len(ids) == 1 {
		h.did(h.c.AwaitAll(h.Context()), "the others serve everything")
	} else {
		h.faults["two brokers killed at once"]++
		time.Sleep(3 * time.Second) // nobody has a majority
	}
	for _, id := range ids {
		h.did(h.c.Launch(id), "start of broker %d", id)
	}
	h.did(h.c.AwaitAll(h.Context()), "all replicas are in sync")
}

// restart kills an instance, perhaps with its disk, and starts it again.
func (h *harm) restart(i int, loseDisk bool) {
	h.Helper()
	h.ps[i].Kill()
	h.faults["instance killed"]++
	if loseDisk {
		h.ins[i].LoseDisk()
		h.faults["disk lost"]++
	}
	h.ps[i] = h.ins[i].Start()
}

// Every broker is killed in turn under load, those that coordinate the group and
// the transactions first and together with an instance; one is frozen beyond its
// session; one stops in good order; two are killed at once while all instances
// are killed too. Afterwards a run over the same inputs, with brokers and the run
// itself killed, emits record for record what one run without faults emits.
func TestBrokersDie(t *testing.T) {
	t.Parallel()
	c, r := three.get(t), promise.SeedOf(t)
	j := promise.New(t, kafka(c), promise.Setup{})
	j.Rules = judge.Rules()
	j.Load.Customers, j.Load.Late = 300, 5
	h := &harm{T: t, c: c, j: j, r: r, faults: map[string]int{}}
	rate := 150
	if long {
		rate, j.Load.Customers = 500, 8000
	}
	stop := j.Load.Begin(r.Uint64(), rate)
	for i := range 3 {
		h.ins = append(h.ins, j.Instance(fmt.Sprint(i), "standby: 1"))
		h.ps = append(h.ps, h.ins[i].Start())
	}
	j.AwaitCommit(h.ps...)
	begin := time.Now()
	rounds := 1
	if long {
		rounds = 2
	}
	for range rounds {
		h.round()
	}
	load := time.Since(begin)
	stop()
	j.Finish(40*time.Second, h.ps...)
	t.Logf("faults in %s: %v; longest silence of a partition's outputs: %s", load.Round(time.Second), h.faults, j.Silence())
	j.Judge(notExact)
	judgeIndependently(t, c, j, "")
	h.replay()
}

func (h *harm) round() {
	h.Helper()
	ctx := h.Context()
	txn, err := h.c.TxnCoordinator(ctx, h.j.App+"-0")
	h.did(err, "the transactions of partition 0 are coordinated by broker %d", txn)
	h.kill(txn)
	group, err := h.c.GroupCoordinator(ctx, h.j.App)
	h.did(err, "the group is coordinated by broker %d", group)
	h.restart(h.r.IntN(len(h.ps)), true)
	h.kill(group)
	left := 6 - txn - group
	if txn == group {
		left = txn%3 + 1
	}
	h.kill(left)
	if frozen := h.r.IntN(3) + 1; true {
		h.did(h.c.Freeze(frozen), "SIGSTOP of broker %d", frozen)
		h.did(h.c.AwaitAll(ctx), "the others serve everything")
		h.did(h.c.Thaw(frozen), "SIGCONT of broker %d", frozen)
		h.did(h.c.AwaitAll(ctx), "all replicas are in sync")
		h.faults["broker frozen"]++
	}
	stopped := h.r.IntN(3) + 1
	h.did(h.c.Stop(ctx, stopped), "SIGTERM of broker %d", stopped)
	h.did(h.c.Launch(stopped), "start of broker %d", stopped)
	h.did(h.c.AwaitAll(ctx), "all replicas are in sync")
	h.faults["broker stopped"]++

	first := h.r.IntN(3) + 1
	for i := range h.ps {
		h.restart(i, i == 0)
	}
	h.kill(first, first%3+1)
	for i := range h.ps {
		h.ps[i].Stop() // a roll
		h.ps[i] = h.ins[i].Start()
		h.faults["instance stopped"]++
	}
	h.j.AwaitCommit(h.ps...)
}

// replay runs over what ran live, with a broker dead at the start.
func (h *harm) replay() {
	h.Helper()
	over := h.j.Over(time.Now())
	in := over.Instance("replay", "commit_interval: 5ms")
	led, err := h.c.Leader(h.Context(), over.Topic("web"), 0)
	h.did(err, "broker %d leads the first partition", led)
	h.did(h.c.Kill(led), "kill -9 of broker %d", led)
	p := in.Start()
	time.Sleep(2 * time.Second)
	for n := range 4 {
		over.AwaitCommit(p)
		if !p.Running() {
			break
		}
		p.Kill()
		h.faults["replay killed"]++
		if n%2 == 1 {
			in.LoseDisk()
		}
		if n == 1 {
			h.did(h.c.Launch(led), "start of broker %d", led)
		}
		p = in.Start()
	}
	if err := p.End(); err != nil {
		h.Fatalf("run --until: %v", err)
	}
	if !h.c.running(led) {
		h.did(h.c.Launch(led), "start of broker %d", led)
	}
	h.did(h.c.AwaitAll(h.Context()), "all replicas are in sync")
	report := over.Judge(nil)
	if report.Compared == 0 {
		h.Error("no customer was compared record for record")
	}
	judgeIndependently(h.T, h.c, over, over.Until.Format(time.RFC3339Nano))
}

// notExact leaves out of what a run over history emits: records that waited for a
// dead broker are later than the grace.
func notExact(cfg *checker.Config) { cfg.Exact = func(string) bool { return false } }

// judgeIndependently lets the other judge judge, who shares no code with the
// checker and counts from what was acknowledged.
func judgeIndependently(t *testing.T, c *Cluster, j *promise.Job, until string) {
	t.Helper()
	args := []string{
		"--brokers", strings.Join(c.Addresses(), ","), "--changes", j.Topic("changes"), "--triggers", j.Topic("triggers"),
		"--dlq", j.Topic("dlq"), "--acked", j.WriteAcked(), "--rules", j.Rules,
	}
	if until != "" {
		args = append(args, "--until", until)
	}
	verdict, err := judge.Run(t.Context(), args...)
	t.Logf("the independent judge: %s", verdict)
	if err != nil {
		t.Error(err)
	}
}
