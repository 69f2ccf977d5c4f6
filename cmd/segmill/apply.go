package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/segmill/segmill/consumer/rulelog"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/apply"
	"github.com/segmill/segmill/internal/preview"
)

// applyFlags are those of a change of rules.
type applyFlags struct {
	config, who, why, tmp string
	set                   uint64
	dryRun, yes, history  bool
	acceptLoss            bool
	wait                  time.Duration
}

// waitDefault is how long --wait waits if it has no value.
const waitDefault = 30 * time.Minute

// mostExits is the share of its members that a rule may lose before --yes is needed.
const mostExits = 0.25

func applyCommand() *cobra.Command {
	var f applyFlags
	c := &cobra.Command{
		Use:   "apply RULES... -c segmill.yaml",
		Short: "Change the rules of an application, while it runs",
		Long: `apply checks rule files, shows what they would do to the customers that there are, and
writes them to the topic <app>.rules as the set that is in force from then on. All
instances go over to it while they run, and so does any that starts later, whatever
files it has. Without RULES the files are those of the configuration.

  segmill apply rules -c segmill.yaml --dry-run
  segmill apply rules -c segmill.yaml --why "VIP begins at 500" --wait
  segmill apply --set 11 -c segmill.yaml

If a segment or stage that stays would lose more than 25 % of its members, or if nobody
knows because it needs history, nothing is written without --yes. With --yes nothing is
previewed. --history has the facts that nobody has kept so far folded from the events
that Kafka still has, for the preview alone.

If Kafka has deleted events that new or changed rules look back to, nothing is written.
--accept-loss lets the partitions go over without those events. If events are deleted
before a partition has gone over, it stays under the rules that it has; instances say so
in their logs and in /readyz, and --wait ends with exit code 1.

--set writes the files of an earlier set again, as a new one. segmill rules log lists the
sets. If others have changed the rules meanwhile, nothing is written.

The exit code is 0 if the rules are in force and, with --wait, all partitions have gone
over to them; 1 if that failed; 3 if --yes is needed; 75 if --wait was not long enough:
the rules are in force, and the partitions go on; and 78 if rules or configuration have
errors.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.set > 0 && len(args) > 0 {
				return &exitError{exitUsage, errors.New("--set applies the files of a set: give it or RULES")}
			}
			return f.run(cmd, args)
		},
	}
	fl := c.Flags()
	fl.StringVarP(&f.config, "config", "c", "segmill.yaml", "configuration file")
	fl.BoolVar(&f.dryRun, "dry-run", false, "show what would change, and write nothing")
	fl.BoolVar(&f.yes, "yes", false, "apply without a preview, however many members leave")
	fl.BoolVar(&f.history, "history", false, "fold facts that nobody has kept so far for the preview")
	fl.Uint64Var(&f.set, "set", 0, "apply the files of this set again")
	fl.StringVar(&f.who, "who", "", "who changes the rules (default: $SEGMILL_WHO, or user@host)")
	fl.StringVar(&f.why, "why", "", "why the rules are changed")
	fl.BoolVar(&f.acceptLoss, "accept-loss", false, "go over to the rules although events that they look back to have been deleted")
	fl.StringVar(&f.tmp, "tmp", "", "directory for temporary files of the preview: the state of one partition (default: the system's)")
	lengthVar(fl, &f.wait, "wait", 0, "wait until all partitions have gone over to the rules, at most this long")
	fl.Lookup("wait").NoOptDefVal = (*length)(new(waitDefault)).String()
	return c
}

// rules returns the configuration, a look at the log, and the rules to apply.
func (f *applyFlags) rules(cmd *cobra.Command, paths []string) (conf *app.Config, s *apply.Session, rules *app.Rules, err error) {
	if conf, err = app.ReadConfigToRun(f.config); err != nil {
		return nil, nil, nil, badConfig(err)
	}
	if len(paths) == 0 {
		paths = conf.Rules
	}
	if f.set == 0 {
		if rules, err = app.LoadRulesWithin(cmd.Context(), paths); err != nil {
			return nil, nil, nil, badConfig(err)
		}
	}
	if s, err = apply.Open(cmd.Context(), conf, app.RunOptions{Logger: slog.New(slog.DiscardHandler)}); err != nil {
		return nil, nil, nil, failed(err)
	}
	if f.set > 0 {
		rules, err = setOf(s, f.set)
		f.why = cmp.Or(f.why, fmt.Sprintf("set %d again", f.set))
	}
	if err == nil {
		_, err = conf.CheckRules(f.config, rules)
	}
	if err != nil {
		s.Close()
		return nil, nil, nil, badConfig(err)
	}
	return conf, s, rules, nil
}

// setOf compiles a set of the log.
func setOf(s *apply.Session, number uint64) (*app.Rules, error) {
	e, err := s.Set(number)
	if err != nil {
		return nil, err
	}
	return app.CompileSet(e)
}

func (f *applyFlags) run(cmd *cobra.Command, paths []string) error {
	conf, s, rules, err := f.rules(cmd, paths)
	if err != nil {
		return interrupted(cmd, err)
	}
	defer s.Close()
	for _, w := range rules.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), w)
	}
	out := cmd.OutOrStdout()
	if e := s.View.Newest(); e != nil && e.Content == rules.Content() && (e.AcceptLoss || !f.acceptLoss) {
		fmt.Fprintf(out, "these files are set %d, which is in force: nothing to apply\n", e.Number)
		return f.await(cmd, s, e)
	}
	if err := f.show(cmd, conf, s, rules); err != nil {
		return interrupted(cmd, err)
	}
	if err := f.checkHistory(cmd, s, rules); err != nil {
		return interrupted(cmd, failed(err))
	}
	if f.dryRun {
		fmt.Fprintln(out, "\nnothing was written (--dry-run)")
		return nil
	}
	e, err := s.Write(cmd.Context(), rules, apply.Reason{Who: cmp.Or(f.who, app.Who()), Why: f.why, AcceptLoss: f.acceptLoss})
	if err != nil {
		return interrupted(cmd, failed(err))
	}
	fmt.Fprintf(out, "\n%s is in force\n", e)
	return f.await(cmd, s, e)
}

// checkHistory returns an error if the partitions would refuse the rules, because events that
// they look back to have been deleted.
func (f *applyFlags) checkHistory(cmd *cobra.Command, s *apply.Session, rules *app.Rules) error {
	if f.acceptLoss {
		return nil
	}
	err := s.CheckHistory(cmd.Context(), rules)
	var gone *apply.Gone
	if errors.As(err, &gone) {
		return fmt.Errorf("nothing was written: %w; --accept-loss applies the rules without those events", gone)
	}
	return err
}

// show says what differs and what that would do, and returns an error if --yes is needed.
func (f *applyFlags) show(cmd *cobra.Command, conf *app.Config, s *apply.Session, rules *app.Rules) error {
	out := cmd.OutOrStdout()
	before := map[string]string{}
	if n := s.View.Number(); n > 0 {
		if old, err := setOf(s, n); err == nil {
			before = old.Engine.Versions()
		} else {
			fmt.Fprintf(cmd.ErrOrStderr(), "what differs is not known, since this version can't read set %d: %v\n", n, err)
		}
	}
	d := apply.Differ(before, rules.Engine.Versions())
	for _, l := range d.Lines() {
		fmt.Fprintln(out, l)
	}
	has, err := s.HasState(cmd.Context())
	if err != nil {
		return failed(err)
	}
	if !has || f.yes && !f.dryRun {
		return nil
	}
	r, err := previewed(cmd, conf, rules, f.tmp, preview.Options{Sample: 1, History: f.history, NoExamples: true})
	if err != nil {
		return failed(fmt.Errorf("what the rules would do can't be previewed: %w; --yes applies them without", err))
	}
	fmt.Fprintln(out)
	width := widthOf(out)
	for _, l := range r.Lines() {
		fmt.Fprintln(out, fit(l, width))
	}
	return f.guard(r)
}

// guard returns the error of rules that take too many members away.
func (f *applyFlags) guard(r *preview.Report) error {
	exits, unknown := r.Exits(mostExits)
	if len(unknown) > 0 {
		exits = append(exits, fmt.Sprintf("it is not known how many leave %s, which need history (--history)", strings.Join(unknown, ", ")))
	}
	if len(exits) == 0 || f.yes {
		return nil
	}
	return &exitError{exitGuard, fmt.Errorf("%s: --yes", strings.Join(exits, "; "))}
}

// await waits until the partitions have gone over to a set, if that is wanted.
func (f *applyFlags) await(cmd *cobra.Command, s *apply.Session, e *rulelog.Entry) error {
	if f.wait == 0 || f.dryRun {
		return nil
	}
	line, last := newProgress(os.Stderr), ""
	err := s.Wait(cmd.Context(), e, f.wait, func(text string) {
		if line.say(text); line.w == nil && text != last { // no terminal
			fmt.Fprintln(cmd.ErrOrStderr(), text)
		}
		last = text
	})
	line.clear()
	switch {
	case errors.Is(err, context.Canceled):
		return failed(fmt.Errorf("interrupted; set %d stays in force", e.Number))
	case errors.Is(err, apply.ErrTime):
		return &exitError{exitTemp, err}
	case err != nil:
		return failed(err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "set %d is ready: all partitions have gone over to it\n", e.Number)
	return nil
}
