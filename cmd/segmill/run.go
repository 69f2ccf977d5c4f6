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
	"github.com/segmill/segmill/internal/console"
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

Which rules are in force is written in the topic <app>.rules. The files of the first
start are its first set, and segmill apply replaces them while the engine runs. Files
that are not those in force change nothing, and a warning says so. With --apply, and on
SIGHUP, files that never were in force are applied: what was kept of customers stays as
it is, what new rules read is folded from the events that Kafka still has, and exactly
the differences are emitted. --apply-former also goes back to files of an earlier set.
--rebuild applies new files, forgets what was kept, and folds everything again from the
events that Kafka still has.

A run with --until does not use the topic: it runs the files, and refuses to start if
they have changed since the last run, unless one of these flags is given.

Neither loses facts without being told to: if Kafka has deleted events that rules look
back to, it says which, and stops. --accept-loss lets it go on without them.`,
		Args: arguments(cobra.NoArgs, "segmill run -c segmill.yaml"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			opt.Apply = opt.Apply || opt.ApplyFormer
			switch {
			case opt.Apply && opt.Rebuild:
				return &exitError{exitUsage, errors.New("--apply keeps facts and --rebuild makes them again: give one of them")}
			case opt.AcceptLoss && !opt.Rebuild && !opt.Apply:
				return &exitError{exitUsage, errors.New("--accept-loss is about events that --apply or --rebuild no longer finds: give one of them, too")}
			}
			if err := errors.Join(instant("--until", until, &opt.Until), instant("--now", now, &opt.Now)); err != nil {
				return &exitError{exitUsage, err}
			}
			return runEngine(cmd, config, opt)
		},
	}
	c.Flags().StringVarP(&config, "config", "c", "segmill.yaml", "configuration file")
	c.Flags().StringVar(&until, "until", "", "run over history, and end at this instant (RFC 3339, or a date: midnight in UTC)")
	c.Flags().StringVar(&now, "now", "", "use this instant as the present when deciding whether an event lies in the future (default: the wall clock)")
	c.Flags().BoolVar(&opt.Apply, "apply", false, "apply the rule files if they never were in force: keep all facts, and emit the differences")
	c.Flags().BoolVar(&opt.ApplyFormer, "apply-former", false, "the same, also for files of an earlier set")
	c.Flags().BoolVar(&opt.Rebuild, "rebuild", false, "apply changed rule files, forget the facts, fold the retained events again, and emit the differences")
	c.Flags().BoolVar(&opt.AcceptLoss, "accept-loss", false, "apply or rebuild although events that rules look back to have been deleted")
	return c
}

func runEngine(cmd *cobra.Command, config string, opt app.RunOptions) error {
	conf, err := app.ReadConfigToRun(config)
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
	opt.Logger = console.NewLogger(os.Stderr, conf.Log, term.IsTerminal(int(os.Stderr.Fd())))
	reload := make(chan struct{})
	opt.Reload = reload
	defer onHangUp(opt.Logger, opt.Until == 0, reload)()
	if err := app.RunRules(cmd.Context(), conf, rules, opt); err != nil {
		return failed(err)
	}
	return nil
}

// onHangUp has the rule files read again when the process gets a SIGHUP, until stop is
// called. A run with an end ignores that, and says so.
func onHangUp(log *slog.Logger, live bool, reload chan<- struct{}) (stop func()) {
	hangUps, ended := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(hangUps, syscall.SIGHUP)
	go func() { // ends when stop is called
		for {
			select {
			case <-ended:
				return
			case <-hangUps:
			}
			if !live {
				log.Info("SIGHUP is ignored: a run with an end has the rules that it began with")
				continue
			}
			select {
			case reload <- struct{}{}:
				log.Info("SIGHUP: reading the rule files again; a changed configuration needs a restart")
			case <-ended:
				return
			}
		}
	}()
	return func() { signal.Stop(hangUps); close(ended) }
}

// instant parses the value of a flag, if it is given: an instant, or a date, which stands
// for its midnight in UTC.
func instant(flag, text string, to *engine.Millis) error {
	if text == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t, err = time.Parse(time.DateOnly, text)
	}
	if err != nil {
		return fmt.Errorf("%s %s: not an instant such as 2026-01-31T09:00:00Z or 2026-01-31", flag, text)
	}
	*to = expr.MillisOf(t)
	return nil
}
