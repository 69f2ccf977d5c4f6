package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/segmill/segmill/internal/app"
)

// eraseWait is how long receipts are waited for unless --wait says otherwise.
const eraseWait = 5 * time.Second

func eraseCommand() *cobra.Command {
	var config, file string
	var dryRun bool
	opt := app.EraseOptions{}
	c := &cobra.Command{
		Use:   "erase -c segmill.yaml CUSTOMER...",
		Short: "Erase customers",
		Long: `erase asks the engine to forget customers: it writes a tombstone for each to the
profile topic, and prints where it stands. The engine then lets the customer leave
every segment, deletes everything it knows, and writes a record with the action
erased, the receipt. It need not be running now: what is asked for is done when it
comes to it.

erase waits a few seconds for the receipts and says who was not known. With --wait
it waits so long, and exits with 1 if not all have come.

A file has one id a line. If a line is plainly something else, because of quotes,
white space around it, or columns of a table, the line is named and nobody is
erased. --literal takes every id as it stands.

What is not the engine's stays: records in the input topics and in <app>.dlq. See
docs/operations.md.`,
		RunE: func(cmd *cobra.Command, ids []string) error {
			conf, err := app.ReadConfig(config)
			if err != nil {
				return badConfig(err)
			}
			for _, id := range ids {
				if err := opt.Check(id); err != nil {
					return &exitError{exitUsage, err}
				}
			}
			if file != "" {
				more, err := opt.ReadFile(cmd.Context(), cmd.InOrStdin(), file)
				if err != nil {
					return failed(fmt.Errorf("--file: %w", err))
				}
				ids = append(ids, more...)
			}
			if len(ids) == 0 {
				return &exitError{exitUsage, errors.New("name a customer, or a file of them with --file")}
			}
			if dryRun {
				fmt.Fprintf(cmd.OutOrStdout(), "%s in good form; nothing was written\n", app.Plural(len(ids), "id"))
				return nil
			}
			return erase(cmd, conf, ids, opt)
		},
	}
	f := c.Flags()
	f.StringVarP(&config, "config", "c", "segmill.yaml", "configuration file")
	f.StringVar(&file, "file", "", "file of customer ids, one a line; - for standard input")
	f.BoolVar(&dryRun, "dry-run", false, "only check the ids")
	f.BoolVar(&opt.Literal, "literal", false, "take ids as they stand, also those that look like something else")
	f.DurationVar(&opt.Wait, "wait", eraseWait, "wait so long for the receipts, and exit with 1 if not all have come; 0s does not wait")
	return c
}

func erase(cmd *cobra.Command, conf *app.Config, ids []string, opt app.EraseOptions) error {
	done, err := app.Erase(cmd.Context(), conf, ids, opt, cmd.OutOrStdout())
	if err != nil {
		return failed(err)
	}
	err = done.Report(cmd.OutOrStdout())
	if err != nil && !cmd.Flags().Changed("wait") {
		fmt.Fprintln(cmd.ErrOrStderr(), "segmill:", err)
		return nil
	}
	if err != nil {
		return failed(err)
	}
	return nil
}
