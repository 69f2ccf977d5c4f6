package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/group"
	"github.com/segmill/segmill/consumer/ruled"
	"github.com/segmill/segmill/consumer/rulelog"
	"github.com/segmill/segmill/consumer/topics"
	"github.com/segmill/segmill/internal/crash"
)

// inForce keeps an instance under the rules that are in force by the log of rules, whatever
// files it has itself: files count only by being written there.
type inForce struct {
	cfg     *config.Config
	records *records
	files   *Rules // those of the configuration, as they were at the start
	opt     RunOptions
	log     *slog.Logger
	change  func(*config.Rules) // is called with newer rules

	cluster *broker.Cluster
	rules   *rulelog.Log
	view    *rulelog.View // of whoever follows

	compiling sync.Mutex // held while earlier rules are compiled, so that it is done once

	mu       sync.Mutex
	entries  []rulelog.Entry
	compiled map[[16]byte]*config.Rules // earlier rules, nil if they can't be had
	own      [16]byte                   // content of the files
	running  uint64                     // number of the set that the tasks were given last
	wrong    string                     // why the rules in force are not those that run, "" if they are
}

// newInForce returns what keeps an instance under the rules in force, and sets the
// configuration up for it: its rules are only where the instance begins.
func newInForce(cfg *config.Config, x *records, files *Rules, opt RunOptions) *inForce {
	f := &inForce{cfg: cfg, records: x, files: files, opt: opt, log: opt.Logger}
	cfg.Fill()
	cfg.Apply, cfg.ApplyFormer = true, true // the log has decided
	if !opt.Rebuild {
		cfg.Known = f.known
	}
	return f
}

// run runs an owner under the rules in force, and goes over to others when they come. Of a
// nil inForce it runs it under the rules that it has.
func (f *inForce) run(ctx context.Context, owner *group.Owner) error {
	if f == nil {
		return owner.Run(ctx)
	}
	f.change = owner.Change
	if err := f.open(ctx); err != nil {
		return unlessStopped(ctx, err)
	}
	defer f.cluster.Close()
	in, err := f.begin(ctx)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	in.reads(&owner.Config)
	following, stop := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	for _, help := range []func(context.Context){f.follow, f.reloads} {
		helpers.Go(func() { defer crash.OnPanic(); help(following) })
	}
	err = owner.Run(ctx)
	stop()
	helpers.Wait()
	return err
}

// open connects to the log, and creates it if it is missing. It does so only where the
// application could run: otherwise whatever files it has would be the first set.
func (f *inForce) open(ctx context.Context) (err error) {
	if f.cluster, err = f.cfg.Connect(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.cluster.Close()
		}
	}()
	f.rules = &rulelog.Log{Cluster: f.cluster, Topic: f.cfg.RuleLog()}
	set := &topics.Set{Config: f.cfg, Cluster: f.cluster}
	return f.cluster.Await(ctx, func() error {
		if err := set.CheckDelivery(ctx); err != nil {
			return err
		}
		if f.cfg.Create.Partitions == 0 {
			if _, err := set.Count(ctx); err != nil {
				return err
			}
		}
		return set.PrepareRules(ctx)
	})
}

// why says what is written of who brings files in.
type why struct {
	text string
	// fresh lets files in that never were in the log, former also those of earlier sets.
	fresh, former bool
}

// begin writes the files of the configuration to the log if they belong there, and puts the
// instance under the newest set.
func (f *inForce) begin(ctx context.Context) (*inputs, error) {
	own, y := f.files, why{text: "the files of the configuration", fresh: f.opt.Apply || f.opt.Rebuild, former: f.opt.ApplyFormer}
	err := f.cluster.Await(ctx, func() error { return f.settle(ctx, own, y) })
	if err != nil {
		return nil, err
	}
	if err := f.cluster.Await(ctx, func() (err error) { f.view, err = f.rules.Read(ctx); return err }); err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.entries = append([]rulelog.Entry(nil), f.view.Entries...)
	f.mu.Unlock()
	newest := f.view.Newest()
	f.log.Info("rules in force", "set", newest.Number, "who", newest.Who, "at", newest.At.String())
	rules := own
	if newest.Content != own.Content() {
		if rules, err = CompileSet(newest); err != nil {
			return nil, fmt.Errorf("%s: this version can't run %s: use the version that applied it, or a later one: %w", f.rules.Topic, newest, err)
		}
	}
	r, in, err := f.records.under(rules, nameOf(newest))
	if err != nil {
		return nil, fmt.Errorf("%s in force does not fit the configuration: %w", nameOf(newest), err)
	}
	r.AcceptLoss = newest.AcceptLoss || f.opt.AcceptLoss
	f.goOver(&r, newest.Number)
	return in, nil
}

