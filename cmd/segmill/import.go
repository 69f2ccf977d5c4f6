package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/segmill/segmill/consumer/rulelog"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/apply"
	"github.com/segmill/segmill/internal/bounded"
	"github.com/segmill/segmill/internal/crash"
	"github.com/segmill/segmill/internal/importing"
	"github.com/segmill/segmill/internal/memlimit"
	"github.com/segmill/segmill/internal/notes"
	"github.com/segmill/segmill/schemas"
)

// importFlags are those of an import.
type importFlags struct {
	config, topic, refused, tmp, now string
	nowAt                            engine.Millis // 0: the wall clock
}

func importCommand() *cobra.Command {
	var f importFlags
	c := &cobra.Command{
		Use:   "import -c segmill.yaml --topic TOPIC FILE...",
		Short: "Import events that Kafka no longer has, from files",
		Long: `import writes the events of files into the topic <app>.history, from which an application
makes facts as if the events were still in its input topics. A new application reads them
before anything else. One that runs reads them when rules that look back that far are
applied.

  segmill import -c segmill.yaml --topic events.purchase orders-2024.jsonl.gz orders-2025.jsonl.gz
  segmill import -c segmill.yaml events.purchase=orders events.web=visits

Files have one JSON object per line, or are JSON arrays, plain or compressed with gzip or
zstd. Of a directory, all files are read. Each line is a record of the input topic that
is named, read under the rules in force, and through its mapping if it has one. Lines
have no keys, headers or times of records. They need not be sorted.

All files are read and sorted on disk first, and nothing is written before. If a line
can't be read, or is dated in the future, nothing is written at all; --refused writes
such lines to a file, with the reasons, and imports the rest. Erasures can't be imported.

An import that was interrupted, in whatever way, goes on when the same command is given
again, and each event is written once. One that is complete is not written twice. What is
imported counts once all of it is there.

The exit code is 0 if the import is complete, and 1 if it is not.`,
		Args: arguments(cobra.MinimumNArgs(1), "segmill import -c segmill.yaml --topic events.purchase orders.jsonl.gz"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := instant("--now", f.now, &f.nowAt); err != nil {
				return &exitError{exitUsage, err}
			}
			return f.run(cmd, args)
		},
	}
	fl := c.Flags()
	fl.StringVarP(&f.config, "config", "c", "segmill.yaml", "configuration file")
	fl.StringVar(&f.topic, "topic", "", "input whose records the lines are, for files that are not given as TOPIC=FILE")
	fl.StringVar(&f.refused, "refused", "", "write lines that can't be imported to this file, and import the rest")
	fl.StringVar(&f.now, "now", "", "use this instant as the present: events dated after it, and max_future_skew, are refused (default: the wall clock)")
	fl.StringVar(&f.tmp, "tmp", "", "directory for sorting: takes about as much as the files without compression (default: the system's)")
	return c
}

func (f *importFlags) run(cmd *cobra.Command, args []string) error {
	conf, err := app.ReadConfigToRun(f.config)
	if err != nil {
		return badConfig(err)
	}
	memlimit.Set()
	rules, err := rulesInForce(cmd, conf)
	if err != nil {
		return interrupted(cmd, err)
	}
	cfg, err := conf.Tool(cmd.Context(), rules, app.RunOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return interrupted(cmd, failed(err))
	}
	i := &importer{importFlags: f, cmd: cmd, errs: cmd.ErrOrStderr(), conf: conf, rules: rules, line: newProgress(os.Stderr)}
	defer i.close()
	to, err := importing.Connect(cmd.Context(), &cfg)
	if err != nil {
		return interrupted(cmd, failed(err))
	}
	defer to.Close()
	if i.old, err = to.Begun(cmd.Context()); err != nil {
		return interrupted(cmd, failed(err))
	}
	i.latest = cmp.Or(f.nowAt, cfg.NowMillis()) + engine.Millis(cfg.Time.MaxFutureSkew.Milliseconds())
	return interrupted(cmd, i.run(to, args))
}

