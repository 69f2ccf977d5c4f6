package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/bounded"
	"github.com/segmill/segmill/internal/notes"
	"github.com/segmill/segmill/internal/replay"
	"github.com/segmill/segmill/schemas"
)

type replayFlags struct {
	rules             []string
	events            string
	until, now        string
	app, output       string
	untilAt, latestAt engine.Millis
}

func replayCommand() *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use:   "replay --rules PATH --events FILE.jsonl",
		Short: "Run rules over a file of events, without Kafka",
		Long: `replay folds the events of a file, one JSON object per line in the order of
arrival, and prints every membership change and every trigger as one JSON object
per line. The clock follows the events; at the end it is set to --until, or to the
time of the latest event.

A line is an event of one stream (web, email, purchase, profile, consent):

  {"stream":"purchase","event_id":"e1","customer_id":"c1",
   "occurred_at":"2026-01-01T00:00:00Z","revenue":"19.90"}

The fields are those of the schemas; docs/formats.md describes them. A message as
Segment's and RudderStack's libraries send it is such an event too, and a batch of
messages is as many. A file cannot contain erasures (tombstones). It may also be a
JSON array of events, and compressed with gzip or zstd.

On standard error it says how many lines there were, how large each segment is at the
end, how many customers entered and left it, and how often each trigger fired.

Lines that are no events are reported on standard error with their number, and make
the exit code 1. Behind their number, it says which fields could not be read and
are absent, which words were unknown, what was derived or left out, and which
members have a name that is nearly that of a field; that changes no exit code.`,
		Args: arguments(cobra.NoArgs, "segmill replay --rules rules --events events.jsonl"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return &exitError{exitUsage, err}
			}
			return f.run(cmd)
		},
	}
	fl := c.Flags()
	fl.StringArrayVar(&f.rules, "rules", nil, "rule file or directory (may be repeated)")
	fl.StringVar(&f.events, "events", "", "file of events, - for standard input")
	fl.StringVar(&f.until, "until", "", "skip later events, and set the clock to this instant at the end (RFC 3339, or a date: midnight in UTC)")
	fl.StringVar(&f.now, "now", "", "use this instant as the present: events more than 5 minutes after it are bad (default: the wall clock)")
	fl.StringVar(&f.app, "app", "replay", "application name, part of the ids of changes and triggers")
	fl.StringVarP(&f.output, "output", "o", "jsonl", "jsonl, json (one document with the summary) or table")
	return c
}

func (f *replayFlags) check() error {
	switch {
	case len(f.rules) == 0:
		return fmt.Errorf("no rules: use --rules PATH")
	case f.events == "":
		return fmt.Errorf("no events: use --events FILE.jsonl, or - for standard input")
	case !slices.Contains([]string{"jsonl", "json", "table"}, f.output):
		return fmt.Errorf("-o %s: must be jsonl, json or table", f.output)
	}
	now := expr.MillisOf(time.Now())
	f.untilAt = engine.Never // no event is later
	if err := instant("--until", f.until, &f.untilAt); err != nil {
		return err
	}
	if err := instant("--now", f.now, &now); err != nil {
		return err
	}
	f.latestAt = now + app.DefaultFutureSkew
	return nil
}

func (f *replayFlags) run(cmd *cobra.Command) error {
	rules, err := app.LoadRulesWithin(cmd.Context(), f.rules)
	if err != nil {
		return interrupted(cmd, badConfig(err))
	}
	for _, w := range rules.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), w)
	}
	in, size := cmd.InOrStdin(), int64(0)
	if f.events != "-" {
		// To open a pipe is to wait for somebody who writes to it.
		file, err := bounded.Within(cmd.Context(), func() (*os.File, error) { return os.Open(f.events) })
		if err != nil {
			return interrupted(cmd, failed(fmt.Errorf("--events: %w", err)))
		}
		defer file.Close()
		if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
		in = file
	}
	return f.replay(cmd, rules, bounded.Interruptible(cmd.Context(), in), size)
}

