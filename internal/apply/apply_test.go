package apply

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/imports"
	"github.com/segmill/segmill/consumer/rulelog"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/app"
)

// rulesOf compiles rules of segments, by their conditions.
func rulesOf(t *testing.T, conditions map[string]string) *app.Rules {
	t.Helper()
	var b strings.Builder
	b.WriteString("version: 1\nsegments:\n")
	for id, when := range conditions {
		b.WriteString("  - {id: " + id + ", objective: o, owner: w, review_by: 2099-01-01, when: \"" + when + "\"}\n")
	}
	r, err := app.CompileRules([]rule.File{{Name: "r.yaml", Data: []byte(b.String())}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// open starts a broker with a log of rules and a changelog of two partitions.
func open(t *testing.T) (*app.Config, *kgo.Client) {
	t.Helper()
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "shop.rules"), kfake.SeedTopics(2, "shop.changelog"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	conf := app.DefaultConfig()
	conf.App, conf.Kafka.Brokers = "shop", fake.ListenAddrs()
	cl, err := kgo.NewClient(kgo.SeedBrokers(fake.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return &conf, cl
}

func session(t *testing.T, conf *app.Config) *Session {
	t.Helper()
	s, err := Open(t.Context(), conf, app.RunOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// position writes that a partition is under rules.
func position(t *testing.T, cl *kgo.Client, partition int32, p changelog.Position, v *changelog.Versions) {
	t.Helper()
	if v != nil {
		p.Rules = changelog.HashVersions(v.Hashes)
		r := &kgo.Record{Topic: "shop.changelog", Partition: partition, Key: []byte(changelog.VersionsKey), Value: v.Append(nil)}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	p.App, p.Partitions, p.Seq = "shop", 2, 1
	r := &kgo.Record{Topic: "shop.changelog", Partition: partition, Key: []byte(changelog.PositionKey), Value: p.Append(nil)}
	if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// What is written replaces what was looked at, or is not written.
func TestWriteReplacesWhatWasSeen(t *testing.T) {
	conf, _ := open(t)
	first, second := session(t, conf), session(t, conf)
	rules := rulesOf(t, map[string]string{"a": "did(web)"})
	if e, err := first.Write(t.Context(), rules, Reason{Who: "anna", Why: ""}); err != nil || e.Number != 1 {
		t.Fatal(e, err)
	}
	_, err := second.Write(t.Context(), rules, Reason{Who: "ben", Why: ""})
	if !errors.Is(err, rulelog.ErrBase) || !strings.HasPrefix(err.Error(), "nothing was written: the rules have been changed meanwhile: in force is set 1 by anna at ") {
		t.Error(err)
	}
}

// A rule is ready in a partition if it is there what it is in the set in force, though the
// partition is under another set, or on its way.
func TestState(t *testing.T) {
	conf, cl := open(t)
	old := rulesOf(t, map[string]string{"a": "did(web)", "b": "did(purchase)"})
	fresh := rulesOf(t, map[string]string{"a": "did(web)", "b": "count(purchase) > 1", "c": "did(email)"})
	s := session(t, conf)
	if _, err := s.State(t.Context()); err == nil || !strings.Contains(err.Error(), "shop.rules is empty") {
		t.Error(err)
	}
	for _, r := range []*app.Rules{old, fresh} {
		if _, err := session(t, conf).Write(t.Context(), r, Reason{Who: "anna", Why: "because"}); err != nil {
			t.Fatal(err)
		}
	}
	look := func(wantReady bool, parts []Partition, rules []Rule) {
		t.Helper()
		st, err := session(t, conf).State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if st.Ready != wantReady || !reflect.DeepEqual(st.Partitions, parts) || !reflect.DeepEqual(st.Rules, rules) {
			t.Errorf("%+v", st)
		}
	}
	position(t, cl, 0, changelog.Position{Rules: old.Versions()}, nil)
	look(false, []Partition{{0, 1, Waiting}, {1, 0, Empty}}, []Rule{{"a", 2, Ready}, {"b", 1, Changing}, {"c", 1, Changing}})
	position(t, cl, 0, changelog.Position{Rebuilding: true}, &changelog.Versions{Hashes: fresh.Engine.Versions(), Former: old.Engine.Versions()})
	look(false, []Partition{{0, 2, Changing}, {1, 0, Empty}}, []Rule{{"a", 2, Ready}, {"b", 1, Changing}, {"c", 1, Changing}})
	position(t, cl, 1, changelog.Position{Rules: [16]byte{9}}, nil)
	look(false, []Partition{{0, 2, Changing}, {1, 0, Waiting}}, []Rule{{"a", 1, Changing}, {"b", 0, Changing}, {"c", 0, Changing}})
	position(t, cl, 0, changelog.Position{Rules: fresh.Versions()}, nil)
	position(t, cl, 1, changelog.Position{Rules: fresh.Versions()}, nil)
	look(true, []Partition{{0, 2, Ready}, {1, 2, Ready}}, []Rule{{"a", 2, Ready}, {"b", 2, Ready}, {"c", 2, Ready}})
}

// Waiting ends when all partitions are under the set, when the time is over, or when others
// replace it.
func TestWait(t *testing.T) {
	conf, cl := open(t)
	old, fresh := rulesOf(t, map[string]string{"a": "did(web)"}), rulesOf(t, map[string]string{"a": "did(email)"})
	position(t, cl, 0, changelog.Position{Rules: old.Versions()}, nil)
	s := session(t, conf)
	e, err := s.Write(t.Context(), fresh, Reason{Who: "anna", Why: ""})
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	show := func(text string) { shown = append(shown, text) }
	err = s.Wait(t.Context(), e, time.Millisecond, show)
	if !errors.Is(err, ErrTime) || len(shown) == 0 || shown[0] != "1 of 2 partitions are under set 1" {
		t.Error(err, shown)
	}
	other := session(t, conf)
	if _, err := other.Write(t.Context(), old, Reason{Who: "ben", Why: ""}); err != nil {
		t.Fatal(err)
	}
	if err = s.Wait(t.Context(), e, time.Minute, show); err == nil || !strings.HasPrefix(err.Error(), "set 2 by ben at ") || !strings.HasSuffix(err.Error(), "has replaced set 1, when 1 of 2 partitions are under set 1") {
		t.Error(err)
	}
	position(t, cl, 0, changelog.Position{Rules: fresh.Versions()}, nil)
	if err = s.Wait(t.Context(), e, time.Minute, show); err != nil {
		t.Error(err)
	}
}

// Rules whose facts need events that have been deleted are refused before they are written;
// rules whose facts were kept are not. Who waits for a set hears of a refusal, too.
func TestCheckHistory(t *testing.T) {
	conf, cl := open(t)
	kept := map[string]string{"a": "count(purchase, days(30)) > 1"}
	old := rulesOf(t, kept)
	if _, err := session(t, conf).Write(t.Context(), old, Reason{Who: "anna"}); err != nil {
		t.Fatal(err)
	}
	admin, now := kadm.NewClient(cl), time.Now()
	if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, "events.purchase"); err != nil {
		t.Fatal(err)
	}
	for _, age := range []time.Duration{20, 10, 1} {
		r := &kgo.Record{Topic: "events.purchase", Value: []byte("{}"), Timestamp: now.Add(-age * 24 * time.Hour)}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	at := engine.Millis(now.UnixMilli())
	position(t, cl, 0, changelog.Position{
		Rules: old.Versions(), Clock: at, Sources: map[changelog.Input]changelog.Source{{Topic: "events.purchase"}: {Next: 3, Seen: at}},
	}, nil)
	check := func(what, want string, conditions map[string]string) {
		t.Helper()
		err := session(t, conf).CheckHistory(t.Context(), rulesOf(t, conditions))
		if got := fmt.Sprint(err); got != want && (want == "<nil>" || !strings.Contains(got, want)) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	sums := map[string]string{"a": kept["a"], "b": "sum(purchase.revenue, days(15)) > 1"}
	check("all is there", "<nil>", sums)
	var from kadm.Offsets
	from.Add(kadm.Offset{Topic: "events.purchase", At: 2})
	if deleted, err := admin.DeleteRecords(t.Context(), from); err != nil || deleted.Error() != nil {
		t.Fatal(err, deleted.Error())
	}
	const gone = "new or changed rules look back to records that have been deleted: events.purchase/0 begins on "
	check("a new fact", gone, sums)
	check("a longer window", gone, map[string]string{"a": "count(purchase, days(40)) > 1"})
	// An import has what was deleted.
	if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, "shop.history"); err != nil {
		t.Fatal(err)
	}
	day := engine.Millis(24 * 3_600_000)
	mark := imports.Mark{Import: imports.ID(1), At: at, Topics: map[string]imports.Range{"events.purchase": {Records: 9, First: at - 30*day, Last: at}}}
	if err := cl.ProduceSync(t.Context(), mark.Record("shop.history", 0)).FirstErr(); err != nil {
		t.Fatal(err)
	}
	check("what was imported", "<nil>", sums)
	check("more than was imported", gone, map[string]string{"a": "count(purchase, days(40)) > 1"})
	if _, err := admin.DeleteTopic(t.Context(), "shop.history"); err != nil {
		t.Fatal(err)
	}
	check("what was kept", "<nil>", map[string]string{"a": kept["a"], "b": "count(purchase, days(20)) > 2"})
	check("what is left", "<nil>", map[string]string{"a": kept["a"], "b": "sum(purchase.revenue, hours(20)) > 1"})

	s := session(t, conf)
	s.checkEvery = time.Millisecond
	e, err := s.Write(t.Context(), rulesOf(t, sums), Reason{Who: "anna"})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Wait(t.Context(), e, time.Minute, func(string) {})
	if want := new(Gone); !errors.As(err, &want) || !strings.HasPrefix(err.Error(), "1 of 2 partitions are under set 2, and the others stay as they are: ") {
		t.Error(err)
	}
}

// Files are written below the directory alone, whatever a set calls them.
func TestWriteFiles(t *testing.T) {
	conf, _ := open(t)
	s := session(t, conf)
	dir := filepath.Join(t.TempDir(), "before")
	for n, x := range []struct{ name, want string }{
		{"rules/a.yaml", ""}, {"../a.yaml", "does not lie below a directory"}, {"/a.yaml", "does not lie below a directory"}, {"", "does not lie below a directory"},
	} {
		e, err := s.log.Append(t.Context(), rulelog.Draft{Base: uint64(n), Files: []rulelog.File{{Name: x.name, Text: []byte("text")}}})
		if err != nil {
			t.Fatal(err)
		}
		names, err := WriteFiles(e, dir)
		if x.want == "" {
			b, rerr := os.ReadFile(filepath.Join(dir, x.name))
			if err != nil || rerr != nil || string(b) != "text" || len(names) != 1 {
				t.Error(names, err, rerr)
			}
		} else if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v", x.name, err)
		}
	}
}

func TestDiffer(t *testing.T) {
	before := map[string]string{"a": "1", "b": "1", "trigger:t": "1", "defaults:timezone": "UTC"}
	after := map[string]string{"a": "1", "b": "2", "c": "1", "defaults:timezone": "CET"}
	d := Differ(before, after)
	want := "new:     c|changed: b|removed: trigger:t|reading: defaults:timezone|kept:    1"
	if got := strings.Join(d.Lines(), "|"); got != want {
		t.Errorf("%s", got)
	}
	if d = Differ(map[string]string{}, after); len(d.Reading) > 0 || len(d.New) != 3 {
		t.Errorf("%+v", d)
	}
	if d = Differ(after, after); strings.Join(d.Lines(), "|") != "no rule differs from those in force" {
		t.Errorf("%+v", d)
	}
}
