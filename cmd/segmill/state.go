package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/console"
)

func stateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "state",
		Short: "Change the state of a stopped application",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return &exitError{exitUsage, errors.New("missing subcommand: reshard")}
		},
	}
	c.AddCommand(reshardCommand())
	return c
}

func reshardCommand() *cobra.Command {
	var from, config string
	var opt app.ReshardOptions
	c := &cobra.Command{
		Use:   "reshard --from OLD.yaml -c NEW.yaml",
		Short: "Move the state to another number of partitions",
		Long: `reshard moves the state of one application to another application with a different
number of partitions. Nothing is emitted and nothing is lost: the new application
continues where the old one stopped.

  1. Create the new input topics with the new number of partitions, and write a
     configuration with another app for them. Or keep the old topics, and write the
     number of tasks as topics.create.partitions.
  2. Stop the producers, wait until the lag is 0, stop all instances.
  3. Run segmill state reshard --from OLD.yaml -c NEW.yaml
  4. Point the producers at the new topics, and run NEW.yaml.

Once this has begun, the old application no longer starts. If the command fails, fix
what it reports and run it again, or return the state with --undo. See
docs/state.md.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case from == "":
				return &exitError{exitUsage, errors.New("--from is required: the configuration of the old application")}
			case opt.Undo && (opt.DryRun || opt.Unread):
				return &exitError{exitUsage, errors.New("--undo cannot be combined with other flags")}
			}
			old, err := app.ReadConfig(from)
			if err != nil {
				return badConfig(err)
			}
			next, err := app.ReadConfig(config)
			if err != nil {
				return badConfig(err)
			}
			opt.Logger = console.NewLogger(os.Stderr, next.Log, term.IsTerminal(int(os.Stderr.Fd())))
			done, err := app.Reshard(cmd.Context(), old, next, opt)
			if err != nil {
				return failed(err)
			}
			out := cmd.OutOrStdout()
			for topic, n := range done.Unread {
				fmt.Fprintf(out, "%s: %s unread; the new application will read them\n", topic, app.Plural(int(n), "record"))
			}
			if done.TooLarge > 0 {
				fmt.Fprintf(out, "%s of history too large to copy: a rebuild will not see them\n", app.Plural(done.TooLarge, "record"))
			}
			switch {
			case opt.Undo:
				fmt.Fprintf(out, "%s can run again; delete the topics %s.changelog and %s.repartition if they exist\n", old.App, next.App, next.App)
			case opt.DryRun:
				fmt.Fprintf(out, "%s with %d partitions can be moved to %s with %d\n", old.App, done.From, next.App, done.To)
			default:
				fmt.Fprintf(out, "%s with %d partitions is now %s with %d: %s, %s of history\n",
					old.App, done.From, next.App, done.To, app.Plural(done.Customers, "customer"), app.Plural(done.Records, "record"))
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&from, "from", "", "configuration file of the old application")
	f.StringVarP(&config, "config", "c", "segmill.yaml", "configuration file of the new application")
	f.BoolVar(&opt.DryRun, "dry-run", false, "only check whether the move is possible")
	f.BoolVar(&opt.Unread, "unread", false, "go ahead although records are unread, if the new application reads them")
	f.BoolVar(&opt.Undo, "undo", false, "return the state to the old application, if the move was not completed")
	return c
}
