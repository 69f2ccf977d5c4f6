package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/group"
	"github.com/segmill/segmill/state"
)

// An instance keeps its name as long as it keeps its host and directory, and a file
// of version 0.1.0, which says only the name, is filled in.
func TestInstanceKeepsItsName(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	read := func(name string, here place) *instance {
		t.Helper()
		in, err := readInstance(filepath.Join(dir, name), here, log)
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	here := place{"web-1", "b1", filepath.Join(dir, "state")}
	a := read("state", here)
	if !instanceName.MatchString(a.id) {
		t.Errorf("the name is %q", a.id)
	}
	if again := read("state/", here); again.id != a.id {
		t.Errorf("%q, then %q", a.id, again.id)
	}
	if other := read("other", here); other.id == a.id {
		t.Error("two directories have one name")
	}
	for _, elsewhere := range []place{{"web-2", "b1", here.dir}, {"web-1", "b1", "/copy"}, {"web-2", "b2", "/copy"}} {
		b, err := os.ReadFile(a.file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "copy.instance"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		c := read("copy", elsewhere)
		if c.id == a.id {
			t.Errorf("a copy in %v keeps the name", elsewhere)
		}
		if again := read("copy", elsewhere); again.id != c.id {
			t.Errorf("the copy is %q, then %q", c.id, again.id)
		}
	}
	for text, want := range map[string]string{"": "", "\n": "", a.id + "\n": a.id, a.id: a.id} {
		if err := os.WriteFile(filepath.Join(dir, "old.instance"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		in := read("old", here)
		if in.id == "" || want != "" && in.id != want || in.written != here {
			t.Errorf("%q gives %q of %v", text, in.id, in.written)
		}
	}
}

// Nothing that is not the engine's is taken for a name, written to or replaced.
func TestForeignInstanceFiles(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{"text.instance": "my notes\n", "empty": "", "shadow": "root:x:0\n", "long.instance": strings.Repeat("x", 1<<20)} {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"a.instance": "empty", "b.instance": "shadow", "c.instance": "nowhere", "d.instance": "/dev/zero"} {
		if err := os.Symlink(to, at(link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(at("e.instance"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"text", "long", "a", "b", "c", "d", "e"} {
		in, err := readInstance(at(name), place{"h", "b", "d"}, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), "mv "+at(name)+".instance "+at(name)+".instance.old") {
			t.Errorf("%s: %v, %v", name, in, err)
		}
	}
	if b, err := os.ReadFile(at("empty")); err != nil || len(b) > 0 {
		t.Errorf("written through a link: %q, %v", b, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 9 {
		t.Errorf("%v, %v", entries, err)
	}
}

// started runs an engine until the test ends it, and returns its result.
func started(t *testing.T, conf *Config, log *slog.Logger, onStart func(*group.Owner)) (stop func() error, ended <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- RunRules(ctx, conf, buyersRules(t), RunOptions{Logger: log, OnStart: onStart}) }()
	return func() error { cancel(); return <-done }, done
}

// A machine that was cloned, with the name of its host, takes another name if the
// original runs; the same machine, started again, keeps it.
func TestClonedMachine(t *testing.T) {
	c := newCluster(t)
	conf := testConfig(t, c.ListenAddrs()...)
	opts := []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...)}
	log := slog.New(slog.DiscardHandler)
	here, err := thisPlace(conf.State)
	if err != nil {
		t.Fatal(err)
	}
	file := conf.State + ".instance"
	name := func() string {
		b, _ := os.ReadFile(file)
		id, _, _ := strings.Cut(string(b), "\n")
		return id
	}
	restarted := here
	restarted.boot = "another"
	settled := func() string {
		before, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		in, err := readInstance(conf.State, restarted, log)
		if err == nil {
			err = in.settle(t.Context(), conf.App, opts, log)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, before, 0o600); err != nil {
			t.Fatal(err)
		}
		return in.id
	}
	var owner *group.Owner
	ready := make(chan struct{})
	stop, _ := started(t, conf, log, func(o *group.Owner) { owner = o; close(ready) })
	<-ready
	eventually(t, "the original runs", func() bool { return owner.Status().Ready })
	if got := settled(); got == name() || !instanceName.MatchString(got) {
		t.Errorf("the clone is called %q", got)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := settled(); got != name() {
		t.Errorf("after a restart it is called %q", got)
	}
}

// A copy of state and name, of a volume or of a directory, runs beside the original.
func TestCopyRunsBesideOriginal(t *testing.T) {
	c := newCluster(t)
	confs := [2]*Config{testConfig(t, c.ListenAddrs()...), testConfig(t, c.ListenAddrs()...)}
	var owners [2]*group.Owner
	var stops [2]func() error
	for i, conf := range confs {
		ready := make(chan struct{})
		stops[i], _ = started(t, conf, slog.New(slog.DiscardHandler), func(o *group.Owner) { owners[i] = o; close(ready) })
		<-ready
		eventually(t, "it runs", func() bool { s := owners[i].Status(); return s.Ready && len(s.Tasks) == 2-i })
		if i == 1 {
			break
		}
		for _, name := range []string{".instance", "/SEGMILL"} {
			b, err := os.ReadFile(conf.State + name)
			if err != nil {
				t.Fatal(err)
			}
			to := confs[1].State + name
			if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "they share the partitions", func() bool {
		a, b := owners[0].Status(), owners[1].Status()
		return a.Ready && b.Ready && len(a.Tasks) == 1 && len(b.Tasks) == 1
	})
	for _, stop := range stops {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

// Where a copy can't be noticed, the process that Kafka fences ends and names the
// file.
func TestFencedInstanceEnds(t *testing.T) {
	c := newCluster(t)
	confs := [2]*Config{testConfig(t, c.ListenAddrs()...), testConfig(t, c.ListenAddrs()...)}
	var owners [2]*group.Owner
	var stops [2]func() error
	var ends [2]<-chan error
	for i, conf := range confs {
		conf.Kafka.SessionTimeout = Duration(6 * time.Second)
		if err := os.WriteFile(conf.State+".instance", []byte("segmill-ESDNRVHQRB6QVLGQVTKJ3A6QTZ\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		ready := make(chan struct{})
		stops[i], ends[i] = started(t, conf, slog.New(slog.DiscardHandler), func(o *group.Owner) { owners[i] = o; close(ready) })
		<-ready
		eventually(t, "it runs", func() bool { return owners[i].Status().Ready })
	}
	select {
	case err := <-ends[0]:
		if !errors.Is(err, kerr.FencedInstanceID) || !strings.Contains(err.Error(), "rm "+confs[0].State+".instance") {
			t.Errorf("the first one ended: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the first one does not end")
		_ = stops[0]()
	}
	if !owners[1].Status().Ready {
		t.Error("the second one does not run")
	}
	if err := stops[1](); err != nil {
		t.Error(err)
	}
}

// The state of another application or cluster is not touched.
func TestForeignState(t *testing.T) {
	a, b := newCluster(t), newCluster(t, kfake.ClusterID("another"))
	var log bytes.Buffer
	conf := testConfig(t, a.ListenAddrs()...)
	ready := make(chan struct{})
	stop, _ := started(t, conf, slog.New(slog.DiscardHandler), func(*group.Owner) { close(ready) })
	<-ready
	mark := filepath.Join(conf.State, "SEGMILL")
	eventually(t, "the cluster is noted", func() bool {
		b, err := os.ReadFile(mark)
		return err == nil && strings.Contains(string(b), "\ncluster ")
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	other := *conf
	other.App = "shop2"
	logger := slog.New(slog.NewTextHandler(&log, nil))
	if err := RunRules(t.Context(), &other, buyersRules(t), RunOptions{Logger: logger}); !errors.Is(err, state.ErrForeign) || !strings.Contains(err.Error(), "holds the state of application shop, not of shop2") {
		t.Errorf("another application: %v", err)
	}
	other = *conf
	other.Kafka.Brokers = b.ListenAddrs()
	if err := RunRules(t.Context(), &other, buyersRules(t), RunOptions{Logger: logger}); !errors.Is(err, state.ErrForeign) || !strings.Contains(err.Error(), "cluster kfake, but the brokers belong to cluster another") {
		t.Errorf("another cluster: %v", err)
	}
}
