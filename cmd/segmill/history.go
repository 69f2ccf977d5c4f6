package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/backtest"
	"github.com/segmill/segmill/internal/bounded"
	"github.com/segmill/segmill/internal/crash"
	"github.com/segmill/segmill/internal/history"
	"github.com/segmill/segmill/internal/memlimit"
	"github.com/segmill/segmill/internal/notes"
	"github.com/segmill/segmill/internal/replay"
	"github.com/segmill/segmill/schemas"
)

// historyHelp is the part of the help that backtest and diff have in common.
const historyHelp = `Files of events are as replay reads them: one JSON object per line, or an array, plain
or compressed with gzip or zstd. Of a directory, all files are read. Lines of one file
come in their order, and several files are put in the order of time, so there can be a
file for each topic or each month. With -c, FILE can be TOPIC=FILE: its lines are
records of that input, read through its mapping.

Periods begin in the default time zone of the rules. --from leaves what was before it
out of the report, where it counts in sizes alone: give rules as much history before it
as they look back.`

// historyFlags are the flags that backtest and diff have in common.
type historyFlags struct {
	events           []string
	config           string
	from, until, now string
	every            string
	output, html     string
	noExamples       bool // of diff

	opt  backtest.Options
	conf *app.Config // nil without -c
}

func (f *historyFlags) add(fl *pflag.FlagSet) {
	fl.StringArrayVar(&f.events, "events", nil, "file or directory of events, or - for standard input (may be repeated)")
	fl.StringVarP(&f.config, "config", "c", "", "configuration whose inputs TOPIC=FILE names")
	fl.StringVar(&f.from, "from", "", "where the report begins (RFC 3339, or a date: midnight in UTC; default: at the first event)")
	fl.StringVar(&f.until, "until", "", "skip later events, and set the clock to this instant at the end")
	fl.StringVar(&f.now, "now", "", "use this instant as the present: events more than 5 minutes after it are bad (default: the wall clock)")
	fl.StringVar(&f.every, "every", "auto", "hour, day, week, or auto by the length of the history")
	fl.StringVarP(&f.output, "output", "o", "table", "table, json or html")
	fl.StringVar(&f.html, "html", "", "write the report as a page to this file, too")
}

// check reads the values of the flags.
func (f *historyFlags) check() (err error) {
	switch {
	case len(f.events) == 0:
		return errors.New("no events: use --events FILE.jsonl, or - for standard input")
	case f.standardInputs() > 1:
		return errors.New("--events -: standard input can be one file only")
	case !slices.Contains([]string{"table", "json", "html"}, f.output):
		return fmt.Errorf("-o %s: must be table, json or html", f.output)
	}
	f.opt = backtest.Options{From: math.MinInt64, Until: engine.Never, Grace: app.DefaultGrace, NoExamples: f.noExamples}
	if f.opt.Every, err = backtest.ParseEvery(f.every); err != nil {
		return fmt.Errorf("--every %w", err)
	}
	now := expr.MillisOf(time.Now())
	for _, i := range []struct {
		flag, text string
		to         *engine.Millis
	}{{"--from", f.from, &f.opt.From}, {"--until", f.until, &f.opt.Until}, {"--now", f.now, &now}} {
		if err := instant(i.flag, i.text, i.to); err != nil {
			return err
		}
	}
	f.opt.Latest = now + app.DefaultFutureSkew
	if f.opt.From >= f.opt.Until {
		return fmt.Errorf("--from %s is not before --until %s", f.from, f.until)
	}
	return nil
}

// standardInputs is how many of the files are standard input.
func (f *historyFlags) standardInputs() (n int) {
	for _, name := range f.events {
		if name == "-" || strings.HasSuffix(name, "=-") {
			n++
		}
	}
	return n
}

// readConfig reads the configuration that -c names.
func (f *historyFlags) readConfig() (err error) {
	if f.config != "" {
		f.conf, _, err = app.CheckConfig(f.config)
	}
	return err
}

