package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/internal/app"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func runCommand() *cobra.Command {
	var config, until, now string
	var rebuild bool
	c := &cobra.Command{
		Use:   "run -c segmill.yaml",
		Short: "Run the engine on Kafka",
		Long: `run reads events from Kafka and writes membership changes and triggers until it is
stopped with SIGTERM or Ctrl-C. After a crash it goes on where the last
transaction ended.

With --until it runs over history: it reads the inputs to the end they have at
the start, turns the clock to that instant, and exits. That needs clock: events.

If rules were changed since the last run, it refuses to start and says which.
With --rebuild it folds the events again from the earliest that Kafka still has,
tells nothing of the past, and then tells the differences.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opt := app.RunOptions{Rebuild: rebuild}
			for _, x := range []struct {
				flag, text string
				to         *engine.Millis
			}{{"--until", until, &opt.Until}, {"--now", now, &opt.Now}} {
				if err := instant(x.flag, x.text, x.to); err != nil {
					return &exitError{exitUsage, err}
				}
			}
			conf, err := app.ReadConfig(config)
			if err != nil {
				return badConfig(err)
			}
			if opt.Until != 0 && conf.Clock != "events" {
				return badConfig(errors.New("--until needs `clock: events` in the configuration: with the wall clock, time cannot be turned to an instant"))
			}
			opt.Logger = app.NewLogger(conf.Log, term.IsTerminal(int(os.Stderr.Fd())))
			rules, err := app.LoadRules(conf.Rules)
			if err != nil {
				return badConfig(err)
			}
			if err := app.RunRules(cmd.Context(), conf, rules, opt); err != nil {
				return failed(err)
			}
			return nil
		},
	}
	c.Flags().StringVarP(&config, "config", "c", "segmill.yaml", "configuration file")
	c.Flags().StringVar(&until, "until", "", "run over history and end at this instant (RFC 3339)")
	c.Flags().StringVar(&now, "now", "", "take this instant for the present when an event is judged to lie in the future (default: the wall clock)")
	c.Flags().BoolVar(&rebuild, "rebuild", false, "if rules were changed, fold the retained events again and tell the differences")
	return c
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
