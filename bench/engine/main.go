// Command engine runs segmill as `segmill run` does, for the benchmarks: it can write
// profiles, prints what it allocated as its last line, and goes over to other rules on
// SIGHUP.
package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/segmill/segmill/bench/internal/side"
	"github.com/segmill/segmill/consumer/group"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/console"
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
	opt := app.RunOptions{Logger: console.NewLogger(os.Stderr, conf.Log, false)}
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
	reload := make(chan struct{})
	opt.Reload = reload
	c := changer{done: filepath.Join(filepath.Dir(config), side.Changed), reload: reload}
	ctx, stop := context.WithCancelCause(ctx)
	opt.OnStart = func(o *group.Owner) { c.follow(ctx, o, stop) }
	err = app.RunRules(ctx, conf, rules, opt)
	stop(nil)
	c.wg.Wait()
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return r, err
}

// changer has the rule files read again on SIGHUP, as `segmill run` does, and says when all
// tasks are under them.
type changer struct {
	done   string // the file that says so
	reload chan<- struct{}
	wg     sync.WaitGroup
}

// follow waits for SIGHUP until ctx ends. An error stops the engine.
func (c *changer) follow(ctx context.Context, o *group.Owner, stop context.CancelCauseFunc) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	c.wg.Go(func() { // ends with ctx
		defer signal.Stop(hup)
		select {
		case <-ctx.Done():
		case <-hup:
			if err := c.change(ctx, o); err != nil {
				stop(err)
			}
		}
	})
}

func (c *changer) change(ctx context.Context, o *group.Owner) error {
	before := o.Status().Tasks
	select {
	case <-ctx.Done():
		return nil
	case c.reload <- struct{}{}:
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !changed(before, o.Status()) {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	return os.WriteFile(c.done, nil, 0o600)
}

// changed reports whether all tasks are under other rules than before.
func changed(before []task.Status, st group.Status) bool {
	return st.Ready && len(before) > 0 && !slices.ContainsFunc(st.Tasks, func(t task.Status) bool { return t.Rules == before[0].Rules || t.Change != "" })
}