// pass is one pass of rule sets over files.
type pass struct {
	*historyFlags
	cmd      *cobra.Command
	errs     io.Writer
	readers  []*schemas.Reader
	topics   []string
	sources  []*history.Source
	files    []*os.File
	progress *progressLine
	read     atomic.Int64

	noting sync.Mutex
	noted  notes.Tally // under the last rule set
}

// pass runs what do says over the files, read under each rule set, and prints its report.
func (f *historyFlags) pass(cmd *cobra.Command, rules []*app.Rules, do func(*history.History, backtest.Options) (report, error)) error {
	p := &pass{historyFlags: f, cmd: cmd, errs: cmd.ErrOrStderr(), progress: newProgress(os.Stderr)}
	last := rules[len(rules)-1]
	for _, w := range last.Warnings {
		fmt.Fprintln(p.errs, w)
	}
	for _, r := range rules {
		if err := p.reader(r, r == last); err != nil {
			return badConfig(err)
		}
	}
	zone, ok := app.Zones()(last.Set.Spec.Zone)
	if !ok {
		return badConfig(fmt.Errorf("unknown time zone %q", last.Set.Spec.Zone))
	}
	opt := f.opt
	opt.Zone, opt.OnPanic, opt.Bad = zone, crash.OnPanic, p.bad
	opt.Progress = func(n int) { p.progress.show(replay.Counts{Lines: n}) }
	memlimit.Set()
	ctx, stop := context.WithCancel(cmd.Context())
	defer p.close()
	if err := p.open(ctx, last); err != nil {
		stop()
		return interrupted(cmd, err)
	}
	h := history.Open(ctx, p.sources, history.Options{Readers: p.readers, OnPanic: crash.OnPanic})
	r, err := do(h, opt)
	stop()
	h.Close()
	p.progress.clear()
	if err != nil {
		return interrupted(cmd, failed(fmt.Errorf("--events: %w", err)))
	}
	return p.print(r)
}

// reader adds what makes events of lines under a rule set.
func (p *pass) reader(rules *app.Rules, noted bool) error {
	zones := app.Zones()
	cfg := schemas.Config{
		Catalog: rules.Engine.Catalog(), Layouts: rules.Engine.Layout, Reading: rules.Set.Spec.Reading,
		Zones: func(name string) bool { _, ok := zones(name); return ok },
	}
	if noted {
		cfg.Noted = func(topic string, n *schemas.Note) {
			p.noting.Lock()
			defer p.noting.Unlock()
			p.noted.Take(topic, n)
		}
	}
	if p.conf != nil {
		var err error
		if p.topics, err = p.conf.AddInputs(rules, &cfg); err != nil {
			return fmt.Errorf("%s with the rules of %s: %w", p.config, strings.Join(rules.Files, ", "), err)
		}
		if noted {
			warned, err := p.conf.CheckRules(p.config, rules)
			if err != nil {
				return err
			}
			for _, w := range warned {
				fmt.Fprintln(p.errs, w.Warning())
			}
		}
	}
	r, err := schemas.NewReader(cfg)
	p.readers = append(p.readers, r)
	return err
}

// open opens the files that --events names.
func (p *pass) open(ctx context.Context, rules *app.Rules) error {
	known := true
	for _, name := range p.events {
		topic, path, ok := strings.Cut(name, "=")
		if !ok || !slices.Contains(p.topics, topic) {
			topic, path = "", name
		}
		paths, err := filesOf(path)
		if err != nil {
			return failed(fmt.Errorf("--events: %w%s", err, p.hint(name)))
		}
		for _, path := range paths {
			src := &history.Source{Name: path, Topic: topic, Members: replay.NewMembers(rules.Engine.Catalog())}
			in, size, err := p.file(ctx, path)
			if err != nil {
				return failed(fmt.Errorf("--events: %w", err))
			}
			src.In = &countedBy{in, &p.read}
			known = known && size >= 0
			p.progress.size += size
			p.sources = append(p.sources, src)
		}
	}
	if p.progress.read = p.read.Load; !known {
		p.progress.size = 0
	}
	return nil
}

