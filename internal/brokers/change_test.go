//go:build brokers

package brokers

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/segmill/segmill/internal/promise"
)

// The rule files change. The engine runs on under the rules in force and says so, and
// rebuilds when it is told to, though it is killed meanwhile: members are then those of a
// new app that reads everything from the beginning.
func TestRebuild(t *testing.T) {
	testChange(t, "--rebuild", "count(purchase, days(7)) >= 3")
}

// The same of a change that keeps facts, and needs others of a longer window.
func TestApply(t *testing.T) { testChange(t, "--apply", "count(purchase, days(9)) >= 3") }

// testChange changes what a rule of the job asks for, by a flag of run.
func testChange(t *testing.T, flag, condition string) {
	t.Helper()
	parallel(t)
	r := promise.SeedOf(t)
	j := promise.New(t, kafka(one.get(t)), promise.Setup{})
	in := j.Instance("a", "commit_interval: 5ms")
	p := in.Start()
	j.Load.For(r, 3*time.Second, 500)
	j.Load.Flush()
	j.AwaitRead()
	p.Stop()
	j.Rules = j.RuleFile(promise.Days, "count(purchase, days(7)) >= 2", condition)
	in = j.Instance("b", "commit_interval: 5ms")
	p = in.Start()
	in.AwaitLog("the files are not in force")
	p.Stop()
	for range 3 {
		// The change may be complete after any of the deaths: then this is to commit.
		j.Load.For(r, 100*time.Millisecond, 100)
		j.Load.Flush()
		p = in.Start(flag)
		j.AwaitCommit(p)
		p.Kill()
		in.LoseDisk()
	}
	p = in.Start(flag)
	j.Load.For(r, time.Second, 100)
	j.Load.Flush()
	j.Finish(0, p)
	sameMembers(t, j)
}

// Orders are deleted that rules look back to. A rebuild is refused, says what would be
// lost, and changes nothing; when the loss is accepted, it goes on.
func TestRebuildRefusesLoss(t *testing.T) {
	parallel(t)
	r := promise.SeedOf(t)
	j := promise.New(t, kafka(one.get(t)), promise.Setup{Partitions: 1})
	in := j.Instance("a", "")
	p := in.Start()
	j.Load.For(r, 2*time.Second, 300)
	j.Load.Flush()
	j.AwaitRead()
	p.Stop()
	ends, err := j.Admin.ListEndOffsets(t.Context(), j.Topic("purchase"))
	if err != nil {
		t.Fatal(err)
	}
	half := kadm.Offsets{}
	ends.Each(func(o kadm.ListedOffset) { half.AddOffset(o.Topic, o.Partition, o.Offset/2, -1) })
	if _, err := j.Admin.DeleteRecords(t.Context(), half); err != nil {
		t.Fatal(err)
	}
	before := len(j.Records(j.Topic("changes")))
	j.Rules = j.RuleFile(promise.Days, "count(purchase, days(7)) >= 2", "count(purchase, days(7)) >= 3")
	in = j.Instance("b", "")
	if err := in.Start("--rebuild").End(); err == nil {
		t.Error("it rebuilds what has lost facts")
	}
	in.AwaitLog("/0 begins on ")
	in.AwaitLog("--rebuild --accept-loss")
	if got := len(j.Records(j.Topic("changes"))); got != before {
		t.Errorf("%d changes, before it was refused %d", got, before)
	}
	p = in.Start("--rebuild", "--accept-loss")
	in.AwaitLog("customers have lost facts")
	j.AwaitRead()
	p.Stop()
}

// The state of four partitions is moved to eight. Sequences go on, and members are
// those of a new app that reads everything.
func TestReshard(t *testing.T) {
	parallel(t)
	r := promise.SeedOf(t)
	k := kafka(one.get(t))
	j := promise.New(t, k, promise.Setup{Partitions: 4})
	in := j.Instance("a", "")
	p := in.Start()
	j.Load.For(r, 2*time.Second, 200)
	j.Load.Flush()
	j.Finish(0, p)
	wider := promise.New(t, k, promise.Setup{Partitions: 8})
	other := wider.Instance("b", "")
	out, err := j.Do("state", "reshard", "--from", in.Config, "-c", other.Config)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("%s", out)
	p = other.Start()
	wider.Load.Continue(j.Load)
	wider.Load.For(r, 2*time.Second, 200)
	wider.Load.Flush()
	wider.Finish(0, p)
	wider.Before = j
	sameMembers(t, wider)
	if err := in.Start().End(); err == nil {
		t.Error("the old app runs still")
	}
}

