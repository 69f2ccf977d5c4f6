package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/erasure"
)

// eraseWait is how long receipts are waited for unless --wait says otherwise.
const eraseWait = 5 * time.Second

func eraseCommand() *cobra.Command {
	var config, file string
	var dryRun bool
	opt := erasure.Options{}
	c := &cobra.Command{
		Use:   "erase -c segmill.yaml CUSTOMER...",
		Short: "Erase customers",
		Long: `erase makes the engine forget customers. It writes a tombstone for each customer to
the profile topic and prints its offset. When the engine reads the tombstone, the
customer exits every segment, everything known about the customer is deleted, and
a record with the action erased is emitted: the receipt. The engine need not be
running now.

erase waits a few seconds for the receipts and lists the customers who were not
known. --wait changes how long, and makes erase exit with 1 if receipts are missing.

A file has one id per line. If a line is clearly something else, because of quotes,
surrounding white space or several columns, erase names the line and erases nobody.
--literal takes every id literally.

Records in the input topics and in <app>.dlq are not deleted. See
docs/state.md.`,
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
				fmt.Fprintf(cmd.OutOrStdout(), "%s valid; nothing was written\n", app.Plural(len(ids), "id"))
				return nil
			}
			return erase(cmd, conf, ids, opt)
		},
	}
	f := c.Flags()
	f.StringVarP(&config, "config", "c", "segmill.yaml", "configuration file")
	f.StringVar(&file, "file", "", "file of customer ids, one per line; - for standard input")
	f.BoolVar(&dryRun, "dry-run", false, "only check the ids")
	f.BoolVar(&opt.Literal, "literal", false, "take ids literally, including those that look like something else")
	lengthVar(f, &opt.Wait, "wait", eraseWait, "how long to wait for the receipts, with exit code 1 if some are missing; 0s does not wait")
	return c
}

func erase(cmd *cobra.Command, conf *app.Config, ids []string, opt erasure.Options) error {
	done, err := erasure.Erase(cmd.Context(), conf, ids, opt, cmd.OutOrStdout())
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
