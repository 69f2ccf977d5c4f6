package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/internal/app"
)

func runCommand() *cobra.Command {
	var config, until, now string
	var opt app.RunOptions
	c := &cobra.Command{
		Use:   "run -c segmill.yaml",
		Short: "Run the engine on Kafka",
		Long: `run reads events from Kafka and writes membership changes and triggers until it is
stopped with SIGTERM or Ctrl-C. After a crash it resumes at the last committed
transaction.

With --until it runs over history: it reads the inputs to the end that they have at
startup, sets the clock to that instant, and exits. This requires clock: events.

If rules have changed since the last run, it refuses to start and names them. With
--rebuild it folds the events again from the earliest that Kafka still has, without
emitting anything about the past, and then emits the differences.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(instant("--until", until, &opt.Until), instant("--now", now, &opt.Now)); err != nil {
				return &exitError{exitUsage, err}
			}
			return runEngine(cmd, config, opt)
		},
	}
	c.Flags().StringVarP(&config, "config", "c", "segmill.yaml", "configuration file")
	c.Flags().StringVar(&until, "until", "", "run over history, and end at this instant (RFC 3339)")
	c.Flags().StringVar(&now, "now", "", "use this instant as the present when deciding whether an event lies in the future (default: the wall clock)")
	c.Flags().BoolVar(&opt.Rebuild, "rebuild", false, "if rules have changed, fold the retained events again and emit the differences")
	return c
}

func runEngine(cmd *cobra.Command, config string, opt app.RunOptions) error {
	conf, err := app.ReadConfig(config)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return badConfig(fmt.Errorf("%w: name one with -c; examples/shop/segmill.yaml is one", err))
	case err != nil:
		return badConfig(err)
	case opt.Until != 0 && conf.Clock != "events":
		return badConfig(fmt.Errorf("%s: --until requires `clock: events`: the wall clock cannot be set to an instant", config))
	}
	rules, err := app.LoadRulesWithin(cmd.Context(), conf.Rules)
	switch {
	case cmd.Context().Err() != nil:
		return nil // a clean stop, only early
	case err != nil:
		return badConfig(err)
	}
	opt.Logger = app.NewLogger(os.Stderr, conf.Log, term.IsTerminal(int(os.Stderr.Fd())))
	defer ignoreHangUp(opt.Logger)()
	if err := app.RunRules(cmd.Context(), conf, rules, opt); err != nil {
		return failed(err)
	}
	return nil
}

// ignoreHangUp lets the process go on when its terminal or supervisor hangs up, and
// says so, until stop is called. Others read their configuration again then; this
// one would have to hand over all partitions, and may as well be restarted.
func ignoreHangUp(log *slog.Logger) (stop func()) {
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	go func() { // ends when stop closes the channel
		for range hangUps {
			log.Info("SIGHUP is ignored: configuration and rules are read at startup; to change them, restart")
		}
	}()
	return func() { signal.Stop(hangUps); close(hangUps) }
}

// instant parses the value of a flag, if it is given.
func instant(flag, text string, to *engine.Millis) error {
	if text == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return fmt.Errorf("%s %s: not an instant such as 2026-01-31T09:00:00Z", flag, text)
	}
	*to = expr.MillisOf(t)
	return nil
}
