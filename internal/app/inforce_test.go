package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/group"
	"github.com/segmill/segmill/consumer/ruled"
	"github.com/segmill/segmill/consumer/rulelog"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/console"
)

// rulesOf compiles the rules of buyers with another threshold.
func rulesOf(t *testing.T, more int) *Rules {
	t.Helper()
	r, err := CompileRules([]rule.File{{Name: "r.yaml", Data: []byte(thresholdOf(more))}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func thresholdOf(more int) string { return strings.Replace(buyers, "> 0", fmt.Sprint("> ", more), 1) }

// instanceRun is an instance that runs.
type instanceRun struct {
	t    *testing.T
	log  buffer
	stop context.CancelFunc
	done chan error
}

func start(t *testing.T, conf *Config, rules *Rules, opt RunOptions) *instanceRun {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	i := &instanceRun{t: t, stop: stop, done: make(chan error, 1)}
	opt.Logger = console.NewLogger(&i.log, "info", true)
	go func() { i.done <- RunRules(ctx, conf, rules, opt) }()
	t.Cleanup(stop)
	return i
}

// ready waits until /readyz answers a text.
func (i *instanceRun) ready(want string) {
	i.t.Helper()
	last := ""
	defer func() {
		if i.t.Failed() {
			i.t.Logf("%s\n%s", last, i.log.String())
		}
	}()
	eventually(i.t, "ready: "+want, func() bool {
		_, after, ok := strings.Cut(i.log.String(), "http  address=")
		if ok {
			last = body("http://" + strings.Fields(after)[0] + "/readyz")
		}
		return ok && strings.HasPrefix(last, want)
	})
}

// ends stops the instance.
func (i *instanceRun) ends() {
	i.t.Helper()
	i.stop()
	if err := <-i.done; err != nil {
		i.t.Error(err)
	}
}

// setsOf returns what counts in the log of rules, and the log.
func setsOf(t *testing.T, conf *Config) (*rulelog.View, *rulelog.Log) {
	t.Helper()
	l, err := conf.RuleLog(t.Context(), RunOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Cluster.Close)
	v, err := l.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v, l
}

// apply writes texts to the log of rules as a new set.
func apply(t *testing.T, conf *Config, text string) {
	t.Helper()
	v, l := setsOf(t, conf)
	d := rulelog.Draft{Base: v.Number(), Who: "anna", Files: []rulelog.File{{Name: "r.yaml", Text: []byte(text)}}}
	if r, err := CompileRules([]rule.File{{Name: "r.yaml", Data: []byte(text)}}); err == nil {
		d.Versions = r.Versions()
	}
	if _, err := l.Append(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

// The files of the first start are set 1. Other files change nothing unless they are applied,
// and those of an earlier set do not come back by being there.
func TestFilesAndSets(t *testing.T) {
	cluster := newCluster(t)
	conf := testConfig(t, cluster.ListenAddrs()...)
	for _, x := range []struct {
		more  int // of the files
		opt   RunOptions
		ready string
		sets  uint64
		warns bool
	}{
		{0, RunOptions{}, "ok\n", 1, false},
		{0, RunOptions{Apply: true}, "ok\n", 1, false},
		{1, RunOptions{}, "ok\nthe files are not in force: segmill apply RULES\n", 1, true},
		{1, RunOptions{Apply: true}, "ok\n", 2, false},
		{0, RunOptions{}, "ok\nfiles are set 1, in force is 2: segmill apply RULES brings them back\n", 2, true},
		{0, RunOptions{Apply: true}, "ok\nfiles are set 1, in force is 2: segmill apply RULES brings them back\n", 2, true},
		{0, RunOptions{ApplyFormer: true}, "ok\n", 3, false},
		{1, RunOptions{}, "ok\nfiles are set 2, in force is 3: segmill apply RULES brings them back\n", 3, true},
	} {
		i := start(t, conf, rulesOf(t, x.more), x.opt)
		i.ready(x.ready)
		i.ends()
		v, _ := setsOf(t, conf)
		if v.Number() != x.sets || !strings.Contains(i.log.String(), fmt.Sprint("rules in force  set=", x.sets)) {
			t.Errorf("%+v: %d sets\n%s", x, v.Number(), i.log.String())
		}
		if note := strings.TrimPrefix(strings.TrimSpace(x.ready), "ok\n"); x.warns && !strings.Contains(i.log.String(), note) {
			t.Errorf("%+v: the log does not say so\n%s", x, i.log.String())
		}
	}
}

// Of instances that begin with different files at once, the log decides, and all run what
// counts.
func TestFirstFilesRace(t *testing.T) {
	cluster := newCluster(t)
	var all []*instanceRun
	var confs []*Config
	for n := range 3 {
		conf := testConfig(t, cluster.ListenAddrs()...)
		confs = append(confs, conf)
		all = append(all, start(t, conf, rulesOf(t, n), RunOptions{}))
	}
	for _, i := range all {
		i.ready("ok\n")
	}
	v, _ := setsOf(t, confs[0])
	if v.Number() != 1 {
		t.Errorf("%d sets", v.Number())
	}
	losers := 0
	for _, i := range all {
		if strings.Contains(i.log.String(), "the files are not in force") {
			losers++
		}
		i.ends()
	}
	if losers != 2 {
		t.Errorf("%d were not first", losers)
	}
}

// An instance goes over to sets as they come. One that it can't run is said, and it runs on
// with the rules that it has; the next one ends that.
func TestFollowSets(t *testing.T) {
	cluster := newCluster(t)
	conf := testConfig(t, cluster.ListenAddrs()...)
	i := start(t, conf, rulesOf(t, 0), RunOptions{})
	i.ready("ok\n")
	apply(t, conf, thresholdOf(1))
	i.ready("ok\nfiles are set 1, in force is 2")
	eventually(t, "the change", func() bool { return strings.Contains(i.log.String(), "rules changed  set=2 who=anna") })
	apply(t, conf, "version: 1\nsegments: [{id: new, when: a_function_of_tomorrow()}]\n")
	i.ready("set 3 in force can't be run by this instance, which runs on with the rules that it has: set 3/r.yaml:2:")
	apply(t, conf, thresholdOf(0))
	i.ready("ok\n")
	i.ends()

	apply(t, conf, "version: 1\nsegments: [{id: new, when: a_function_of_tomorrow()}]\n")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := RunRules(ctx, conf, rulesOf(t, 0), RunOptions{Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.HasPrefix(err.Error(), "shop.rules: this version can't run set 5 by anna at ") || !strings.Contains(err.Error(), "use the version that applied it, or a later one") {
		t.Error(err)
	}
}

// On SIGHUP the files are read again, and applied if they never were in the log.
func TestReload(t *testing.T) {
	cluster := newCluster(t)
	conf := testConfig(t, cluster.ListenAddrs()...)
	file := filepath.Join(t.TempDir(), "r.yaml")
	conf.Rules = []string{file}
	reload := make(chan struct{})
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(thresholdOf(0))
	rules, err := LoadRules(conf.Rules)
	if err != nil {
		t.Fatal(err)
	}
	i := start(t, conf, rules, RunOptions{Reload: reload})
	i.ready("ok\n")
	write(thresholdOf(1))
	reload <- struct{}{}
	eventually(t, "set 2", func() bool { return strings.Contains(i.log.String(), "rules changed  set=2") })
	i.ready("ok\n")
	write(thresholdOf(0))
	reload <- struct{}{}
	i.ready("ok\nfiles are set 1, in force is 2")
	write("version: 1\n\tsegments")
	reload <- struct{}{}
	eventually(t, "the error", func() bool {
		return strings.Contains(i.log.String(), "the rule files were not applied; the rules stay as they are")
	})
	i.ends()
	if v, _ := setsOf(t, conf); v.Number() != 2 || !strings.HasSuffix(v.Newest().Why, "on SIGHUP") {
		t.Errorf("%+v", v.Entries)
	}
}

// State that was built with other rules does not begin a log with wrong files.
func TestFirstFilesAreThoseOfTheState(t *testing.T) {
	cluster := newCluster(t)
	conf := testConfig(t, cluster.ListenAddrs()...)
	cl := client(t, conf.Kafka.Brokers, kgo.UnknownTopicRetries(-1))
	cl.Produce(t.Context(), &kgo.Record{
		Topic: "events.purchase", Key: []byte("c1"),
		Value: []byte(`{"event_id":"p1","occurred_at":"2026-01-01T00:00:00Z","revenue":"9.90"}`),
	}, nil)
	folded := make(chan struct{})
	once := sync.OnceFunc(func() { close(folded) })
	i := start(t, conf, rulesOf(t, 0), RunOptions{FilesDecide: true, OnStart: func(o *group.Owner) {
		go func() { // ends with the first event
			for n := uint64(0); n == 0; <-time.After(20 * time.Millisecond) {
				for _, task := range o.Status().Tasks {
					n += task.Folded
				}
			}
			once()
		}()
	}})
	<-folded
	i.ends()
	err := RunRules(t.Context(), conf, rulesOf(t, 1), RunOptions{Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "the rules are not those that the state of shop was built with") || !strings.Contains(err.Error(), "with --apply") {
		t.Error(err)
	}
	if v, _ := setsOf(t, conf); v.Number() != 0 {
		t.Error(v.Entries)
	}
	i = start(t, conf, rulesOf(t, 0), RunOptions{})
	i.ready("ok\n")
	i.ends()
}

// An instance brings the customers that there are under a set that comes, whether it runs
// meanwhile or not, and whatever files it has.
func TestCustomersFollowSets(t *testing.T) {
	cluster := newCluster(t)
	conf := testConfig(t, cluster.ListenAddrs()...)
	l, err := conf.RuleLog(t.Context(), RunOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Cluster.Close()
	parts := ruled.Reader{Cluster: l.Cluster, Topic: "shop.changelog"}
	under := func(r *Rules) {
		t.Helper()
		eventually(t, "all partitions are under the rules", func() bool {
			all, err := parts.Partitions(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for i := range all {
				if all[i].Empty || !all[i].Is(r.Versions()) {
					continue
				}
				n++
			}
			return n > 0 && !slices.ContainsFunc(all, func(p ruled.Partition) bool { return !p.Is(r.Versions()) })
		})
	}
	cl := client(t, conf.Kafka.Brokers, kgo.UnknownTopicRetries(-1))
	cl.Produce(t.Context(), &kgo.Record{
		Topic: "events.purchase", Key: []byte("c1"),
		Value: []byte(`{"event_id":"p1","occurred_at":"2026-01-01T00:00:00Z","revenue":"9.90"}`),
	}, nil)
	i := start(t, conf, rulesOf(t, 0), RunOptions{})
	under(rulesOf(t, 0))
	apply(t, conf, thresholdOf(1))
	under(rulesOf(t, 1))
	i.ends()
	apply(t, conf, thresholdOf(0))
	apply(t, conf, thresholdOf(2))
	i = start(t, conf, rulesOf(t, 0), RunOptions{})
	under(rulesOf(t, 2))
	i.ready("ok\nfiles are set 3, in force is 4")
	apply(t, conf, thresholdOf(0))
	under(rulesOf(t, 0))
	i.ends()

	var got []string
	out := client(t, conf.Kafka.Brokers, kgo.ConsumeTopics("segments.changes"), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	for len(got) < 3 {
		out.PollFetches(t.Context()).EachRecord(func(r *kgo.Record) {
			var c struct{ Action, Cause string }
			if err := json.Unmarshal(r.Value, &c); err != nil {
				t.Error(err)
			}
			got = append(got, c.Action+" "+c.Cause)
		})
	}
	if want := []string{"entered event", "exited rule_change", "entered rule_change"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// Rules that look back to events that have been deleted do not come in force by themselves:
// /readyz says so until they are applied with the word that this is accepted.
func TestAcceptLossIsOfTheSet(t *testing.T) {
	cluster := newCluster(t)
	conf := testConfig(t, cluster.ListenAddrs()...)
	conf.Topics.Create.Partitions = 1
	cl := client(t, conf.Kafka.Brokers, kgo.UnknownTopicRetries(-1))
	i := start(t, conf, rulesOf(t, 0), RunOptions{})
	i.ready("ok\n")
	for n := range 3 {
		r := &kgo.Record{Topic: "events.purchase", Key: []byte("c1"), Value: fmt.Appendf(nil, `{"event_id":"p%d","occurred_at":"2026-01-01T00:00:00Z","revenue":"9"}`, n)}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	v, l := setsOf(t, conf)
	parts := ruled.Reader{Cluster: l.Cluster, Topic: "shop.changelog"}
	under := func(set *rulelog.Entry) bool {
		all, err := parts.Partitions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return !all[0].Empty && all[0].Is(set.Versions)
	}
	eventually(t, "customers", func() bool { return under(v.Newest()) })
	gone := kadm.Offsets{}
	gone.AddOffset("events.purchase", 0, 2, -1)
	if _, err := kadm.NewClient(cl).DeleteRecords(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	spenders := strings.Replace(thresholdOf(0), "]\n", ", {id: spenders, objective: o, owner: w, review_by: 2099-01-01, when: \"sum(purchase.revenue) > 5.0\"}]\n", 1)
	apply(t, conf, spenders)
	eventually(t, "the refusal", func() bool {
		return strings.Contains(i.log.String(), "new or changed rules look back to records that have been deleted")
	})
	if err := l.Refresh(t.Context(), v); err != nil || under(v.Newest()) {
		t.Error("under rules that were refused", err)
	}
	files, err := v.Newest().Files()
	if err != nil {
		t.Fatal(err)
	}
	e, err := l.Append(t.Context(), rulelog.Draft{Base: v.Number(), Files: files, Versions: v.Newest().Versions, AcceptLoss: true})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the change", func() bool { return under(e) })
	i.ends()
}
