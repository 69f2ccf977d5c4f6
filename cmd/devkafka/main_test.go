package main

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
)

// start runs devkafka until the returned function is called, which waits for it.
func start(t *testing.T, o options) (kafka, registry string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	addrs, done := make(chan [2]string, 1), make(chan error, 1)
	go func() { done <- run(ctx, o, func(k, r string) { addrs <- [2]string{k, r} }) }()
	select {
	case a := <-addrs:
		return a[0], a[1], func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	case err := <-done:
		cancel()
		t.Fatal(err)
		return "", "", nil
	}
}

// Records and schema ids survive a restart.
func TestDataSurvivesRestart(t *testing.T) {
	o, err := parse([]string{"--kafka", "127.0.0.1:0", "--registry", "127.0.0.1:0", "--data", t.TempDir(), "--topics", "a:2,b:1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	kafka, registry, stop := start(t, o)
	cl, err := kgo.NewClient(kgo.SeedBrokers(kafka))
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "b", Value: []byte("kept")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	cl.Close()
	rc, err := sr.NewClient(sr.URLs("http://" + registry))
	if err != nil {
		t.Fatal(err)
	}
	created, err := rc.CreateSchema(ctx, "b-value", sr.Schema{Schema: `"string"`, Type: sr.TypeAvro})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rc.CreateSchema(ctx, "c-value", sr.Schema{Schema: `"string"`, Type: sr.TypeAvro}); err != nil {
		t.Fatal(err)
	}
	stop()

	kafka, registry, stop = start(t, o)
	defer stop()
	if rc, err = sr.NewClient(sr.URLs("http://" + registry)); err != nil {
		t.Fatal(err)
	}
	if s, err := rc.SchemaByID(ctx, created.ID); err != nil || s.Schema != `"string"` {
		t.Errorf("schema %d after the restart: %q, %v", created.ID, s.Schema, err)
	}
	if cl, err = kgo.NewClient(kgo.SeedBrokers(kafka), kgo.ConsumeTopics("b"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())); err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if got := cl.PollFetches(ctx).Records(); len(got) != 1 || string(got[0].Value) != "kept" {
		t.Errorf("records after the restart: %v", got)
	}
}

func TestParse(t *testing.T) {
	for _, args := range [][]string{{"--topics", "a"}, {"--topics", "a:0"}, {"--topics", ":1"}, {"extra"}, {"--nonsense"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
