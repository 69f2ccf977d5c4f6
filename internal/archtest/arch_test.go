// Package archtest holds the import rules of the project as a test.
package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/segmill/segmill/"

// The arrows: what a package may import of the project. Do not change this table
// to mend a build; change the design first, and say why in docs/design.md.
var arrows = map[string][]string{
	"engine/expr":        {},
	"internal/wire":      {},
	"engine/aggregate":   {"engine/expr", "internal/wire"},
	"engine/calendar":    {"engine/expr"},
	"engine/plan":        {"engine/aggregate", "engine/expr"},
	"engine/rule":        {"engine/plan", "engine/expr"},
	"engine":             {"engine/plan", "engine/aggregate", "engine/calendar", "engine/expr", "internal/wire"},
	"internal/sim":       {"engine", "engine/plan", "engine/expr", "engine/rule"},
	"triggers":           {"engine", "engine/plan", "engine/aggregate", "engine/calendar", "engine/expr"},
	"schemas/bad":        {},
	"schemas/scalar":     {"engine/expr"},
	"schemas/jsontext":   {"schemas/bad"},
	"schemas/frame":      {"engine/expr", "schemas/bad", "schemas/scalar"},
	"schemas/avro":       {"engine/expr", "schemas/bad", "schemas/scalar", "schemas/jsontext", "schemas/frame"},
	"schemas/jsonread":   {"engine/plan", "schemas/bad", "schemas/jsontext", "schemas/frame"},
	"schemas/registry":   {"schemas/bad"},
	"schemas/encode":     {"engine", "engine/plan", "engine/expr", "schemas/scalar", "schemas/avro"},
	"schemas":            {"engine", "engine/plan", "engine/expr", "schemas/bad", "schemas/frame", "schemas/avro", "schemas/jsonread", "schemas/registry", "schemas/encode"},
	"state":              {"engine/expr", "internal/wire"},
	"consumer/changelog": {"engine", "state"},
	"consumer/fault":     {"state"},
	"consumer/metrics":   {},
	"consumer/feed":      {"engine", "schemas", "consumer/changelog", "consumer/fault", "consumer/broker", "consumer/config", "consumer/cache"},
	"consumer/cache":     {"engine", "state", "consumer/changelog", "consumer/fault"},
	"consumer/config":    {"engine", "schemas", "state", "consumer/broker", "consumer/ledger", "consumer/metrics"},
	"consumer/ledger":    {"consumer/changelog", "consumer/broker"},
	"consumer/broker":    {"consumer/changelog", "consumer/fault"},
	"consumer/replica":   {"engine", "state", "consumer/changelog", "consumer/fault", "consumer/broker"},
	"consumer":           {"engine", "engine/plan", "engine/expr", "schemas", "state", "consumer/changelog", "consumer/fault", "consumer/broker", "consumer/ledger", "consumer/replica", "consumer/metrics", "consumer/config", "consumer/cache", "consumer/feed"},
	"examples/shop":      {},
	"internal/replay":    {"engine", "schemas"},
	"internal/leash":     {},
	"internal/brokers":   {"internal/leash"},
	"internal/archtest":  {},
}

// Every package may check what must hold: a release has none of it.
const everybody = "internal/invariants"

// Who may import what of the outside.
var only = map[string][]string{
	"github.com/cockroachdb/pebble/v2":   {"state", "bench/limit"}, // the yardstick has a store of its own
	"cel.dev/cel-go":                     {"engine/rule"},
	"github.com/linkedin/goavro/v2":      {"schemas", "schemas/avro"},
	"github.com/twmb/franz-go/pkg/kgo":   {"consumer/", "internal/", "cmd/", "bench/"},
	"github.com/twmb/franz-go/pkg/kfake": {"cmd/devkafka", "internal/", "bench/"},
}

// Pure packages do no I/O, start no goroutine, read no clock and draw no random
// numbers.
var impure = []string{"os", "io/ioutil", "net", "net/http", "sync", "sync/atomic", "math/rand", "math/rand/v2", "context", "log", "log/slog"}

func pure(pkg string) bool {
	return pkg == "engine" || pkg == "triggers" || pkg == "internal/wire" || strings.HasPrefix(pkg, "engine/")
}

func TestArrows(t *testing.T) {
	seen := map[string]bool{}
	for file, pkg := range sources(t) {
		seen[pkg] = true
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		allowed, limited := arrows[pkg]
		for _, spec := range f.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			if own, ok := strings.CutPrefix(path, module); ok && limited && own != everybody && !slices.Contains(allowed, own) {
				t.Errorf("%s: %s may not import %s", file, pkg, own)
			}
			for lib, who := range only {
				if (path == lib || strings.HasPrefix(path, lib+"/")) && !allows(who, pkg) {
					t.Errorf("%s: only %v may import %s", file, who, lib)
				}
			}
			if pure(pkg) && slices.Contains(impure, path) {
				t.Errorf("%s: %s is pure and may not import %s", file, pkg, path)
			}
		}
	}
	for pkg := range arrows {
		if !seen[pkg] && pkg != "internal/archtest" {
			t.Errorf("the table names %s, which has no sources", pkg)
		}
	}
}

func allows(who []string, pkg string) bool {
	return slices.ContainsFunc(who, func(w string) bool {
		return w == pkg || strings.HasSuffix(w, "/") && strings.HasPrefix(pkg+"/", w)
	})
}

// sources maps the Go files of the project, tests apart, to their package paths.
func sources(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	root := "../.."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			rel, _ := filepath.Rel(root, filepath.Dir(path))
			files[path] = filepath.ToSlash(rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// The core reads no clock: it is handed instants.
func TestNoClock(t *testing.T) {
	for file, pkg := range sources(t) {
		if !pure(pkg) && !strings.HasPrefix(pkg+"/", "schemas/") && !strings.HasPrefix(pkg+"/", "consumer/") && pkg != "state" {
			continue
		}
		calls := []string{"Now", "Since", "Sleep"}
		if pure(pkg) {
			calls = append(calls, "After", "Tick", "NewTimer", "NewTicker")
		}
		for _, call := range calls {
			if uses(t, file, "time", call) {
				t.Errorf("%s calls time.%s: take the instant, or a function that gives it, as an argument", file, call)
			}
		}
	}
}

// Which streams there are is the table of engine/plan. Of the packages that every
// stream goes through, none asks which one it is.
func TestStreamsAreData(t *testing.T) {
	through := []string{"engine", "engine/rule", "triggers", "schemas", "internal/app", "state"}
	for file, pkg := range sources(t) {
		if !slices.Contains(through, pkg) && !strings.HasPrefix(pkg, "consumer") && !strings.HasPrefix(pkg, "cmd/") {
			continue
		}
		for _, stream := range []string{"Web", "Email", "Purchase"} {
			if uses(t, file, "plan", stream) {
				t.Errorf("%s names plan.%s: put what is particular about the stream into its row", file, stream)
			}
		}
	}
}
