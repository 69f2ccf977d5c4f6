package app

import (
	"log/slog"
	"strings"
	"testing"

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
	if !strings.HasPrefix(o.Summary, "5 inputs, 2 tasks; a start will create events.consent, ") {
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