// hint says what else a name of a file may have been meant to be.
func (p *pass) hint(name string) string {
	topic, _, ok := strings.Cut(name, "=")
	switch {
	case !ok:
		return ""
	case p.conf == nil:
		return "; if " + topic + " is an input topic, name the configuration with -c"
	}
	return "; inputs of " + p.config + " are " + strings.Join(p.topics, ", ")
}

// filesOf returns a file, or the files of a directory in the order of their names.
func filesOf(path string) (paths []string, err error) {
	if path == "-" {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	entries, err := os.ReadDir(path)
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			paths = append(paths, filepath.Join(path, e.Name()))
		}
	}
	if err == nil && len(paths) == 0 {
		err = fmt.Errorf("%s has no files", path)
	}
	return paths, err
}

// file opens a file, which has a size in bytes if that is known, else -1.
func (p *pass) file(ctx context.Context, path string) (in io.Reader, size int64, err error) {
	if path == "-" {
		return bounded.Interruptible(ctx, p.cmd.InOrStdin()), -1, nil
	}
	// To open a pipe is to wait for somebody who writes to it.
	f, err := bounded.Within(ctx, func() (*os.File, error) { return os.Open(path) })
	if err != nil {
		return nil, 0, err
	}
	p.files = append(p.files, f)
	size = -1
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	return bounded.Interruptible(ctx, f), size, nil
}

func (p *pass) close() {
	for _, f := range p.files {
		_ = f.Close() // read only
	}
}

func (p *pass) bad(line *history.Line, err error) {
	p.progress.clear()
	fmt.Fprintf(p.errs, "%s:%d: %v\n", line.Source.Name, line.Number, err)
}

// report is what a pass comes to.
type report struct {
	input *backtest.Input // under the last rule set
	lines []string        // for people
	json  any
	page  func(w io.Writer) error
}

// print writes a report in the forms that are wanted, and says what became of the lines.
func (p *pass) print(r report) error {
	if p.html != "" {
		if err := writeWhole(p.html, r.page); err != nil {
			return failed(fmt.Errorf("--html: %w", err))
		}
	}
	out := p.cmd.OutOrStdout()
	w := bufio.NewWriter(out)
	var err error
	switch p.output {
	case "json":
		err = backtest.WriteJSON(w, r.json)
	case "html":
		err = r.page(w)
	default:
		width := widthOf(out)
		for _, l := range r.lines {
			fmt.Fprintln(w, fit(l, width))
		}
	}
	if err := errors.Join(err, w.Flush()); err != nil {
		return failed(err)
	}
	p.summarize(r.input)
	if r.input.Bad > 0 {
		return failed(nil)
	}
	return nil
}

// summarize says what became of the lines.
func (p *pass) summarize(in *backtest.Input) {
	fmt.Fprintln(p.errs, summary(replay.Counts{Lines: in.Lines, Bad: in.Bad, Duplicates: in.Duplicates, Skipped: in.Skipped, NoEvents: in.NoEvents}, in.Customers))
	for _, l := range p.noted.Lines() {
		fmt.Fprintln(p.errs, noteLine(&l))
	}
	for _, src := range p.sources {
		for _, l := range src.Members.Lines() {
			fmt.Fprintf(p.errs, "  %s: %s\n", src.Name, l)
		}
	}
	if in.Late*100 > in.Events {
		fmt.Fprintf(p.errs, "warning: %d of %s are older than others before them in their file, so that what they changed is dated too late: sort each file by occurred_at\n", in.Late, app.Plural(in.Events, "event"))
	}
}

// writeWhole writes a file whole, or leaves what there was.
func writeWhole(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	err = errors.Join(write(w), w.Flush(), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// countedBy counts what several goroutines read.
type countedBy struct {
	io.Reader
	n *atomic.Int64
}

// Read is part of io.Reader.
func (c *countedBy) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}