// goOver gives the tasks newer rules.
func (f *inForce) goOver(r *config.Rules, number uint64) {
	f.mu.Lock()
	f.running = number
	f.mu.Unlock()
	f.change(r)
}

// compile returns what tasks need of a set. It is an error if this instance can't run it.
func (f *inForce) compile(e *rulelog.Entry) (*config.Rules, error) {
	rules, err := CompileSet(e)
	if err != nil {
		return nil, err
	}
	r, _, err := f.records.under(rules, nameOf(e))
	if err != nil {
		return nil, err
	}
	r.AcceptLoss = e.AcceptLoss || f.opt.AcceptLoss
	return &r, nil
}

// nameOf is how people know a set.
func nameOf(e *rulelog.Entry) string { return fmt.Sprintf("set %d", e.Number) }

// settle writes files to the log if there is none in it yet, or if they are to be brought in.
// If others are faster, it decides again.
func (f *inForce) settle(ctx context.Context, own *Rules, y why) error {
	content := own.Content()
	f.mu.Lock()
	f.own = content
	f.mu.Unlock()
	for {
		v, err := f.rules.Read(ctx)
		if err != nil {
			return err
		}
		newest := v.Newest()
		switch {
		case newest == nil:
			if err := f.first(ctx, own, y); err != nil {
				return err
			}
		case newest.Content == content:
			return nil
		case y.former, y.fresh && v.WithContent(content) == nil:
		default:
			f.log.Warn(filesNote(v.Entries, content)) //nolint:sloglint // one of two texts
			return nil
		}
		d, err := own.Draft()
		if err != nil {
			return err
		}
		d.Base, d.Who, d.Why, d.AcceptLoss = v.Number(), Who(), y.text, f.opt.AcceptLoss
		e, err := f.rules.Append(ctx, d)
		switch {
		case err == nil:
			f.log.Info("rules applied", "set", e.Number, "replaces", e.Base)
			return nil
		case !errors.Is(err, rulelog.ErrBase):
			return err
		}
		f.log.Info("another instance was faster", "error", err)
	}
}

// first refuses to begin a log with files that are not those that the state was made with:
// an instance with wrong files would otherwise decide for all.
func (f *inForce) first(ctx context.Context, own *Rules, y why) error {
	if y.fresh || y.former {
		return nil
	}
	r := ruled.Reader{Cluster: f.cluster, Topic: f.cfg.Changelog()}
	parts, err := r.Partitions(ctx)
	if err != nil {
		return err
	}
	for i := range parts {
		if p := &parts[i]; !p.Is(own.Versions()) {
			return fault.Fatal("the rules are not those that the state of %s was built with, as its partition %d shows, and %s is still empty: start once with the rules as they were; or bring these in, with --apply",
				f.cfg.App, p.Number, f.rules.Topic)
		}
	}
	return nil
}

// filesNote says that files are not those in force.
func filesNote(entries []rulelog.Entry, content [16]byte) string {
	v := rulelog.View{Entries: entries}
	newest := v.Newest()
	if newest == nil || newest.Content == content {
		return ""
	}
	if older := v.WithContent(content); older != nil {
		return fmt.Sprintf("files are set %d, in force is %d: segmill apply RULES brings them back", older.Number, newest.Number)
	}
	return "the files are not in force: segmill apply RULES"
}

