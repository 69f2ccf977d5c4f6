package app

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/segmill/segmill/schemas"
)

// What a registry lacks is reported by subject.
func TestCheckOnlineRegistry(t *testing.T) {
	registry := srfake.New()
	t.Cleanup(registry.Close)
	conf := testConfig(t, newCluster(t).ListenAddrs()...)
	conf.Registry.URL, conf.Output.Format = registry.URL(), "avro"
	opt := RunOptions{Logger: slog.New(slog.DiscardHandler)}
	check := func() *Online {
		t.Helper()
		o, err := CheckOnline(t.Context(), conf, buyersRules(t), opt)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	o := check()
	if got := o.Warned(); len(o.Errors) > 0 || !strings.Contains(got, "no schema is registered under events.consent-value, events.email-value, events.profile-value, events.purchase-value, events.web-value") {
		t.Errorf("%s\n%s", o.Failed(), got)
	}
	if !strings.HasPrefix(o.Summary, "5 inputs of 2 partitions; a start will create events.consent, ") {
		t.Errorf("%q", o.Summary)
	}
	text, err := schemas.Text("purchase_event")
	if err != nil {
		t.Fatal(err)
	}
	cl, err := sr.NewClient(sr.URLs(registry.URL()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cl.CreateSchema(t.Context(), "events.purchase-value", sr.Schema{Schema: text, Type: sr.TypeAvro}); err != nil {
		t.Fatal(err)
	}
	if got := check().Warned(); strings.Contains(got, "purchase") {
		t.Errorf("%s", got)
	}
	// It has registered nothing.
	if subjects, err := cl.Subjects(t.Context()); err != nil || len(subjects) != 1 {
		t.Errorf("subjects %v, %v", subjects, err)
	}
	registry.Close()
	if o := check(); len(o.Errors) != 1 || !strings.Contains(o.Failed(), "    ^ see registry") {
		t.Errorf("%+v", o)
	}
}

// An erasure goes where the engine looks for it, and a broker that is away is not
// waited for.
func TestErase(t *testing.T) {
	cluster := newCluster(t)
	if err := cluster.CreateTopic("events.profile", 8, nil); err != nil {
		t.Fatal(err)
	}
	conf := testConfig(t, cluster.ListenAddrs()...)
	var out bytes.Buffer
	if _, err := Erase(t.Context(), conf, []string{"c1", "anon:7", "c1"}, EraseOptions{}, &out); err != nil {
		t.Fatal(err)
	}
	if strings.Count(out.String(), "events.profile/") != 2 {
		t.Errorf("%s", &out)
	}
	cl := client(t, conf.Kafka.Brokers, kgo.ConsumeTopics("events.profile"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	murmur := kgo.StickyKeyPartitioner(nil).ForTopic("")
	for n := 0; n < 2; {
		for _, r := range cl.PollFetches(t.Context()).Records() {
			if n++; r.Value != nil || r.Partition != int32(murmur.Partition(&kgo.Record{Key: r.Key}, 8)) {
				t.Errorf("%v", r)
			}
		}
	}
	for id, want := range map[string]string{"": "empty", strings.Repeat("x", 1025): "1025 bytes", "a\xff": "not text", "a\x00": "not text", "\"c1\"": "quotes around it"} {
		if _, err := Erase(t.Context(), conf, []string{"c9", id}, EraseOptions{}, &out); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.10q: %v", id, err)
		}
	}
	if strings.Contains(out.String(), "c9") {
		t.Error("something was written before all was checked")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conf.Kafka.Brokers = []string{l.Addr().String()}
	l.Close()
	if _, err := Erase(context.Background(), conf, []string{"c1"}, EraseOptions{}, &out); err == nil || !strings.Contains(err.Error(), "no broker answers") {
		t.Errorf("%v", err)
	}
}