// replay runs over what in holds, which has a size in bytes if that is known.
func (f *replayFlags) replay(cmd *cobra.Command, rules *app.Rules, in io.Reader, size int64) error {
	raw := &counted{Reader: in}
	wrong := func(err error) error { return interrupted(cmd, fmt.Errorf("--events: %w", err)) }
	events, err := replay.Decompressed(raw)
	if err != nil {
		return failed(wrong(err))
	}
	defer events.Close()
	var noted notes.Tally
	progress := newProgress(os.Stderr)
	progress.size, progress.read = size, func() int64 { return raw.n }
	file, err := f.file(cmd, rules, &noted, progress)
	if err != nil {
		return failed(err)
	}
	w := bufio.NewWriterSize(cmd.OutOrStdout(), 1<<16)
	out, err := newOutput(f.output, f.app, w, widthOf(cmd.OutOrStdout()))
	if err != nil {
		return failed(err)
	}
	total := replay.NewSummary(rules.Engine)
	file.Runner.Emit = func(effects []engine.Effect) {
		out.effects(effects)
		total.Take(effects)
	}
	counts, err := file.Run(events)
	if err != nil {
		err = wrong(err)
	}
	progress.clear()
	out.end(replayed{counts, file.Runner.Customers(), total, f.endOf(file.Runner)})
	if err := errors.Join(err, w.Flush()); err != nil {
		return failed(err)
	}
	f.summarize(cmd.ErrOrStderr(), counts, file, total, &noted)
	if counts.Bad > 0 {
		return failed(nil)
	}
	return nil
}

// endOf is where the clock is at the end, Never if nothing moved it.
func (f *replayFlags) endOf(r *replay.Runner) engine.Millis {
	latest, ok := r.Latest()
	if !ok {
		return engine.Never
	}
	if f.untilAt != engine.Never {
		return f.untilAt
	}
	return latest
}

// summarize says what became of the lines and of the rules, and what was noted of the
// events.
func (f *replayFlags) summarize(w io.Writer, counts replay.Counts, file *replay.File, total *replay.Summary, noted *notes.Tally) {
	r := file.Runner
	fmt.Fprintln(w, summary(counts, r.Customers()))
	for _, l := range noted.Lines() {
		fmt.Fprintln(w, noteLine(&l))
	}
	for _, l := range file.Members.Lines() {
		fmt.Fprintln(w, "  "+l)
	}
	if f.endOf(r) == engine.Never {
		return
	}
	fmt.Fprintf(w, "\nat %s\n", f.endOf(r))
	for _, l := range summaryLines(total) {
		fmt.Fprintln(w, l)
	}
}

// file returns a replay that reports to the command's standard error.
func (f *replayFlags) file(cmd *cobra.Command, rules *app.Rules, noted *notes.Tally, progress *progressLine) (*replay.File, error) {
	zones := app.Zones()
	reader, err := schemas.NewReader(schemas.Config{
		Catalog: rules.Engine.Catalog(),
		Layouts: rules.Engine.Layout,
		Zones:   func(name string) bool { _, ok := zones(name); return ok },
		Noted:   noted.Take,
		Reading: rules.Set.Spec.Reading,
	})
	if err != nil {
		return nil, err
	}
	return &replay.File{
		Runner:   &replay.Runner{Engine: rules.Engine, Grace: app.DefaultGrace},
		Decoder:  replay.Decoder{Reader: reader, Members: replay.NewMembers(rules.Engine.Catalog())},
		Until:    f.untilAt,
		Latest:   f.latestAt,
		Progress: progress.show,
		Bad: func(line int, err error) {
			progress.clear()
			fmt.Fprintf(cmd.ErrOrStderr(), "%s:%d: %v\n", f.events, line, err)
		},
	}, nil
}

func summary(c replay.Counts, customers int) string {
	what := "line"
	if c.Array {
		what = "element"
	}
	s := fmt.Sprintf("%s, %s", app.Plural(c.Lines, what), app.Plural(customers, "customer"))
	for _, x := range []struct {
		n    int
		what string
	}{{c.Duplicates, "skipped as duplicate"}, {c.Skipped, "after --until"}, {c.NoEvents, "no event"}, {c.Bad, "bad"}} {
		if x.n > 0 {
			s += fmt.Sprintf(", %d %s", x.n, x.what)
		}
	}
	return s
}

// noteLine says what was noted of events that were read all the same.
func noteLine(l *notes.Line) string {
	s := fmt.Sprintf("  %d × %s", l.N, l.Text)
	if l.Topic != "" {
		s = fmt.Sprintf("  %s: %d × %s", l.Topic, l.N, l.Text)
	}
	if l.First != "" {
		s += ", first: " + l.First
	}
	return s
}
