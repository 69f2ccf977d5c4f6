// Package judge runs judge.py, which judges the outputs on a broker by the records
// that were acknowledged, and shares no code with the engine.
package judge

import (
	"context"
	_ "embed"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/segmill/segmill/internal/brokers/tools"
)

//go:embed requirements.txt
var requirements []byte

// folder is where the judge's own files are: tests run with the sources there.
func folder() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}

// Rules is the path of the rule file whose rules the judge knows.
func Rules() string { return filepath.Join(folder(), "rules.yaml") }

// Run runs the judge with arguments as `judge.py --help` lists them, and returns
// what it printed. The error is not nil if something is wrong, or if it could not
// judge. What it needs is installed at the first run.
func Run(ctx context.Context, args ...string) (string, error) {
	cmd, err := command(ctx, append([]string{"judge.py"}, args...)...)
	if err != nil {
		return "", err
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = errors.Join(err, errors.New(stderr.String()))
	}
	return strings.TrimSpace(string(out)), err
}

// command returns a command of the judge's Python, in its folder.
func command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	python, err := tools.Python(ctx, requirements)
	if err != nil {
		return nil, err
	}
	for i, a := range args { // relative paths are the caller's
		if _, err := os.Stat(a); err == nil && !filepath.IsAbs(a) && i > 0 {
			if args[i], err = filepath.Abs(a); err != nil {
				return nil, err
			}
		}
	}
	cmd := exec.CommandContext(ctx, python, args...)
	cmd.Dir = folder()
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	return cmd, nil
}
