// Package lab starts the programs of a benchmark, each in a process of its own, loads
// topics, and measures.
package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Lab is a directory with the programs, built, and the files of the runs.
type Lab struct {
	Dir string
	// Profiles is where sides write profiles, "" if they write none.
	Profiles string
	// Compression is output.compression of the engine. The yardsticks use Snappy, as the
	// engine does for its own topics.
	Compression string
	// Allocs makes them write profiles of allocations, too.
	Allocs bool
}

// build builds the broker and the sides in a new directory below parent ("" is the
// default for temporary files). It must be called inside the repository.
func (l *Lab) build(ctx context.Context, parent string) (err error) {
	if l.Dir, err = os.MkdirTemp(parent, "segmill-bench-"); err != nil {
		return err
	}
	root, err := output(ctx, "", "go", "list", "-m", "-f", "{{.Dir}}")
	if err == nil {
		_, err = output(ctx, root, "go", "build", "-o", l.Dir+string(filepath.Separator),
			"./cmd/devkafka", "./bench/engine", "./bench/limit", "./bench/floor")
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(l.Dir))
	}
	return nil
}

func (l *Lab) program(name string) string { return filepath.Join(l.Dir, name) }

// output runs a program and returns what it prints.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(string(out)), nil
}
