// Command engine runs segmill as `segmill run` does, for the benchmarks: it can write
// profiles, and prints what it allocated as its last line.
package main

import (
	"context"
	"flag"
	"os"
	"time"

	"github.com/segmill/segmill/bench/internal/side"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/internal/app"
)

func main() {
	var f side.Flags
	config := flag.String("c", "segmill.yaml", "configuration file; brokers and state are named there")
	until := flag.String("until", "", "run over history, and end at this instant (RFC 3339)")
	f.Register(flag.CommandLine)
	flag.Parse()
	side.Main("engine", &f, func(ctx context.Context) (side.Result, error) {
		return run(ctx, *config, *until)
	})
}

func run(ctx context.Context, config, until string) (r side.Result, err error) {
	conf, err := app.ReadConfig(config)
	if err != nil {
		return r, err
	}
	opt := app.RunOptions{Logger: app.NewLogger(os.Stderr, conf.Log, false)}
	if until != "" {
		t, err := time.Parse(time.RFC3339Nano, until)
		if err != nil {
			return r, err
		}
		opt.Until = expr.MillisOf(t)
	}
	rules, err := app.LoadRules(conf.Rules)
	if err != nil {
		return r, err
	}
	if r.SetupCPU, err = side.CPU(); err != nil {
		return r, err
	}
	return r, app.RunRules(ctx, conf, rules, opt)
}
