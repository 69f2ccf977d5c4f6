// Package archtest holds the rules of the project about imports, and about what pure
// packages may not do, as tests.
package archtest

import (
	"fmt"
	"go/ast"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/segmill/segmill/"

// The arrows between the packages of the project, all of them. "a, b < c" says that
// c may import a and b, and nothing else of the project; a package that imports nothing
// of the project has no left side. Rows read downwards: what stands on the left has a row above.
//
// Do not change this table to mend a build. Change the design first, and say why in
// docs/design.md.
const arrows = `
	# What everybody may use.
	internal/failpoint
	internal/invariants
	internal/wire

	# The engine. It never links CEL: rules are compiled away before it runs.
	engine/expr
	engine/expr, internal/wire < engine/aggregate
	engine/expr < engine/calendar
	engine/expr, engine/aggregate < engine/plan
	engine/expr, engine/aggregate, engine/plan < engine/dedup
	engine/expr, engine/plan < engine/ruleset
	engine/expr, engine/plan < engine/rule/file
	engine/expr, engine/plan < engine/rule/language
	engine/expr, engine/plan < engine/rule/canon
	engine/expr, engine/plan < engine/rule/bounds
	engine/expr, engine/plan, engine/rule/file, engine/rule/bounds, engine/rule/canon < engine/rule/lint
	engine/rule/file < engine/rule/written
	engine/rule/file < engine/rule/preset
	engine/expr, engine/plan, engine/rule/file, engine/rule/language, engine/rule/written < engine/rule/mapping
	engine/expr, engine/plan, engine/rule/file, engine/rule/language, engine/rule/bounds, engine/rule/canon, engine/rule/lint, engine/rule/written, engine/rule/mapping, engine/rule/preset < engine/rule
	engine/expr, engine/aggregate, engine/plan, engine/rule < engine/rule/coarse
	engine/expr, engine/aggregate, engine/calendar, engine/plan, engine/dedup, engine/ruleset, internal/wire < engine
	engine/expr, engine/aggregate, engine/calendar, engine/plan, engine < triggers

	engine/expr < internal/wakes

	# Records in and out. Reading knows nothing of the engine but its values.
	schemas/bad
	engine/expr < schemas/scalar
	schemas/bad < schemas/jsontext
	engine/expr, schemas/bad, schemas/scalar < schemas/frame
	engine/expr, schemas/bad, schemas/scalar, schemas/jsontext, schemas/frame < schemas/avro
	engine/plan, schemas/bad, schemas/scalar, schemas/jsontext, schemas/frame < schemas/jsonread
	engine/expr, engine/plan, schemas/bad, schemas/scalar, schemas/jsontext, schemas/frame < schemas/mapping
	schemas/bad < schemas/registry
	engine/expr, engine/plan, engine, schemas/scalar, schemas/jsontext, schemas/avro < schemas/encode
	engine/expr, engine/plan, engine, schemas/bad, schemas/frame, schemas/avro, schemas/jsonread, schemas/mapping, schemas/registry, schemas/encode < schemas

	# The Kafka edge and the store below it.
	engine/expr, internal/wire < state
	engine, engine/ruleset, internal/wire, state < consumer/changelog
	state < consumer/fault
	consumer/changelog, consumer/fault < consumer/broker
	consumer/changelog, consumer/broker, internal/failpoint < consumer/ledger
	consumer/broker, engine < consumer/imports
	engine, internal/wire, consumer/fault, consumer/broker < consumer/rulelog
	engine, state, consumer/changelog, consumer/fault, consumer/broker < consumer/replica
	engine, consumer/changelog, consumer/broker, consumer/replica < consumer/ruled
	engine, state, consumer/changelog, consumer/fault, internal/wakes < consumer/cache
	consumer/metrics
	engine, schemas, state, consumer/broker, consumer/ledger, consumer/metrics, internal/failpoint < consumer/config
	engine, schemas, consumer/changelog, consumer/broker, consumer/imports, consumer/config, consumer/cache < consumer/feed
	consumer/broker, consumer/config, consumer/feed < consumer/deadletter
	engine/plan, engine, consumer/changelog, consumer/fault, consumer/broker, consumer/ledger, consumer/replica, consumer/config < consumer/topics
	engine/plan, engine, consumer/changelog, consumer/broker, consumer/imports, consumer/config < consumer/retained
	engine, engine/ruleset, schemas, state, consumer/changelog, consumer/fault, consumer/broker, consumer/imports, consumer/ledger, consumer/replica, consumer/metrics, consumer/config, consumer/cache, consumer/feed, consumer/deadletter, consumer/topics, consumer/retained < consumer/task
	engine, state, consumer/changelog, consumer/fault, consumer/broker, consumer/replica, consumer/metrics, consumer/config, consumer/feed, consumer/topics, consumer/task < consumer/group
	engine, state, consumer/changelog, consumer/broker, consumer/ledger, consumer/replica, consumer/config, consumer/feed, consumer/topics, consumer/task, schemas < consumer/reshard
	engine, schemas, consumer/broker, consumer/config, consumer/fault, consumer/feed, consumer/topics, consumer/task < consumer/inspect
	consumer

	# The program.
	internal/console
	internal/memlimit
	internal/crash
	internal/crash < internal/bounded
	engine/rule, internal/bounded < internal/rulefiles
	schemas < internal/notes
	engine/expr, engine/plan, engine/rule, engine/rule/coarse, engine/rule/file, engine, triggers, schemas, state, consumer/changelog, consumer/broker, consumer/fault, consumer/rulelog, consumer/ruled, consumer/metrics, consumer/config, consumer/topics, consumer/group, consumer/task, consumer/reshard, consumer/inspect, internal/bounded, internal/crash, internal/memlimit, internal/notes, internal/rulefiles < internal/app
	engine/ruleset, consumer/changelog, consumer/broker, consumer/imports, consumer/retained, consumer/ruled, consumer/rulelog, internal/app < internal/apply
	schemas, internal/app, internal/bounded < internal/erasure
	engine/expr, engine/plan, engine/rule, engine, schemas, internal/app < internal/mapper
	engine/plan, engine/rule/file, engine, schemas, internal/wakes < internal/replay
	engine, schemas, internal/replay < internal/history
	engine/plan, engine, schemas, consumer/broker, consumer/config, consumer/feed, consumer/imports, consumer/ledger, consumer/ruled, consumer/topics, internal/failpoint, internal/replay < internal/importing
	engine/expr, engine/plan, engine/ruleset, engine, triggers, internal/replay, internal/history < internal/backtest
	internal/backtest < internal/page
	engine/expr, engine/plan, engine/ruleset, engine, state, consumer/replica, consumer/config, consumer/topics, consumer/task < internal/preview
	engine/expr, engine/plan, engine/rule, engine/rule/file, engine, schemas, internal/replay < internal/ruletest
	engine/expr, engine/plan, engine, schemas, consumer/group, internal/app < internal/demo
	examples/shop
	schemas/scalar < internal/suggest
	internal/findings
	engine/rule, engine/rule/file < internal/rulefmt
	engine/plan, engine/rule/file, schemas, triggers, internal/app, internal/ruletest < internal/editor
	internal/editor < internal/starter
	engine/expr, engine/rule, engine/rule/file, engine, schemas, state, consumer/rulelog, internal/app, internal/apply, internal/backtest, internal/bounded, internal/console, internal/crash, internal/demo, internal/editor, internal/erasure, internal/findings, internal/history, internal/importing, internal/mapper, internal/memlimit, internal/notes, internal/page, internal/preview, internal/replay, internal/rulefiles, internal/rulefmt, internal/ruletest, internal/starter, internal/suggest, examples/shop < cmd/segmill
	cmd/devkafka

	# What only tests use.
	engine/expr, engine/plan, engine < internal/sim
	engine/expr, engine/plan, internal/sim < internal/shapes
	engine/expr, engine/plan, engine, schemas, state, consumer/changelog, consumer/replica, consumer/config, internal/sim < internal/checker
	internal/leash
	engine, engine/plan, schemas, state, consumer/config, internal/app, internal/checker, internal/leash < internal/promise
	engine/plan, engine/rule, engine, triggers, schemas < internal/fixture
	engine/expr, engine/plan, engine, schemas, state, consumer/changelog, consumer/broker, consumer/imports, consumer/config, consumer/feed, consumer/task, internal/failpoint, internal/fixture < internal/rig
	internal/recorded
	internal/leash < internal/brokers
	internal/brokers/tools
	internal/brokers/tools, internal/leash < internal/brokers/apicurio
	internal/brokers/tools < internal/brokers/judge
	internal/brokers/clients
	internal/containers
	internal/field
	internal/e2e
	internal/hostile

	# Benchmarks. The yardsticks know nothing of the engine.
	bench/internal/job
	bench/internal/side
	bench/internal/job, bench/internal/side < bench/floor, bench/limit
	schemas, internal/app, bench/internal/job, bench/internal/side < bench/internal/lab
	engine/expr, consumer/group, consumer/task, internal/app, internal/console, bench/internal/side < bench/engine
	bench/internal/lab < bench/latency
	bench/internal/job, bench/internal/lab < bench/rules
	bench/internal/job, bench/internal/lab, bench/internal/side < bench/change, bench/customers, bench/restore, bench/throughput, bench/timers
`

// Every package may check what must hold: a release has none of it.
const everybody = "internal/invariants"

// Who may import what of the outside. A name that ends with a slash stands for all
// packages below it, and for itself.
var only = map[string][]string{
	"github.com/cockroachdb/pebble/v2":   {"state", "bench/limit", "internal/rig"}, // the yardstick has a store of its own; tests choose the file system
	"golang.org/x/text":                  {"engine/rule/lint"},
	"cel.dev/cel-go":                     {"engine/rule", "engine/rule/language", "engine/rule/mapping", "engine/rule/written"},
	"go.yaml.in/yaml/v4":                 {"engine/rule/file", "internal/app", "internal/rulefmt", "internal/ruletest"},
	"github.com/linkedin/goavro/v2":      {"schemas", "schemas/avro"},
	"github.com/twmb/franz-go/pkg/kgo":   {"consumer/", "internal/", "cmd/", "bench/"},
	"github.com/twmb/franz-go/pkg/kfake": {"cmd/devkafka", "internal/", "bench/"},
}

// row is what a package may import of the project.
type row struct {
	allowed []string
	used    map[string]bool
}

// parseArrows reads the table. It fails the test where a row names what has none above.
func parseArrows(t *testing.T, table string) map[string]*row {
	t.Helper()
	rows := map[string]*row{}
	names := func(list string) (l []string) {
		for name := range strings.SplitSeq(list, ",") {
			l = append(l, strings.TrimSpace(name))
		}
		return l
	}
	for line := range strings.Lines(table) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		var allowed []string
		left, right, has := strings.Cut(line, " < ")
		if has {
			allowed = names(left)
		} else {
			right = left
		}
		for _, name := range allowed {
			if rows[name] == nil {
				t.Errorf("arrows: %q: %s has no row above this one", line, name)
			}
		}
		for _, name := range names(right) {
			if rows[name] != nil {
				t.Errorf("arrows: %q: %s has a row already", line, name)
			}
			rows[name] = &row{allowed, map[string]bool{}}
		}
	}
	return rows
}