// Customers are erased: nothing of them stays in the changelog, they are told to
// have left, and do not come back by what was read before.
func TestErase(t *testing.T) {
	parallel(t)
	r := promise.SeedOf(t)
	j := promise.New(t, kafka(one.get(t)), promise.Setup{})
	j.Load.Bad = 0
	in := j.Instance("a", "")
	p := in.Start()
	j.Load.For(r, 2*time.Second, 200)
	j.Load.Flush()
	j.AwaitRead()
	erased := []string{"c1", "c2"}
	if out, err := j.Do(append([]string{"erase", "-c", in.Config}, erased...)...); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	j.AwaitRead()
	p.Stop()
	in.LoseDisk()
	p = in.Start() // nothing comes back from the changelog
	j.Finish(0, p)
	for _, id := range erased {
		if n := j.Live(id); n != 0 {
			t.Errorf("%d records of %s are in the changelog", n, id)
		}
		if got := j.Members()[id]; len(got) != 0 {
			t.Errorf("%s is still in %v", id, got)
		}
		if !j.Told(id, "erased") {
			t.Errorf("no receipt of the erasure of %s", id)
		}
	}
	if j.Live("c3") == 0 || len(j.Members()["c3"]) == 0 {
		t.Error("another customer is gone")
	}
	j.Judge(nil)
}

// sameMembers compares the members that a job has told with those that a new one
// tells which reads all acknowledged records.
func sameMembers(t *testing.T, j *promise.Job) (fresh *promise.Job) {
	t.Helper()
	fresh = j.Fresh()
	in := fresh.Instance("fresh", "")
	if err := in.Start().End(); err != nil {
		t.Fatalf("run --until: %v", err)
	}
	got, want := j.Members(), fresh.Members()
	if len(want) < 20 {
		t.Errorf("only %d customers are members of anything", len(want))
	}
	for id := range want {
		if !maps.Equal(got[id], want[id]) {
			t.Errorf("%s is in %v, and should be in %v", id, got[id], want[id])
		}
	}
	for id := range got {
		if want[id] == nil && len(got[id]) > 0 {
			t.Errorf("%s is in %v, and should be in nothing", id, got[id])
		}
	}
	return fresh
}

// Rules change again and again while three instances take events, and one of them dies in
// each change, now and then with its disk. Members are then those of a new app that had the
// last rules all along, and of rules that never changed the same was emitted, to the instant.
func TestRulesChangeLive(t *testing.T) {
	parallel(t)
	r := promise.SeedOf(t)
	j := promise.New(t, kafka(three.get(t)), promise.Setup{})
	j.Load.Customers = 600 // so that of most it is known in which order their records came
	var ins [3]*promise.Instance
	var ps [3]*promise.Process
	for i := range ins {
		ins[i] = j.Instance(fmt.Sprint(i), "commit_interval: 5ms")
		ps[i] = ins[i].Start()
	}
	stop := j.Load.Begin(r.Uint64(), 60)
	j.AwaitCommit(ps[:]...)
	const regular, spender = "count(purchase, days(7)) >= 2", "- id: spender\n"
	for n, change := range [][]string{
		{regular, "count(purchase, days(7)) >= 3"},                            // another threshold
		{regular, "count(purchase, days(9)) >= 3"},                            // a longer window
		{regular, "distinct(web.name, days(3)) >= 2 && count(purchase) >= 1"}, // other facts
		{regular, "count(purchase, days(9)) >= 4", spender, "- id: big_spender\n    was: spender\n"},
	} {
		j.Rules = j.RuleFile(promise.Days, change...)
		apply := func(args ...string) string {
			out, err := j.Do(append([]string{"apply", j.Rules, "-c", ins[0].Config}, args...)...)
			if err != nil {
				t.Fatalf("apply: %v\n%s", err, out)
			}
			return out
		}
		apply("--yes")
		one := r.IntN(len(ins))
		time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond)
		ps[one].Kill()
		if n%2 == 1 {
			ins[one].LoseDisk()
		}
		ps[one] = ins[one].Start()
		if out := apply("--wait=2m"); !strings.Contains(out, "is ready") {
			t.Errorf("apply --wait: %s", out)
		}
	}
	stop()
	j.Finish(0, ps[:]...)
	j.Was = map[string]string{"big_spender": "spender"}
	fresh := sameMembers(t, j)
	never := func(segment string) bool { return strings.HasPrefix(segment, "stage/") }
	got, exact := j.ChangesOf(never), 0
	for id, want := range fresh.ChangesOf(never) {
		if !j.Load.Exact(id) {
			continue
		}
		if exact++; !slices.Equal(got[id], want) {
			t.Errorf("%s: %v, want %v", id, got[id], want)
		}
	}
	// On a busy machine there may be none whose records were acknowledged soon enough.
	t.Logf("%d records; compared the unchanged rules of %d customers", len(j.Load.Acked()), exact)
}
