package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/mapper"
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
and why, and how many different events have the same event_id: of those of a customer,
one counts. What is said of more than three records is summed up at the end.

  segmill map --preset shopify/orders@1 --customer-id msg.customer.id orders.jsonl
  segmill map -c segmill.yaml --topic shop.orders < orders.jsonl
  segmill map --suggest tickets.jsonl

With --suggest it looks at the records and prints a mapping to begin with: a guess,
to be read and corrected.

The exit code is 1 if anything was refused.`,
		Args: arguments(cobra.MaximumNArgs(1), "segmill map -c segmill.yaml --topic shop.orders orders.jsonl"),
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
	said := repeated{w: errs, n: map[string]int{}}
	n, err := m.Map(in, cmd.OutOrStdout(), said.say)
	said.sum()
	fmt.Fprintf(errs, "%s: %s, %d skipped, %d refused\n", app.Plural(n.Records, "record"), app.Plural(n.Events, "event"), n.Skipped, n.Refused)
	if n.Shared > 0 && f.preset == "" { // presets know when a record is the same event again
		fmt.Fprintf(errs, "%s share an event_id with others of another content: of those of a customer, one counts, and the others are duplicates; choose an event_id that differs, unless they are updates of one event\n", app.Plural(n.Shared, "event"))
	}
	if err != nil {
		return failed(err)
	}
	if n.Refused > 0 {
		return failed(nil)
	}
	return nil
}

// repeated says what is said of many records for the first of them only.
type repeated struct {
	w     io.Writer
	n     map[string]int
	order []string // of what was said
}

// maxRepeated is of how many records the same is said.
const maxRepeated = 3

// say says something of a record.
func (r *repeated) say(record int, what string) {
	if r.n[what]++; r.n[what] == 1 {
		r.order = append(r.order, what)
	}
	if r.n[what] <= maxRepeated {
		fmt.Fprintf(r.w, "record %d: %s\n", record, what)
	}
}

// sum says of how many records it was not said.
func (r *repeated) sum() {
	for _, what := range r.order {
		if n := r.n[what] - maxRepeated; n > 0 {
			fmt.Fprintf(r.w, "and %s: %s\n", app.Plural(n, "more record"), what)
		}
	}
}

// mapper returns what is to be tried.
func (f *mapFlags) mapper(cmd *cobra.Command) (*mapper.Trial, error) {
	m := &mapper.Trial{Topic: f.topic, Now: time.Now()}
	if f.preset != "" {
		beside := map[string]string{}
		for key, value := range map[string]string{"customer_id": f.customer, "as": f.as, "zone": f.zone} {
			if value != "" {
				beside[key] = value
			}
		}
		var err error
		if m.Rules, err = mapper.PresetRules(f.preset, beside); err != nil {
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
