package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/internal/app"
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

The fields are those of the schemas; docs/formats.md describes them. A file cannot
contain erasures (tombstones).

Lines that are no events are reported on standard error with their number, and make
the exit code 1. Behind the summary there, it says which fields could not be read and
are absent, which words were unknown, and what was derived or left out; that changes
no exit code.`,
		Args: cobra.NoArgs,
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
	fl.StringVar(&f.until, "until", "", "skip later events, and set the clock to this instant at the end (RFC 3339)")
	fl.StringVar(&f.now, "now", "", "use this instant as the present: events more than 5 minutes after it are bad (default: the wall clock)")
	fl.StringVar(&f.app, "app", "replay", "application name, part of the ids of changes and triggers")
	fl.StringVarP(&f.output, "output", "o", "jsonl", "jsonl or table")
	return c
}

func (f *replayFlags) check() error {
	switch {
	case len(f.rules) == 0:
		return fmt.Errorf("no rules: use --rules PATH")
	case f.events == "":
		return fmt.Errorf("no events: use --events FILE.jsonl, or - for standard input")
	case f.output != "jsonl" && f.output != "table":
		return fmt.Errorf("-o %s: must be jsonl or table", f.output)
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
	in := cmd.InOrStdin()
	if f.events != "-" {
		// To open a pipe is to wait for somebody who writes to it.
		file, err := app.Within(cmd.Context(), func() (*os.File, error) { return os.Open(f.events) })
		if err != nil {
			return interrupted(cmd, failed(fmt.Errorf("--events: %w", err)))
		}
		defer file.Close()
		in = file
	}
	var noted notes.Tally
	file, err := f.file(cmd, rules, &noted)
	if err != nil {
		return failed(err)
	}
	out := bufio.NewWriterSize(cmd.OutOrStdout(), 1<<16)
	if file.Runner.Emit, err = f.printer(out); err != nil {
		return failed(err)
	}
	counts, err := file.Run(app.Interruptible(cmd.Context(), in))
	if err != nil {
		err = interrupted(cmd, fmt.Errorf("--events: %w", err))
	}
	file.Progress(replay.Counts{}) // clears the line
	if err := errors.Join(err, out.Flush()); err != nil {
		return failed(err)
	}
	fmt.Fprintln(cmd.ErrOrStderr(), summary(counts, file.Runner.Customers()))
	for _, l := range noted.Lines() {
		fmt.Fprintln(cmd.ErrOrStderr(), noteLine(&l))
	}
	if counts.Bad > 0 {
		return failed(nil)
	}
	return nil
}

// file returns a replay that reports to the command's standard error.
func (f *replayFlags) file(cmd *cobra.Command, rules *app.Rules, noted *notes.Tally) (*replay.File, error) {
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
	progress := newProgress(os.Stderr)
	return &replay.File{
		Runner:   &replay.Runner{Engine: rules.Engine, Grace: app.DefaultGrace},
		Reader:   reader,
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
	s := fmt.Sprintf("%s, %s", app.Plural(c.Lines, "line"), app.Plural(customers, "customer"))
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

const tableFormat = "%-24s  %-12s  %-8s  %-24s  %s"

// printer returns what writes effects to w in the chosen format.
func (f *replayFlags) printer(w io.Writer) (func([]engine.Effect), error) {
	if f.output == "table" {
		fmt.Fprintf(w, tableFormat+"\n", "AT", "CUSTOMER", "", "SEGMENT OR TRIGGER", "WHY")
		return func(effects []engine.Effect) {
			for i := range effects {
				fmt.Fprintln(w, tableLine(&effects[i]))
			}
		}, nil
	}
	enc, err := schemas.NewEncoder(schemas.JSON, f.app, schemas.IDs{})
	if err != nil {
		return nil, err
	}
	var b []byte
	var o schemas.Output
	return func(effects []engine.Effect) {
		now := expr.MillisOf(time.Now())
		for i := range effects {
			b = enc.Append(b[:0], &o, &effects[i], now)
			_, _ = w.Write(o.Value) // a bufio.Writer keeps its first error for Flush
			io.WriteString(w, "\n")
		}
	}, nil
}

func tableLine(e *engine.Effect) string {
	why := app.Why(e)
	if e.Action != engine.Fired {
		why = e.Cause.String() + ": " + why
	}
	return strings.TrimRight(fmt.Sprintf(tableFormat, e.At, e.Customer, e.Action, e.Name, why), " ")
}

// progressLine shows on a terminal how far a replay is, about five times a
// second; on anything else it shows nothing.
type progressLine struct {
	w     *os.File
	start time.Time
	last  time.Time
	shown bool
}

func newProgress(w *os.File) *progressLine {
	p := &progressLine{start: time.Now()}
	if term.IsTerminal(int(w.Fd())) {
		p.w = w
	}
	return p
}

// show is called after every line of the file, and with no lines at the end.
func (p *progressLine) show(c replay.Counts) {
	if c.Lines == 0 {
		p.clear()
	}
	if p.w == nil || c.Lines%256 != 0 || c.Lines == 0 {
		return
	}
	now := time.Now()
	if now.Sub(p.last) < 200*time.Millisecond {
		return
	}
	p.last, p.shown = now, true
	fmt.Fprintf(p.w, "\r\x1b[K%d lines, %.0f a second", c.Lines, float64(c.Lines)/now.Sub(p.start).Seconds())
}

func (p *progressLine) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
