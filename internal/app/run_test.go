package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/console"
)

// buyers is a rule of which one purchase makes a change.
const buyers = "version: 1\nsegments: [{id: buyers, objective: o, owner: w, review_by: 2099-01-01, when: count(purchase) > 0}]\n"

func buyersRules(t *testing.T) *Rules {
	t.Helper()
	r, err := CompileRules([]rule.File{{Name: "r.yaml", Data: []byte(buyers)}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// testConfig is a configuration of an engine on the brokers.
func testConfig(t *testing.T, brokers ...string) *Config {
	t.Helper()
	c := DefaultConfig()
	c.App, c.State, c.Kafka.Brokers = "shop", filepath.Join(t.TempDir(), "state"), brokers
	c.Topics.Create = &CreateConfig{Partitions: 2, Replication: 1}
	c.Output.Format = "json"
	addr := "127.0.0.1:0"
	c.HTTP = &addr
	return &c
}

func newCluster(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// buffer is a writer that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// eventually waits until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(60 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it never came to this: %s", what)
		}
	}
}

func client(t *testing.T, brokers []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(brokers...), kgo.DisableFetchSessions())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// TestRun runs everything but the command line: an event goes in, a change comes
// out, and after the stop nothing is left running.
func TestRun(t *testing.T) {
	cluster := newCluster(t)
	conf := testConfig(t, cluster.ListenAddrs()...)
	rules := buyersRules(t)
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var log buffer
	done := make(chan error, 1)
	go func() {
		done <- RunRules(ctx, conf, rules, RunOptions{Logger: console.NewLogger(&log, "info", true)})
	}()

	eventually(t, "ready", func() bool {
		_, after, ok := strings.Cut(log.String(), "http  address=")
		return ok && body("http://"+strings.Fields(after)[0]+"/readyz") == "ok\n"
	})
	func() {
		cl, err := kgo.NewClient(kgo.SeedBrokers(conf.Kafka.Brokers...), kgo.ConsumeTopics("segments.changes"),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.DisableFetchSessions())
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		event := fmt.Sprintf(`{"event_id":"p1","occurred_at":%d,"revenue":"9.90"}`, time.Now().UnixMilli())
		r := cl.ProduceSync(ctx, &kgo.Record{Topic: "events.purchase", Key: []byte("c1"), Value: []byte(event)})
		if err := r.FirstErr(); err != nil {
			t.Fatal(err)
		}
		var got struct {
			Customer string `json:"customer_id"`
			Segment  string `json:"segment"`
			Action   string `json:"action"`
		}
		records := cl.PollFetches(ctx).Records()
		if len(records) != 1 || string(records[0].Key) != "c1" {
			t.Fatalf("records %v", records)
		}
		if err := json.Unmarshal(records[0].Value, &got); err != nil || got.Customer != "c1" || got.Segment != "buyers" || got.Action != "entered" {
			t.Errorf("%s %v", records[0].Value, err)
		}
	}()

	start := time.Now()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("stopped with %v", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("stopping took %s", took)
	}
	if !strings.HasSuffix(log.String(), " stopped\n") {
		t.Errorf("the log does not end with the stop:\n%s", log.String())
	}
	http.DefaultClient.CloseIdleConnections()
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

// body returns what a URL answers, "" if it does not.
func body(url string) string {
	resp, err := http.Get(url) //nolint:noctx // of this process
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return string(b)
}

func TestRunMissingTopics(t *testing.T) {
	conf := testConfig(t, newCluster(t).ListenAddrs()...)
	conf.Topics.Create = nil
	err := RunRules(t.Context(), conf, buyersRules(t), RunOptions{Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "events.consent") || !strings.Contains(err.Error(), "or set topics.create") {
		t.Errorf("error %v", err)
	}
}

// TestRunWaits: a broker or a registry that is not there yet is waited for, and
// the wait can be interrupted.
func TestRunWaits(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	l.Close()
	for _, what := range []string{"a broker", "the schema registry"} {
		conf := testConfig(t, dead)
		if what != "a broker" {
			conf.Registry.URL, conf.Output.Format = "http://"+dead, "avro"
		}
		ctx, cancel := context.WithCancel(t.Context())
		var log buffer
		done := make(chan error, 1)
		go func() {
			done <- RunRules(ctx, conf, buyersRules(t), RunOptions{Logger: console.NewLogger(&log, "info", true)})
		}()
		eventually(t, what+" is waited for", func() bool { return strings.Contains(log.String(), "waiting for "+what) })
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: stopped with %v", what, err)
		}
		if !strings.Contains(log.String(), dead) {
			t.Errorf("%s: the log does not name it:\n%s", what, log.String())
		}
	}
}
