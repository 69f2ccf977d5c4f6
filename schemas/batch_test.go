package schemas

import (
	"strings"
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
)

// docs/semantics.md, 12.3: a batch of messages is as many events, each by itself; what is
// no event is skipped, and what is refused does not take the others with it.
func TestBatch(t *testing.T) {
	r := readerOf(t, nil, nil)
	rec := &Record{Topic: "events.web", Key: []byte("nobody"), Time: 1772362800000, Value: []byte(`{"writeKey":"k","sentAt":"2026-03-01T11:00:00Z","batch":[
		{"type":"track","event":"Order Completed","messageId":"m2","userId":"u","timestamp":"2026-03-01T10:00:00Z","properties":{"revenue":5}},
		{"type":"page","messageId":"m1","userId":"u","timestamp":"2026-03-01T09:00:00Z"},
		{"type":"delete","messageId":"m3","userId":"u"},
		{"type":"page","messageId":"m4","timestamp":"2026-03-01T09:00:00Z"}]}`)}
	var ev engine.Event
	what, err := r.Read(rec, &ev)
	if err != nil || what != IsEvent || ev.ID != "m1" || ev.Stream != plan.Web || len(rec.More.Events) != 1 || rec.More.Events[0].ID != "m2" || rec.More.Events[0].Stream != plan.Purchase {
		t.Fatal(what, err, ev, rec.More)
	}
	if len(rec.More.Refused) != 1 || rec.More.Refused[0].Cause != "identity" {
		t.Error(rec.More.Refused)
	}
	for i, text := range rec.More.Texts {
		var again engine.Event
		copied := &Record{Topic: "events.web", Time: rec.Time, Value: text.JSON, Mapped: &MappedAs{Stream: text.Stream, Number: text.Number}}
		if _, err := r.Read(copied, &again); err != nil || again.ID != []string{"m1", "m2"}[i] {
			t.Errorf("the forwarded text %s is %v (%v)", text.JSON, again, err)
		}
	}
	many := `{"batch":[` + strings.Repeat(`{},`, 1_000) + `{}]}`
	for value, want := range map[string]string{`{"batch":[]}`: "missing", `{"batch":5}`: "missing", many: "size"} {
		if _, err := r.Read(&Record{Topic: "events.web", Value: []byte(value)}, &ev); string(CauseOf(err)) != want {
			t.Errorf("%.40s: %v", value, err)
		}
	}
}
