//go:build mutations

package consumer

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// find names tests: a package, and the tests of it, a pattern of go test -run.
type find struct{ pkg, run string }

// Tests that notice what is broken. The quicker ones come first.
var (
	scenarios = find{"engine/sim", "Scenarios"}
	laws      = find{"engine/sim", "WakeIsNeverLate|StepsOfTheClock|EngineEqualsOracle$"}
	clocks    = find{"consumer", "^Test(Wall|Events)Clock|Guard"}
	protocol  = find{"consumer", "ChangelogEnd|Death|Wrong|Zombie|Unproducible|FaultsChange"}
	virtual   = find{"consumer", "ThirtyDays/autumn"}
	timers    = find{"consumer", "Customers|AfterOutage|ClockJumps|EventTimes"}
)

// mutations break one rule each, by replacing a piece of source.
var mutations = []struct {
	name, file, from, to string
	by                   []find // tried in order until one fails
}{
	// The protocol.
	{
		"every session has a transactional id of its own, so nobody is fenced", "consumer/acquire.go",
		`kgo.TransactionalID(s.cfg.transactionalID(s.t.n))`,
		`kgo.TransactionalID(fmt.Sprintf("%s-%p", s.cfg.transactionalID(s.t.n), s))`,
		[]find{{"consumer", "Zombie"}, protocol},
	},
	{
		"a record that was not produced does not matter", "consumer/commit.go",
		`return 0, s.produceError(err)`, `s.t.log.Warn("ignored", "error", err)`,
		[]find{{"consumer", "Unproducible"}, protocol},
	},
	{
		"the store is written before the transaction", "consumer/commit.go",
		`	offset, err := s.transact(`,
		`	early := state.Meta{Position: pos.append(nil), Versions: versions, TopicID: s.topicID, Next: s.next, AppliedAt: s.cfg.now()}
	if err := s.t.store.Apply(changes, &early); err != nil {
		return err
	}
	offset, err := s.transact(`,
		[]find{protocol},
	},
	{
		"an error at the end of a transaction does not matter", "consumer/commit.go",
		`return 0, fmt.Errorf("end transaction: %w", err)`, `s.t.log.Warn("ignored", "error", err)`,
		[]find{protocol},
	},
	{
		"a restore ends at the last stable offset", "consumer/restore.go",
		`end, err := listOne(asking, s.t.o.admin, []string{changelog}, s.t.n, highWatermark, atEnd)`,
		`end, err := listOne(asking, s.t.o.admin, []string{changelog}, s.t.n, lastStable, atEnd)`,
		[]find{{"consumer", "ChangelogEnd"}},
	},
	{
		"a wrong digest does not matter", "consumer/restore.go",
		`len(r.pending) > 0 || r.digest != r.pos.Digest`, `len(r.pending) > 0`,
		[]find{{"consumer", "Wrong"}},
	},
	{
		"the merge begins anew with every session", "consumer/commit.go",
		`s.clock.now, s.clock.latest, s.merge.turn`, `s.clock.now, s.clock.latest, turn{}`,
		[]find{protocol},
	},
	{
		"a batch that can't be decoded is fetched again and again", "consumer/refused.go",
		`	if ok, lerr := f.look(ctx, in, lookFor); lerr != nil || !ok {`, `	if ok, lerr := false, error(nil); lerr != nil || !ok {`,
		[]find{{"consumer", "RefusedBatches/none"}},
	},

	// Time.
	{
		"a timer fires as of when it is noticed", "engine/engine.go",
		`		at := c.wake
`, `		at := to
`,
		[]find{scenarios, laws},
	},
	{
		"a wake-up is a millisecond late", "engine/engine.go",
		`c.wake = min(c.wake, c.cells[i].next)`, `c.wake = min(c.wake, max(c.cells[i].next, c.cells[i].next+1))`,
		[]find{scenarios, laws},
	},
	{
		"a count falls when the newest entry leaves", "engine/aggregate/window.go",
		`	return l.at(i+k) + w
`, `	return l.at(j-1) + w
`,
		[]find{scenarios, laws},
	},
	{
		"a late event happens at its own time", "engine/engine.go",
		`now := max(base, clock)`, `now := base`,
		[]find{scenarios, laws},
	},
	{
		"a silence is told again and again", "triggers/inactivity.go",
		`	m.Mark = a.At
	f.AnchorID`, `	f.AnchorID`,
		[]find{scenarios, laws},
	},
	{
		"a local time that clocks skip is an hour late", "engine/calendar/calendar.go",
		`return expr.Millis(start.UnixMilli())`, `return expr.Millis(start.UnixMilli()) + 3_600_000`,
		[]find{{"engine/calendar", "."}},
	},
	{
		"the due key stays when the wake-up changes", "state/task.go",
		`			if err := b.Delete(t.dueKey(c.Old, c.Customer), nil); err != nil {`,
		`			if c.Value != nil {
			} else if err := b.Delete(t.dueKey(c.Old, c.Customer), nil); err != nil {`,
		[]find{{"state", "DueOrder|Model|Crash"}},
	},
	{
		"the due key stays when the customer is erased", "state/task.go",
		`		if c.Old != Never {`, `		if c.Old != Never && c.Value != nil {`,
		[]find{{"state", "DueOrder|Model"}},
	},
	{
		"wake-ups before the point that was read to are forgotten", "consumer/customers.go",
		`first = min(first, e.wake)`, `_ = e`,
		[]find{timers},
	},
	{
		"the clock is the wall clock, whatever is unread", "consumer/clock.go",
		`if in.next >= r.end {`, `if in.next >= 0 {`,
		[]find{clocks},
	},
	{
		"the clock goes back", "consumer/clock.go",
		`c.now = max(c.now, least-c.grace)`, `c.now = least - c.grace`,
		[]find{clocks, timers},
	},
	{
		"there is no grace", "consumer/clock.go",
		`c.now = max(c.now, least-c.grace)`, `c.now = max(c.now, least)`,
		[]find{clocks},
	},
	{
		"a jump of the wall clock is believed", "consumer/clock.go",
		`g.tripped, first = true, true`, `first = true`,
		[]find{clocks},
	},
	{
		"an event of the far future moves the clock", "consumer/session.go",
		`h.result == schemas.IsEvent && h.ev.At <= s.horizon {
			in.seen`, `h.result == schemas.IsEvent {
			in.seen`,
		[]find{{"consumer", "EventTimes"}},
	},
	{
		"a timer fires a minute early", "consumer/batch.go",
		`s.customers.next(s.clock.now)`, `s.customers.next(s.clock.now + 60_000)`,
		[]find{virtual},
	},
	{
		"an anniversary is an hour late", "triggers/anniversary.go",
		`AddDays(t.offset).At(v.Zone(), t.at)`, `AddDays(t.offset).At(v.Zone(), t.at) + 3_600_000`,
		[]find{virtual},
	},
	{
		"overdue timers all fire at once", "consumer/batch.go",
		`s.clock.now-at < overdueAfter`, `s.clock.now-at < engine.Never`,
		[]find{timers},
	},
}

