// Package app puts the parts together: it reads configuration and rule files,
// builds the engine, and runs it with its HTTP endpoints until it is asked to
// stop. It is the only package below cmd that reads the wall clock.
package app

import (
	"context"
	"sync"
	"time"
	_ "time/tzdata" // zones are the same on every machine

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/engine/rule/coarse"
	"github.com/segmill/segmill/internal/bounded"
	"github.com/segmill/segmill/internal/rulefiles"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/triggers"
)

// Rules is a rule set ready to run.
type Rules struct {
	Engine   *engine.Engine
	Set      *rule.Set
	Files    []string
	Warnings rule.Problems

	texts []rule.File
}

// LoadRules reads rule files and directories (in them, every *.yaml and *.yml
// file at any depth except what is hidden), passes over *_test.yaml, checks them as one set and
// compiles them. A rule.Problems error holds everything that is wrong in the files.
func LoadRules(paths []string) (*Rules, error) {
	files, err := rulefiles.Rules(paths)
	if err != nil {
		return nil, err
	}
	return CompileRules(files)
}

// LoadRulesWithin is LoadRules that ends with ctx: large rule sets take their time.
func LoadRulesWithin(ctx context.Context, paths []string) (*Rules, error) {
	return bounded.Within(ctx, func() (*Rules, error) { return LoadRules(paths) })
}

// CompileRules is LoadRules for files that are read already.
func CompileRules(files []rule.File) (*Rules, error) {
	zones := Zones()
	set, err := rule.Parse(files, schemas.Catalog(), triggers.Kinds(), zones)
	if err != nil {
		return nil, err
	}
	p, err := plan.Compile(set.Spec, zones)
	if err != nil {
		return nil, err
	}
	e, err := engine.New(p, triggers.New(p), engine.Options{Zones: zones})
	if err != nil {
		return nil, err
	}
	r := &Rules{Engine: e, Set: set, texts: files, Warnings: append(set.Warnings, coarse.Windows(p, set)...)}
	for _, f := range files {
		r.Files = append(r.Files, f.Name)
	}
	return r, nil
}

// Zones returns a resolver of IANA time zone names, safe for several goroutines.
func Zones() func(name string) (*time.Location, bool) {
	var known sync.Map
	return func(name string) (*time.Location, bool) {
		if l, ok := known.Load(name); ok {
			loc, _ := l.(*time.Location)
			return loc, loc != nil
		}
		if name == "" || name == "Local" {
			return nil, false // the zone of this machine decides nothing
		}
		loc, err := time.LoadLocation(name)
		if err != nil {
			return nil, false // not kept: names come from events
		}
		known.Store(name, loc)
		return loc, true
	}
}