func TestArrows(t *testing.T) {
	rows := parseArrows(t, arrows)
	seen := map[string]bool{}
	for _, src := range sources(t) {
		r := rows[src.pkg]
		if r == nil {
			if !seen[src.pkg] {
				t.Errorf("%s", missing(t, src.pkg))
			}
			seen[src.pkg] = true
			continue
		}
		seen[src.pkg] = true
		for _, path := range src.imports() {
			if own, ok := strings.CutPrefix(path, module); ok {
				r.used[own] = true
				if own != everybody && !slices.Contains(r.allowed, own) {
					t.Errorf("%s: %s may not import %s: take the import out, or change the design and its row in arrows", src.path, src.pkg, own)
				}
			}
			for lib, who := range only {
				if (path == lib || strings.HasPrefix(path, lib+"/")) && !covers(who, src.pkg) {
					t.Errorf("%s: only %v may import %s", src.path, who, lib)
				}
			}
		}
	}
	for pkg, r := range rows {
		if !seen[pkg] {
			t.Errorf("arrows: %s has a row and no sources: take the row out", pkg)
			continue
		}
		for _, own := range r.allowed {
			if !r.used[own] {
				t.Errorf("arrows: %s may import %s and does not: take it out of the row", pkg, own)
			}
		}
	}
}

