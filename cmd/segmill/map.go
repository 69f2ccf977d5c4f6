package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/suggest"
)

type mapFlags struct {
	preset, customer, as, zone string
	config, topic              string
	suggest                    bool
}

func mapCommand() *cobra.Command {
	var f mapFlags
	c := &cobra.Command{
		Use:   "map --preset NAME | -c segmill.yaml --topic TOPIC | --suggest [FILE]",
		Short: "Show which events a mapping makes of records, or suggest a mapping",
		Long: `map reads records (JSON values, such as one per line) from a file or from standard
input, and prints the events that a mapping makes of them, one per line as replay
reads them. On standard error it says which records were skipped, what was refused,
and why.

  segmill map --preset shopify/orders@1 --customer-id msg.customer.id orders.jsonl
  segmill map -c segmill.yaml --topic shop.orders < orders.jsonl
  segmill map --suggest tickets.jsonl

With --suggest it looks at the records and prints a mapping to begin with: a guess,
to be read and corrected.

The exit code is 1 if anything was refused.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return &exitError{exitUsage, err}
			}
			in := cmd.InOrStdin()
			if len(args) == 1 && args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return failed(err)
				}
				defer file.Close()
				in = file
			}
			return f.run(cmd, in)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.preset, "preset", "", "preset, such as shopify/orders@1")
	fl.StringVar(&f.customer, "customer-id", "", "customer_id of the preset, such as msg.customer.id")
	fl.StringVar(&f.as, "as", "", "mail: customers of the preset are mail:<address>")
	fl.StringVar(&f.zone, "zone", "", "IANA time zone of times without one")
	fl.StringVarP(&f.config, "config", "c", "", "configuration file")
	fl.StringVar(&f.topic, "topic", "", "input topic of the configuration")
	fl.BoolVar(&f.suggest, "suggest", false, "suggest a mapping for the records")
	return c
}

func (f *mapFlags) check() error {
	ways := 0
	for _, is := range []bool{f.preset != "", f.config != "", f.suggest} {
		if is {
			ways++
		}
	}
	switch {
	case ways != 1:
		return errors.New("give one of --preset NAME, -c FILE --topic TOPIC, and --suggest")
	case f.config != "" && f.topic == "":
		return errors.New("give --topic with -c: the topic whose mapping is tried")
	}
	return nil
}

func (f *mapFlags) run(cmd *cobra.Command, in io.Reader) error {
	if f.suggest {
		text, err := suggest.Mapping(in)
		if err != nil {
			return failed(err)
		}
		fmt.Fprint(cmd.OutOrStdout(), text)
		return nil
	}
	m, err := f.mapper(cmd)
	if err != nil {
		return badConfig(err)
	}
	errs := cmd.ErrOrStderr()
	n, err := m.Map(in, cmd.OutOrStdout(), func(record int, what string) { fmt.Fprintf(errs, "record %d: %s\n", record, what) })
	fmt.Fprintf(errs, "%s: %s, %d skipped, %d refused\n", app.Plural(n.Records, "record"), app.Plural(n.Events, "event"), n.Skipped, n.Refused)
	if err != nil {
		return failed(err)
	}
	if n.Refused > 0 {
		return failed(nil)
	}
	return nil
}

// mapper returns what is to be tried.
func (f *mapFlags) mapper(cmd *cobra.Command) (*app.Mapper, error) {
	m := &app.Mapper{Topic: f.topic, Now: time.Now()}
	if f.preset != "" {
		beside := map[string]string{}
		for key, value := range map[string]string{"customer_id": f.customer, "as": f.as, "zone": f.zone} {
			if value != "" {
				beside[key] = value
			}
		}
		var err error
		if m.Rules, err = app.PresetRules(f.preset, beside); err != nil {
			return nil, err
		}
		for i := range m.Rules.Set.Spec.Mappings {
			m.Mappings = append(m.Mappings, &m.Rules.Set.Spec.Mappings[i])
		}
		m.Topic = f.preset
		return m, nil
	}
	conf, err := app.ReadConfig(f.config)
	if err != nil {
		return nil, err
	}
	if m.Rules, err = app.LoadRulesWithin(cmd.Context(), conf.Rules); err != nil {
		return nil, err
	}
	m.Mappings, err = conf.Mappings(m.Rules, f.topic)
	return m, err
}