// The tests find every broken rule, and nothing if none is broken. It takes
// minutes, so it is behind the build tag mutations.
func TestMutationsAreFound(t *testing.T) {
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		for _, f := range []find{scenarios, laws, clocks, timers, virtual, protocol, {"engine/calendar", "."}, {"state", "DueOrder|Model|Crash"}} {
			if found, out := f.try(t, ""); found {
				t.Fatalf("%v fails without a mutation:\n%s", f, out)
			}
		}
	})
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			overlay := mutate(t, m.file, m.from, m.to)
			start := time.Now()
			for _, f := range m.by {
				if found, out := f.try(t, overlay); found {
					t.Logf("found by %s: %s in %v", f.pkg, failed(out), time.Since(start).Round(time.Second))
					return
				}
			}
			t.Error("not found")
		})
	}
}

// mutate returns an overlay for go test in which a piece of a file, which must
// stand there once, is replaced.
func mutate(t *testing.T, file, from, to string) string {
	t.Helper()
	file, err := filepath.Abs(filepath.Join("..", file))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), from); n != 1 {
		t.Fatalf("%s has %q %d times", file, from, n)
	}
	changed := filepath.Join(t.TempDir(), "changed.go")
	if err := os.WriteFile(changed, []byte(strings.Replace(string(b), from, to, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: changed}})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(name, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// try runs tests. It returns true if one of them failed; anything else that is
// wrong, such as source that does not compile, fails the test.
func (f find) try(t *testing.T, overlay string) (found bool, out string) {
	t.Helper()
	args := []string{"test", "-count=1", "-vet=off", "-failfast", "-short", "-timeout=3m", "-run", f.run}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, "./"+f.pkg)...)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "SIM_TIME=1s")
	b, err := cmd.CombinedOutput()
	out = string(b)
	if err != nil && !strings.Contains(out, "--- FAIL") && !strings.Contains(out, "panic: test timed out") {
		t.Fatalf("%v: something else is wrong: %v\n%s", f, err, out)
	}
	if strings.Contains(out, "no tests to run") {
		t.Fatalf("%v names no test", f)
	}
	return err != nil, out
}

// failed returns the name of the test that failed.
func failed(out string) string {
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(line, "--- FAIL: "); ok {
			return fmt.Sprint(strings.Fields(name)[0])
		}
	}
	return "a test that did not end"
}
