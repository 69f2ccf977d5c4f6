//go:build mutations

package group

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The tests find every broken rule, and nothing if none is broken. It takes
// minutes, so it is behind the build tag mutations.
func TestMutationsAreFound(t *testing.T) {
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		for _, f := range []find{scenarios, laws, clocks, timers, virtual, protocol, {"engine/calendar", "."}, {"state", "DueOrder|Model|Crash"}, registries, changelogs, own, growing, forwarded} {
			if found, out := f.try(t, ""); found {
				t.Fatalf("%v fails without a mutation:\n%s", f, out)
			}
		}
	})
	all := sourcesOf(t, root(t), false)
	share, first := shareOf(t)
	for i, m := range mutations {
		if i%share != first {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			overlay := mutate(t, all, m.from, m.to)
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

// shareOf returns which mutations are tried: of MUTATIONS_SHARE=n every nth, from a random one
// on, or the one of SEED; without it all.
func shareOf(t *testing.T) (share, first int) {
	t.Helper()
	number := func(name string, otherwise int) int {
		s := os.Getenv(name)
		if s == "" {
			return otherwise
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			t.Fatalf("%s=%s: not a number", name, s)
		}
		return n
	}
	share = max(1, number("MUTATIONS_SHARE", 1))
	seed := number("SEED", rand.IntN(share))
	if share > 1 {
		t.Logf("SEED=%d: every mutation whose number leaves %d when divided by %d", seed, seed%share, share)
	}
	return share, seed % share
}

// mutate returns an overlay for go test in which a piece of the source, which must be
// there once, is replaced.
func mutate(t *testing.T, sources map[string]string, from, to string) string {
	t.Helper()
	file := mutable(t, sources, from)
	changed := filepath.Join(t.TempDir(), "changed.go")
	if err := os.WriteFile(changed, []byte(strings.Replace(sources[file], from, to, 1)), 0o600); err != nil {
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
	args := []string{"test", "-count=1", "-vet=off", "-failfast", "-short", "-timeout=100s", "-tags", "segmill_invariants", "-run", f.run}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, f.packages(t)...)...)
	cmd.Env = append(os.Environ(), "SIM_TIME=5s")
	b, err := cmd.CombinedOutput()
	out = string(b)
	noticed := strings.Contains(out, "--- FAIL") || strings.Contains(out, "panic: test timed out") || strings.Contains(out, "panic: invariant: ")
	if err != nil && (!noticed || strings.Contains(out, "[build failed]")) {
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
	if _, broken, ok := strings.Cut(out, "panic: invariant: "); ok {
		broken, _, _ = strings.Cut(broken, "\n")
		return "the invariant that was broken: " + broken
	}
	return "a test that did not end"
}
