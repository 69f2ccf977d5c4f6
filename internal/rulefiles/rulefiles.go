// Package rulefiles finds and reads the files of rules and of their tests: of a directory,
// every *.yaml and *.yml at any depth that is not hidden, and each file once.
package rulefiles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/bounded"
)

// Rules reads the rule files among files and directories, and passes over *_test.yaml.
func Rules(paths []string) ([]rule.File, error) {
	return rules(paths, func(path string) bool { return !IsTest(path) })
}

// All reads rule files and tests of rules.
func All(paths []string) ([]rule.File, error) {
	return rules(paths, func(string) bool { return true })
}

// rules reads the files that are wanted among files and directories, of which there must be
// one.
func rules(paths []string, wanted func(path string) bool) ([]rule.File, error) {
	files, err := read(paths, wanted, func(path string, add func(string) error) error { return add(path) })
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("rules: no *.yaml files in %s", strings.Join(paths, ", "))
	}
	return files, nil
}

// read reads the files that are wanted among files and directories, each once. one adds those
// of a file that is named.
func read(paths []string, wanted func(path string) bool, one func(path string, add func(string) error) error) ([]rule.File, error) {
	var files []rule.File
	seen := map[string]bool{}
	add := func(path string) error {
		if path = filepath.Clean(path); seen[path] || !wanted(path) {
			return nil
		}
		seen[path] = true
		f, err := readFile(path)
		files = append(files, f)
		return err
	}
	for _, p := range paths {
		info, err := os.Stat(p)
		switch {
		case err != nil:
		case info.IsDir():
			err = walk(p, add)
		default:
			err = one(p, add)
		}
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// walk calls add with every rule file and every test of rules below a directory. What is hidden is
// passed over: Kubernetes keeps the files of a mounted ConfigMap in a hidden
// directory, and links to them; editors leave hidden files while they edit.
func walk(dir string, add func(path string) error) error {
	root := dir + string(filepath.Separator) // follows a link
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case d.IsDir() || !isYAML(path) || strings.HasPrefix(d.Name(), "."):
			return nil
		}
		return add(path)
	})
}

func readFile(path string) (rule.File, error) {
	b, err := bounded.ReadFile(path, rule.MaxFileSize)
	if errors.Is(err, bounded.ErrMore) {
		err = fmt.Errorf("%w: split it", err)
	}
	return rule.File{Name: path, Data: b}, err
}

func isYAML(path string) bool {
	ext := filepath.Ext(path)
	return ext == ".yaml" || ext == ".yml"
}