// notes returns why the rules in force do not run, and what is to be said of the files; "" if
// nothing is.
func (f *inForce) notes() (wrong, note string) {
	if f == nil {
		return "", ""
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wrong, filesNote(f.entries, f.own)
}

// followAgain is how long to wait until a log that could not be read is tried again.
const followAgain = 10 * time.Second

// follow goes over to each set that comes, until ctx ends.
func (f *inForce) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := f.rules.Follow(ctx, f.view, f.take)
		if err == nil {
			return
		}
		f.log.Error("the log of rules can't be read; the instance runs on with the rules that it has", "error", err)
		f.say("the log of rules can't be read: " + err.Error())
		select {
		case <-ctx.Done():
		case <-time.After(followAgain):
		}
	}
}

// say notes why the rules in force do not run.
func (f *inForce) say(wrong string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrong = wrong
}

// take goes over to a set. One that can't be run is passed over: the instance goes on with
// what it has, and says so.
func (f *inForce) take(e *rulelog.Entry) {
	f.mu.Lock()
	f.entries = append(f.entries, *e)
	f.mu.Unlock()
	r, err := f.compile(e)
	if err == nil {
		f.log.Info("rules changed", "set", e.Number, "who", e.Who, "why", e.Why)
		f.say("")
		warnNotRead(f.log, r.NotRead)
		f.goOver(r, e.Number)
		return
	}
	f.log.Error("this instance can't run the rules in force, and runs on with those that it has: if it does not know them, use the version that applied them, or a later one", "set", e.Number, "error", err)
	f.say(fmt.Sprintf("%s in force can't be run by this instance, which runs on with the rules that it has: %v", nameOf(e), err))
}

// known returns the rules of the log that have those versions, nil if there are none, or if
// this instance can't run them and has newer ones. It is an error if they are newer than what
// the instance has, and it can't run them: another instance has brought them in, and they must
// not be replaced by earlier ones.
func (f *inForce) known(ctx context.Context, versions [16]byte) (*config.Rules, error) {
	f.compiling.Lock()
	defer f.compiling.Unlock()
	e, err := f.find(ctx, versions)
	if err != nil || e == nil {
		return nil, err
	}
	f.mu.Lock()
	r, known := f.compiled[versions]
	running := f.running
	f.mu.Unlock()
	if known {
		return r, nil
	}
	if r, err = f.compile(e); err == nil && changelog.HashVersions(r.Engine.Versions()) != versions {
		r, err = nil, errors.New("this version takes it for other rules than the version that applied it")
	}
	if err != nil {
		if e.Number > running {
			return nil, fmt.Errorf("the partition is under %s: %w", nameOf(e), err)
		}
		f.log.Warn("earlier rules can't be run", "set", e.Number, "error", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.compiled == nil {
		f.compiled = map[[16]byte]*config.Rules{}
	}
	f.compiled[versions] = r
	return r, nil
}

// find returns the set of the log that has those versions, nil if there is none. If it is not
// among those that have been followed, the log is read again: another instance may be faster.
func (f *inForce) find(ctx context.Context, versions [16]byte) (*rulelog.Entry, error) {
	f.mu.Lock()
	v := rulelog.View{Entries: slices.Clone(f.entries)}
	f.mu.Unlock()
	if e := v.WithVersions(versions); e != nil {
		return e, nil
	}
	now, err := f.rules.Read(ctx)
	if err != nil {
		return nil, err
	}
	return now.WithVersions(versions), nil
}

// reloads applies the files again whenever that is wanted, until ctx ends.
func (f *inForce) reloads(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.opt.Reload:
			f.reload(ctx)
		}
	}
}

// reload reads the files of the configuration again, and writes them to the log if they never
// were in it.
func (f *inForce) reload(ctx context.Context) {
	own, err := LoadRulesWithin(ctx, f.records.conf.Rules)
	if err == nil {
		_, err = f.records.conf.CheckRules("", own)
	}
	if err == nil {
		err = f.settle(ctx, own, why{text: "the files of the configuration, on SIGHUP", fresh: true})
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		f.log.Error("the rule files were not applied; the rules stay as they are", "error", err)
	default:
		f.log.Info("rule files read again")
	}
}
