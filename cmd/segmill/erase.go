package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/segmill/segmill/internal/app"
)

func eraseCommand() *cobra.Command {
	var config, file string
	c := &cobra.Command{
		Use:   "erase -c segmill.yaml CUSTOMER...",
		Short: "Erase customers",
		Long: `erase asks the engine to forget customers: it writes a tombstone for each to the
profile topic, and prints where it stands. The engine then lets the customer leave
every segment, deletes everything it knows, and writes a record with the action
erased. It need not be running now.

What is not the engine's stays: records in the input topics and in <app>.dlq. See
docs/operations.md.`,
		RunE: func(cmd *cobra.Command, ids []string) error {
			conf, err := app.ReadConfig(config)
			if err != nil {
				return badConfig(err)
			}
			if file != "" {
				more, err := readIDs(cmd.InOrStdin(), file)
				if err != nil {
					return failed(fmt.Errorf("--file: %w", err))
				}
				ids = append(ids, more...)
			}
			if len(ids) == 0 {
				return &exitError{exitUsage, errors.New("name a customer, or a file of them with --file")}
			}
			for _, id := range ids {
				if err := app.CheckCustomerID(id); err != nil {
					return &exitError{exitUsage, err}
				}
			}
			if err := app.Erase(cmd.Context(), conf, ids, cmd.OutOrStdout()); err != nil {
				return failed(err)
			}
			return nil
		},
	}
	c.Flags().StringVarP(&config, "config", "c", "segmill.yaml", "configuration file")
	c.Flags().StringVar(&file, "file", "", "file of customer ids, one a line; - for standard input")
	return c
}

// readIDs reads one id a line. Empty lines are passed over.
func readIDs(in io.Reader, file string) ([]string, error) {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	var ids []string
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if id := strings.TrimSuffix(lines.Text(), "\r"); id != "" {
			ids = append(ids, id)
		}
	}
	return ids, lines.Err()
}
