// Package side is what all programs that are measured have in common: their flags,
// their profiles, and the line of JSON that they end with.
package side

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"syscall"
)

// Names of the topics.
const (
	Input = "purchases"
	App   = "bench" // of the engine, whose topics begin with it
	// Changes is what the engine and `limit exact` write; Bits what `limit buckets`
	// writes.
	Changes   = "bench.changes"
	Bits      = "bench.bits"
	Changelog = "bench.limit" // of limit and floor
)

// Changed is a file beside the configuration that is there when the engine is under the rules
// that it has read again on SIGHUP.
const Changed = "changed"

// Inputs are the topics of a mixed workload, by job.Stream.
var Inputs = [...]string{Input, "web", "email"}

// Partitions is how many every topic has.
const Partitions = 4

// Result is the last line that a side prints.
type Result struct {
	Events    int64   `json:"events"`
	Changelog int64   `json:"changelog"`    // records written to the changelog
	Changes   int64   `json:"changes"`      // records written to the changes
	SetupCPU  float64 `json:"setup_cpu_us"` // us of CPU until the rules were ready, 0 if it is not known
	Mallocs   uint64  `json:"mallocs"`      // of the whole process
	Bytes     uint64  `json:"bytes"`        // allocated by the whole process
}

// Flags are those of every side.
type Flags struct {
	CPUProfile string
	MemProfile string
}

// Register adds the flags.
func (f *Flags) Register(set *flag.FlagSet) {
	set.StringVar(&f.CPUProfile, "cpuprofile", "", "write a CPU profile to this file")
	set.StringVar(&f.MemProfile, "memprofile", "", "write a profile of all allocations to this file")
}

// Main runs a side until it is done or interrupted, and prints its result.
func Main(name string, f *Flags, run func(context.Context) (Result, error)) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := measured(ctx, f, os.Stdout, run)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

func measured(ctx context.Context, f *Flags, out io.Writer, run func(context.Context) (Result, error)) error {
	stop, err := startCPU(f.CPUProfile)
	if err != nil {
		return err
	}
	r, err := run(ctx)
	stop()
	if err != nil {
		return err
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r.Mallocs, r.Bytes = m.Mallocs, m.TotalAlloc
	if err := writeAllocs(f.MemProfile); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(r)
}

func startCPU(file string) (stop func(), err error) {
	if file == "" {
		return func() {}, nil
	}
	w, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(w); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		w.Close()
	}, nil
}

func writeAllocs(file string) error {
	if file == "" {
		return nil
	}
	w, err := os.Create(file)
	if err != nil {
		return err
	}
	defer w.Close()
	runtime.GC() // the profile is as of the last collection
	return pprof.Lookup("allocs").WriteTo(w, 0)
}

// CPU returns what this process has taken of CPU so far, user and system, in us.
func CPU() (float64, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	us := func(t syscall.Timeval) float64 { return float64(t.Sec)*1e6 + float64(t.Usec) }
	return us(u.Utime) + us(u.Stime), nil
}
