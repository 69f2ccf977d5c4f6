package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/segmill/segmill/internal/editor"
	"github.com/segmill/segmill/internal/starter"
)

func initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init DIR",
		Short: "Write a folder to start from: rules, a test, a configuration",
		Long: `init writes a folder to start from: a rule file and its test, a configuration, a file
of events, and the JSON Schemas that editors check these files by. It overwrites
nothing.`,
		Args: arguments(cobra.ExactArgs(1), "segmill init shop"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := filepath.Clean(args[0])
			names, err := starter.Write(dir, time.Now())
			if err != nil {
				return failed(err)
			}
			slices.Sort(names)
			out := cmd.OutOrStdout()
			for _, name := range names {
				fmt.Fprintf(out, "%s/%s\n", dir, name)
			}
			fmt.Fprintf(out, `
Next:
  segmill test %[1]s/rules
  segmill check -c %[1]s/segmill.yaml
  segmill replay --rules %[1]s/rules --events %[1]s/events.jsonl -o table
  segmill run -c %[1]s/segmill.yaml
`, dir)
			return nil
		},
	}
}

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema " + strings.Join(editor.Names(), "|"),
		Short: "Print the JSON Schema of rule, test or configuration files",
		Long: `schema prints a JSON Schema, by which editors complete and check files while they are
written. With the YAML language server, a file names its schema in its first line:

  # yaml-language-server: $schema=schemas/rules.schema.json`,
		Args:      arguments(cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs), "segmill schema rules"),
		ValidArgs: editor.Names(),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := editor.Schema(args[0])
			if err != nil {
				return failed(err)
			}
			fmt.Fprint(cmd.OutOrStdout(), text)
			return nil
		},
	}
}