// rulesInForce returns the rules in force of an application, or those of its configuration if
// it has none because it has never run.
func rulesInForce(cmd *cobra.Command, conf *app.Config) (rules *app.Rules, err error) {
	s, err := apply.Open(cmd.Context(), conf, app.RunOptions{Logger: slog.New(slog.DiscardHandler)})
	switch {
	case errors.Is(err, rulelog.ErrAbsent):
	case err != nil:
		return nil, failed(err)
	default:
		defer s.Close()
		if e := s.View.Newest(); e != nil {
			if rules, err = app.CompileSet(e); err != nil {
				return nil, failed(fmt.Errorf("this version can't read the rules in force: use the version that applied them, or a later one: %w", err))
			}
			return rules, nil
		}
	}
	if rules, err = app.LoadRulesWithin(cmd.Context(), conf.Rules); err != nil {
		return nil, badConfig(err)
	}
	return rules, nil
}

// importer is one call of the command.
type importer struct {
	*importFlags
	cmd    *cobra.Command
	errs   io.Writer
	conf   *app.Config
	rules  *app.Rules
	old    bool // the application has begun before
	latest engine.Millis
	topics []string

	files []importing.File
	open  []*os.File
	line  *progressLine
	read  atomic.Int64
	begun time.Time // the step that runs
	said  time.Time // what was said of it last

	noting sync.Mutex
	noted  notes.Tally

	bad     int64
	refuses *os.File // in place of --refused until it is whole; nil without
	out     *bufio.Writer
}

func (i *importer) close() {
	i.line.clear()
	for _, file := range i.open {
		_ = file.Close() // read only
	}
	if i.refuses != nil {
		_ = i.refuses.Close() // it was not finished
		_ = os.Remove(i.refuses.Name())
	}
}

// run imports files.
func (i *importer) run(to *importing.Target, args []string) error {
	reader, err := i.reader()
	if err != nil {
		return badConfig(err)
	}
	for _, arg := range args {
		if err := i.add(arg); err != nil {
			return err
		}
	}
	if err := i.openRefused(); err != nil {
		return failed(fmt.Errorf("--refused: %w", err))
	}
	i.begin()
	sorted, err := importing.Sort(i.cmd.Context(), i.files, importing.Options{
		App: i.conf.App, Partitions: to.Partitions, Reader: reader, Streams: i.rules.Set.Spec.Streams(), Latest: i.latest, Dir: i.tmp,
		Refused: i.refuse, KeepRest: i.refused != "", Progress: i.reading, OnPanic: crash.OnPanic,
	})
	if err != nil {
		return failed(err)
	}
	defer sorted.Close()
	i.line.clear()
	if err := i.sorted(sorted); err != nil {
		return failed(err)
	}
	to.Progress, to.OnPanic = i.writing, crash.OnPanic
	i.begin()
	w, err := sorted.Write(i.cmd.Context(), *to)
	i.line.clear()
	if err != nil && w.Records > 0 {
		fmt.Fprintf(i.errs, "%d of %d events are in %s: the same command goes on behind them\n", w.Records, sorted.Counts.Events, to.Topic)
	}
	if err != nil {
		return failed(err)
	}
	i.report(to, sorted, w)
	return i.next(to)
}

// reader returns what makes events of lines under the rules.
func (i *importer) reader() (*schemas.Reader, error) {
	zones := app.Zones()
	cfg := schemas.Config{
		Catalog: i.rules.Engine.Catalog(), Layouts: i.rules.Engine.Layout, Reading: i.rules.Set.Spec.Reading,
		Zones: func(name string) bool { _, ok := zones(name); return ok },
		Noted: func(topic string, n *schemas.Note) {
			i.noting.Lock()
			defer i.noting.Unlock()
			i.noted.Take(topic, n)
		},
	}
	warned, err := i.conf.CheckRules(i.config, i.rules)
	if err != nil {
		return nil, err
	}
	for _, w := range warned {
		fmt.Fprintln(i.errs, w.Warning())
	}
	if i.topics, err = i.conf.AddInputs(i.rules, &cfg); err != nil {
		return nil, err
	}
	return schemas.NewReader(cfg)
}

