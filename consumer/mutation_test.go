//go:build mutations

package consumer

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutations break one rule of the protocol each, by replacing a piece of source.
var mutations = []struct{ name, file, from, to string }{
	{
		"every session has a transactional id of its own, so nobody is fenced", "acquire.go",
		`kgo.TransactionalID(s.cfg.transactionalID(s.t.n))`,
		`kgo.TransactionalID(fmt.Sprintf("%s-%p", s.cfg.transactionalID(s.t.n), s))`,
	},
	{
		"a record that was not produced does not matter", "commit.go",
		`return 0, s.produceError(err)`, `s.t.log.Warn("ignored", "error", err)`,
	},
	{
		"the store is written before the transaction", "commit.go",
		`	offset, err := s.transact(`,
		`	early := state.Meta{Position: pos.append(nil), Versions: versions, TopicID: s.topicID, Next: s.next, AppliedAt: s.cfg.now()}
	if err := s.t.store.Apply(changes, &early); err != nil {
		return err
	}
	offset, err := s.transact(`,
	},
	{
		"an error at the end of a transaction does not matter", "commit.go",
		`return 0, fmt.Errorf("end transaction: %w", err)`, `s.t.log.Warn("ignored", "error", err)`,
	},
	{
		"a restore ends at the last stable offset", "restore.go",
		`end, err := listOne(asking, s.t.o.admin, []string{changelog}, s.t.n, highWatermark, atEnd)`,
		`end, err := listOne(asking, s.t.o.admin, []string{changelog}, s.t.n, lastStable, atEnd)`,
	},
	{
		"a wrong digest does not matter", "restore.go",
		`len(r.pending) > 0 || r.digest != r.pos.Digest`, `len(r.pending) > 0`,
	},
	{
		"the merge begins anew with every session", "commit.go",
		`s.clock.now, s.clock.latest, s.merge.turn`, `s.clock.now, s.clock.latest, turn{}`,
	},
}

// The tests of this package find every broken rule. It takes minutes, so it is
// behind the build tag mutations.
func TestMutationsAreFound(t *testing.T) {
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			dir := t.TempDir()
			copyModule(t, dir)
			file := filepath.Join(dir, "consumer", m.file)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Count(string(b), m.from) != 1 {
				t.Fatalf("%s does not have %q once", m.file, m.from)
			}
			if err := os.WriteFile(file, []byte(strings.Replace(string(b), m.from, m.to, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "go", "test", "-failfast", "-run", "Faults|Death|Zombie|Unproducible|Wrong|ChangelogEnd", "./consumer")
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Error("not found")
			}
			if !strings.Contains(string(out), "--- FAIL") {
				t.Errorf("something else is wrong: %s", out)
			}
		})
	}
}

// copyModule copies what this package is built from.
func copyModule(t *testing.T, dir string) {
	t.Helper()
	for _, pkg := range []string{"engine", "schemas", "state", "triggers", "consumer"} {
		if err := os.CopyFS(filepath.Join(dir, pkg), os.DirFS(filepath.Join("..", pkg))); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
