package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/segmill/segmill/bench/internal/side"
)

// Usage is what a process took from start to end.
type Usage struct {
	CPU    time.Duration // user and system
	Wall   time.Duration
	RSS    int64 // bytes, at most
	Result side.Result
}

// Run runs a side in a process of its own. label names its profiles; env is added to
// the environment.
func (l *Lab) Run(ctx context.Context, label string, env []string, program string, args ...string) (Usage, error) {
	cmd := exec.CommandContext(ctx, l.program(program), l.profiled(label, args...)...)
	cmd.Env = append(os.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	start := time.Now()
	err := cmd.Run()
	u := Usage{Wall: time.Since(start)}
	if err != nil {
		return u, fmt.Errorf("%s: %w\n%s%s", label, err, out.String(), errs.String())
	}
	u.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.RSS = r.Maxrss * 1024 // Linux counts in KiB
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &u.Result); err != nil {
		return u, fmt.Errorf("%s: its last line is no result: %w", label, err)
	}
	return u, nil
}

// profiled adds the flags for the profiles of a side.
func (l *Lab) profiled(label string, args ...string) []string {
	if l.Profiles != "" {
		args = append(args, "-cpuprofile", filepath.Join(l.Profiles, label+".cpu"))
		if l.Allocs {
			args = append(args, "-memprofile", filepath.Join(l.Profiles, label+".allocs"))
		}
	}
	return args
}

// LoadAverage returns the load of the machine over the last minute, -1 where it can't
// be had.
func LoadAverage() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return -1
	}
	first, _, _ := strings.Cut(string(b), " ")
	f, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return -1
	}
	return f
}
