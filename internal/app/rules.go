// Package app puts the parts together: it reads configuration and rule files,
// builds the engine, and runs it with its HTTP endpoints until it is asked to
// stop. It is the only package below cmd that reads the wall clock.
package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // zones are the same on every machine

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/triggers"
)

// Rules is a rule set ready to run.
type Rules struct {
	Engine   *engine.Engine
	Set      *rule.Set
	Files    []string
	Warnings rule.Problems
}

// LoadRules reads rule files and directories (in them, every *.yaml and *.yml
// file at any depth except *_test.yaml and what is hidden), checks them as one set and
// compiles them. A rule.Problems error holds everything that is wrong in the files.
func LoadRules(paths []string) (*Rules, error) {
	files, err := readRules(paths)
	if err != nil {
		return nil, err
	}
	return CompileRules(files)
}

// LoadRulesWithin is LoadRules that ends with ctx: large rule sets take their time.
func LoadRulesWithin(ctx context.Context, paths []string) (*Rules, error) {
	return Within(ctx, func() (*Rules, error) { return LoadRules(paths) })
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
	r := &Rules{Engine: e, Set: set, Warnings: append(set.Warnings, coarseWindows(p)...)}
	for _, f := range files {
		r.Files = append(r.Files, f.Name)
	}
	return r, nil
}

func readRules(paths []string) ([]rule.File, error) {
	var files []rule.File
	seen := map[string]bool{}
	add := func(path string) error {
		if path = filepath.Clean(path); seen[path] {
			return nil
		}
		seen[path] = true
		f, err := readRuleFile(path)
		files = append(files, f)
		return err
	}
	for _, p := range paths {
		info, err := os.Stat(p)
		switch {
		case err != nil:
		case info.IsDir():
			err = walkRules(p, add)
		default:
			err = add(p)
		}
		if err != nil {
			return nil, fmt.Errorf("rules: %w", err)
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("rules: no *.yaml files in %s", strings.Join(paths, ", "))
	}
	return files, nil
}

// walkRules calls add with every rule file below a directory. What is hidden is
// passed over: Kubernetes keeps the files of a mounted ConfigMap in a hidden
// directory, and links to them; editors leave hidden files while they edit.
func walkRules(dir string, add func(path string) error) error {
	root := dir + string(filepath.Separator) // follows a link
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case d.IsDir() || !isRuleFile(path) || strings.HasPrefix(d.Name(), "."):
			return nil
		}
		return add(path)
	})
}

func readRuleFile(path string) (rule.File, error) {
	b, err := readBounded(path, rule.MaxFileSize)
	if errors.Is(err, errMore) {
		err = fmt.Errorf("%w: split it", err)
	}
	return rule.File{Name: path, Data: b}, err
}

func isRuleFile(path string) bool {
	ext := filepath.Ext(path)
	return (ext == ".yaml" || ext == ".yml") && !strings.HasSuffix(strings.TrimSuffix(path, ext), "_test")
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
