package lab

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/segmill/segmill/internal/app"
)

// Main is the main function of a benchmark: it adds the flags that all have in common
// to those of the program, parses them, builds what is measured, and runs. about is
// what -h says first. What run returns is written as JSON if -json asks for it, also
// beside an error.
func Main(name, about string, run func(context.Context, *Lab) (report any, err error)) {
	var l Lab
	var dir, file string
	flag.StringVar(&dir, "dir", "", "where states are written, which should be a real disk; empty is the directory for temporary files")
	flag.StringVar(&file, "json", "", "write the figures to this file")
	flag.StringVar(&l.Profiles, "cpuprofile", "", "each side writes CPU profiles into this directory")
	flag.StringVar(&l.Compression, "compression", app.DefaultConfig().Output.Compression, "output.compression of the engine; limit and floor use snappy")
	flag.BoolVar(&l.Allocs, "memprofile", false, "with -cpuprofile: profiles of allocations, too")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "%s\n\nRun it in the repository: go run ./bench/%s [flags]\n\n", about, name)
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := l.do(ctx, dir, file, run); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

func (l *Lab) do(ctx context.Context, dir, file string, run func(context.Context, *Lab) (any, error)) (err error) {
	if l.Profiles != "" {
		if err := os.MkdirAll(l.Profiles, 0o755); err != nil {
			return err
		}
	}
	if err := l.build(ctx, dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(l.Dir)) }()
	fmt.Printf("the engine's outputs are compressed with %s\n", l.Compression)
	report, err := run(ctx, l)
	if file == "" || report == nil {
		return err
	}
	b, failed := json.MarshalIndent(report, "", "  ")
	if failed == nil {
		failed = os.WriteFile(file, append(b, '\n'), 0o644)
	}
	return errors.Join(err, failed)
}