// add opens the files that an argument names.
func (i *importer) add(arg string) error {
	topic, path, ok := strings.Cut(arg, "=")
	if !ok || !slices.Contains(i.topics, topic) {
		topic, path = i.topic, arg
	}
	inputs := strings.Join(i.topics, ", ")
	switch {
	case topic == "":
		return &exitError{exitUsage, fmt.Errorf("%s: say of which input it is, with --topic, or as TOPIC=FILE: inputs are %s", arg, inputs)}
	case !slices.Contains(i.topics, topic):
		return &exitError{exitUsage, fmt.Errorf("--topic %s is no input that the rules read: inputs are %s", topic, inputs)}
	case path == "-":
		return &exitError{exitUsage, errors.New("standard input can't be read again if the import is interrupted: write it to a file first")}
	}
	paths, err := filesOf(path)
	if err != nil {
		return failed(err)
	}
	for _, path := range paths {
		if err := i.file(topic, path); err != nil {
			return failed(err)
		}
	}
	return nil
}

func (i *importer) file(topic, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file that can be read again if the import is interrupted: write what it gives to a file first", path)
	}
	for _, have := range i.open {
		if other, err := have.Stat(); err == nil && os.SameFile(info, other) {
			return fmt.Errorf("%s is given twice", path)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	i.open = append(i.open, f)
	i.line.size += info.Size()
	i.files = append(i.files, importing.File{Name: path, Topic: topic, In: &countedBy{bounded.Interruptible(i.cmd.Context(), f), &i.read}})
	return nil
}

// openRefused opens what lines that can't be imported are written to.
func (i *importer) openRefused() error {
	if i.refused == "" {
		return nil
	}
	if info, err := os.Stat(i.refused); err == nil {
		for _, in := range i.open {
			if other, err := in.Stat(); err == nil && os.SameFile(info, other) {
				return fmt.Errorf("%s is one of the files to import: name another one", i.refused)
			}
		}
	}
	f, err := os.CreateTemp(filepath.Dir(i.refused), "."+filepath.Base(i.refused)+".*")
	if err != nil {
		return err
	}
	i.refuses, i.out = f, bufio.NewWriter(f)
	return nil
}

// shownRefused is how many refused lines are shown.
const shownRefused = 10

// refuse shows what can't be imported, and writes it to the file.
func (i *importer) refuse(r *importing.Refused) error {
	if i.bad++; i.bad <= shownRefused {
		i.line.clear()
		fmt.Fprintf(i.errs, "%s:%d: %s\n", r.File, r.Line, r.Reason)
	}
	if i.refuses == nil {
		return nil
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := i.out.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("--refused: %w", err)
	}
	return nil
}

// keepRefused puts the file of refused lines in its place.
func (i *importer) keepRefused() error {
	if i.refuses == nil {
		return nil
	}
	err := errors.Join(i.out.Flush(), i.refuses.Close())
	if err == nil {
		err = os.Rename(i.refuses.Name(), i.refused)
	}
	if err != nil {
		return fmt.Errorf("--refused: %w", err)
	}
	i.refuses = nil
	return nil
}

// sorted says what the files hold, and returns an error if it is not to be written.
func (i *importer) sorted(s *importing.Sorted) error {
	for _, l := range i.noted.Lines() {
		fmt.Fprintln(i.errs, noteLine(&l))
	}
	if err := i.keepRefused(); err != nil {
		return err
	}
	if i.bad > 0 {
		var l []string
		for _, cause := range slices.Sorted(maps.Keys(s.Counts.Refused)) {
			l = append(l, fmt.Sprintf("%d %s", s.Counts.Refused[cause], cause))
		}
		fmt.Fprintf(i.errs, "%d refused of %d lines: %s\n", i.bad, s.Counts.Lines, strings.Join(l, ", "))
		if i.refused == "" {
			return errors.New("nothing was written: mend these lines; or give --refused FILE, which gets them, and the rest is imported")
		}
	}
	if s.Counts.Events == 0 {
		return errors.New("there are no events in the files: nothing was written")
	}
	return nil
}

// saidEvery is how often progress is said where there is no terminal.
const saidEvery = 10 * time.Second

func (i *importer) begin() { i.begun, i.said = time.Now(), time.Now() }

// say says how far the step is.
func (i *importer) say(text string) {
	if i.line.w != nil {
		i.line.say(text)
	} else if now := time.Now(); now.Sub(i.said) >= saidEvery {
		i.said = now
		fmt.Fprintln(i.errs, text)
	}
}

func (i *importer) reading(p importing.Progress) {
	text := "reading: " + progressText(int(p.Lines), i.read.Load(), i.line.size, time.Since(i.begun))
	if p.Refused > 0 {
		text += fmt.Sprintf(", %d refused", p.Refused)
	}
	i.say(text)
}

func (i *importer) writing(p importing.Progress) {
	took := time.Since(i.begun)
	now := p.Written - p.Before // by this run
	left := time.Duration(float64(took) / float64(max(1, now)) * float64(p.Events-p.Written))
	i.say(fmt.Sprintf("writing: %d %%, %s left, %d of %d events, %.0f a second", 100*p.Written/p.Events, left.Round(time.Second), p.Written, p.Events, float64(now)/took.Seconds()))
}

// report says what was imported, and what comes next.
func (i *importer) report(to *importing.Target, s *importing.Sorted, w importing.Written) {
	out := i.cmd.OutOrStdout()
	if w.Already {
		fmt.Fprintf(out, "import %s is complete in %s already: nothing was written\n", s.ID, to.Topic)
		return
	}
	if w.Before > 0 {
		fmt.Fprintf(out, "an earlier run had written %d of the events\n", w.Before)
	}
	fmt.Fprintf(out, "import %s is complete: %d events of %d lines are in %s\n\n", s.ID, s.Counts.Events, s.Counts.Lines, to.Topic)
	kinds := slices.SortedFunc(maps.Keys(s.Kinds), func(a, b importing.Kind) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Stream, b.Stream))
	})
	width := len("TOPIC")
	for _, k := range kinds {
		width = max(width, len(k.Topic))
	}
	fmt.Fprintf(out, "%-*s  %-10s  %10s  %-24s  %s\n", width, "TOPIC", "STREAM", "EVENTS", "FIRST", "LAST")
	for _, k := range kinds {
		r := s.Kinds[k]
		fmt.Fprintf(out, "%-*s  %-10s  %10d  %-24s  %s\n", width, k.Topic, k.Stream, r.Records, r.First, r.Last)
	}
	fmt.Fprintln(out)
	if n := s.Counts.NoEvents; n > 0 {
		fmt.Fprintf(out, "%d × no event, as types and mappings say\n", n)
	}
	if i.bad > 0 {
		fmt.Fprintf(out, "%d refused: see %s\n", i.bad, i.refused)
	}
}

// next says what is to be done with what was imported.
func (i *importer) next(to *importing.Target) error {
	begun, err := to.Begun(i.cmd.Context())
	if err != nil {
		return failed(err)
	}
	out := i.cmd.OutOrStdout()
	switch {
	case begun && !i.old:
		// It looks for imports once, when it begins.
		fmt.Fprintf(i.errs, "%s has begun while this was imported, and may not have waited for it: see in its log whether it says \"history is read with the inputs\"\n", i.conf.App)
		fallthrough
	case begun:
		fmt.Fprintln(out, "next: segmill apply, with rules that look back to these events; rules that are in force keep the facts that they have")
	default:
		fmt.Fprintln(out, "next: segmill run, which reads these events with those of its inputs, in the order of time")
	}
	return nil
}
