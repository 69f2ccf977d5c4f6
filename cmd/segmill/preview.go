package main

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/preview"
)

// previewFlags are those of a preview.
type previewFlags struct {
	config, output, tmp string
	sample, maxExits    string
	most                float64 // of maxExits
	opt                 preview.Options
}

func previewCommand() *cobra.Command {
	var f previewFlags
	c := &cobra.Command{
		Use:   "preview RULES... -c segmill.yaml",
		Short: "Show what a change of rules would do to an application's customers",
		Long: `preview reads the state of an application from its changelog, while it runs or not, and
reports what segmill apply would have emitted now: of each segment and stage its size
before and after, who would enter and leave, and up to ten such customers with the
values that decide. Nothing is written to Kafka, and the application notices nothing.

  segmill preview rules -c segmill.yaml
  segmill preview rules -c segmill.yaml --history --max-exits 40%

Without RULES the rules are those of the configuration.

Rules that read facts that nobody has kept so far need history: they are named, and
left out. With --history their facts are folded from the events that Kafka still has,
which takes as long as with segmill apply.

With --sample 1/16 only customers of that share are judged, chosen by a hash of their
ids, and numbers are estimates for all of them.

With -o json the report is a JSON document, which docs/before-you-apply.md describes.
The exit code is 0 whether or not anything would change, 78 if rules or configuration
have errors, and 3 if --max-exits is given and a segment or stage would lose more of
its members than that, or is not previewed because it needs history.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return &exitError{exitUsage, err}
			}
			return f.run(cmd, args)
		},
	}
	fl := c.Flags()
	fl.StringVarP(&f.config, "config", "c", "segmill.yaml", "configuration file")
	fl.BoolVar(&f.opt.History, "history", false, "fold facts that nobody has kept so far from the events that Kafka still has")
	fl.StringVar(&f.sample, "sample", "1/1", "share of the customers to judge, such as 1/16")
	fl.StringVar(&f.maxExits, "max-exits", "", "exit with 3 if a segment would lose more of its members, such as 40%")
	fl.BoolVar(&f.opt.NoExamples, "no-examples", false, "leave out customers by name, for a report that others read")
	fl.StringVar(&f.tmp, "tmp", "", "directory for temporary files: the state of one partition (default: the system's)")
	fl.StringVarP(&f.output, "output", "o", "table", "table or json")
	return c
}

// maxSample is of how many customers one is judged at least.
const maxSample = 1_000_000

// check reads the values of the flags.
func (f *previewFlags) check() (err error) {
	if !slices.Contains([]string{"table", "json"}, f.output) {
		return fmt.Errorf("-o %s: must be table or json", f.output)
	}
	of, ok := strings.CutPrefix(f.sample, "1/")
	if f.opt.Sample, err = strconv.Atoi(of); !ok || err != nil || f.opt.Sample < 1 || f.opt.Sample > maxSample {
		return fmt.Errorf("--sample %s: must be a share such as 1/16", f.sample)
	}
	if f.maxExits == "" {
		f.most = math.Inf(1)
		return nil
	}
	text, ok := strings.CutSuffix(f.maxExits, "%")
	if f.most, err = strconv.ParseFloat(strings.TrimSpace(text), 64); !ok || err != nil || math.IsNaN(f.most) || f.most < 0 || f.most > 100 {
		return fmt.Errorf("--max-exits %s: must be from 0%% to 100%%", f.maxExits)
	}
	f.most /= 100
	return nil
}

func (f *previewFlags) run(cmd *cobra.Command, paths []string) error {
	conf, err := app.ReadConfigToRun(f.config)
	if err != nil {
		return badConfig(err)
	}
	if len(paths) == 0 {
		paths = conf.Rules
	}
	rules, err := app.LoadRulesWithin(cmd.Context(), paths)
	if err != nil {
		return interrupted(cmd, badConfig(err))
	}
	notRead, err := conf.CheckRules(f.config, rules)
	if err != nil {
		return badConfig(err)
	}
	for _, w := range notRead {
		fmt.Fprintln(cmd.ErrOrStderr(), w.Warning())
	}
	for _, w := range rules.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), w)
	}
	f.opt.Rules = paths
	r, err := previewed(cmd, conf, rules, f.tmp, f.opt)
	if err != nil {
		return interrupted(cmd, failed(err))
	}
	if err := f.print(cmd, r); err != nil {
		return failed(err)
	}
	return f.guard(r)
}

// previewed makes the report, in a temporary store below a directory.
func previewed(cmd *cobra.Command, conf *app.Config, rules *app.Rules, tmp string, opt preview.Options) (r *preview.Report, err error) {
	log := slog.New(slog.DiscardHandler)
	cfg, err := conf.Tool(cmd.Context(), rules, app.RunOptions{Logger: log})
	if err != nil {
		return nil, err
	}
	store, remove, err := preview.TempStore(tmp, conf.App, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = remove(err) }()
	cfg.Store = store
	line := newProgress(os.Stderr)
	defer line.clear()
	opt.Progress = line.say
	return preview.Run(cmd.Context(), cfg, opt)
}

// say shows a text, unless another one has just been shown.
func (p *progressLine) say(text string) {
	if now := time.Now(); p.w != nil && now.Sub(p.last) >= 200*time.Millisecond {
		p.last, p.shown = now, true
		fmt.Fprint(p.w, "\r\x1b[K", fit(text, widthOf(p.w)))
	}
}

// print writes the report.
func (f *previewFlags) print(cmd *cobra.Command, r *preview.Report) error {
	out := cmd.OutOrStdout()
	w := bufio.NewWriter(out)
	if f.output == "json" {
		return errors.Join(r.JSON(w), w.Flush())
	}
	width := widthOf(out)
	for _, l := range r.Lines() {
		fmt.Fprintln(w, fit(l, width))
	}
	return w.Flush()
}

// guard returns the error of a change that takes too many members away.
func (f *previewFlags) guard(r *preview.Report) error {
	if f.maxExits == "" {
		return nil
	}
	losing, unknown := r.Losing(f.most)
	if len(unknown) > 0 {
		losing = append(losing, fmt.Sprintf("%s need history and were not previewed: use --history", strings.Join(unknown, ", ")))
	}
	if len(losing) == 0 {
		return nil
	}
	return &exitError{exitGuard, fmt.Errorf("--max-exits %s: %s", f.maxExits, strings.Join(losing, "; "))}
}