// missing says what to do about a package without a row.
func missing(t *testing.T, pkg string) string {
	var need []string
	for _, src := range sources(t) {
		if src.pkg != pkg {
			continue
		}
		for _, path := range src.imports() {
			if own, ok := strings.CutPrefix(path, module); ok && own != everybody && !slices.Contains(need, own) {
				need = append(need, own)
			}
		}
	}
	row := pkg
	if len(need) > 0 {
		slices.Sort(need)
		row = strings.Join(need, ", ") + " < " + pkg
	}
	return fmt.Sprintf("arrows: the package %s has no row. If the design wants it to import what it does, add the row\n\n\t%s\n\n"+
		"below the rows of what it imports, and the package with its one rule to the table of docs/design.md.", pkg, row)
}

// The message about a package without a row is the row that it needs.
func TestMissingRow(t *testing.T) {
	if got, want := missing(t, "engine/plan"), "\n\tengine/aggregate, engine/expr < engine/plan\n"; !strings.Contains(got, want) {
		t.Errorf("%s\nlacks %q", got, want)
	}
}

// covers reports whether a list of packages has pkg.
func covers(who []string, pkg string) bool {
	return slices.ContainsFunc(who, func(w string) bool {
		return w == pkg || strings.HasSuffix(w, "/") && strings.HasPrefix(pkg+"/", w)
	})
}

// imports returns the paths that a file imports.
func (s *source) imports() []string {
	return paths(s.file)
}

func paths(f *ast.File) (l []string) {
	for _, spec := range f.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		l = append(l, path)
	}
	return l
}
