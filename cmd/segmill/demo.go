package main

import (
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/examples/shop"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/demo"
	"github.com/segmill/segmill/internal/rulefiles"
)

func demoCommand() *cobra.Command {
	var opt demo.Options
	var rules []string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Watch it work: a broker, a shop and the engine in one process",
		Long: `demo starts an embedded Kafka broker, a synthetic shop that publishes events to it,
and the engine. The shop starts in the past, catches up with the present and then
continues in real time. All data is in a temporary directory, which is removed at
the end.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opt.For > 0 && opt.CatchUp >= opt.For && !cmd.Flags().Changed("catch-up") {
				opt.CatchUp = opt.For * 3 / 4
			}
			if err := opt.Validate(); err != nil {
				return &exitError{exitUsage, err}
			}
			var err error
			if opt.Rules, err = demoRules(rules); err != nil {
				return badConfig(err)
			}
			opt.Out, opt.Size = cmd.OutOrStdout(), terminalSize(os.Stdout)
			opt.Colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
			// A pipe that is closed, as by head, ends the demo and not the process,
			// which would leave its files behind.
			signal.Ignore(syscall.SIGPIPE)
			if err := demo.Run(cmd.Context(), opt); err != nil && !errors.Is(err, syscall.EPIPE) {
				return failed(err)
			}
			return nil
		},
	}
	f := c.Flags()
	lengthVar(f, &opt.For, "for", 0, "end after this time (default: at Ctrl-C)")
	f.Uint64Var(&opt.Seed, "seed", 1, "seed of the shop")
	f.IntVar(&opt.Customers, "customers", 1000, "customers of the shop")
	lengthVar(f, &opt.Past, "past", 100*24*time.Hour, "how far back the shop starts")
	lengthVar(f, &opt.CatchUp, "catch-up", 40*time.Second, "how long the catch-up to the present takes")
	f.StringArrayVar(&rules, "rules", nil, "rules to run instead of the example shop's (may be repeated)")
	return c
}

// terminalSize returns how to ask a terminal for its size, nil if f is none.
func terminalSize(f *os.File) func() (width, height int) {
	fd := int(f.Fd())
	if !term.IsTerminal(fd) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return func() (int, int) {
		w, h, err := term.GetSize(fd)
		if err != nil || w <= 0 || h <= 0 {
			return 80, 24
		}
		return w, h
	}
}

// demoRules loads the rules that are named, or those of the example shop.
func demoRules(paths []string) (*app.Rules, error) {
	if len(paths) > 0 {
		return app.LoadRules(paths)
	}
	names, err := fs.Glob(shop.Rules, "rules/*.yaml")
	if err != nil {
		return nil, err
	}
	var files []rule.File
	for _, name := range names {
		if rulefiles.IsTest(name) {
			continue
		}
		b, err := shop.Rules.ReadFile(name)
		if err != nil {
			return nil, err
		}
		files = append(files, rule.File{Name: name, Data: b})
	}
	return app.CompileRules(files)
}
