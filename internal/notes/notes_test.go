package notes

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segmill/segmill/schemas"
)

// One thing is logged when it is first met and then at most once a minute, with how
// often it was met in between; metrics count every time.
func TestOnceAMinute(t *testing.T) {
	var log bytes.Buffer
	now := time.Unix(0, 0)
	reg := prometheus.NewPedanticRegistry()
	l := New(reg, slog.New(slog.NewTextHandler(&log, nil)), func() time.Time { return now })
	refused := schemas.Note{Kind: schemas.NoteRefused, Field: "traits", Name: "traits.plan", Cause: "type", Detail: `"s3cret"`}
	for range 100 {
		l.Take("events.profile", &refused)
	}
	l.Take("events.web", &refused)
	now = now.Add(every)
	l.Take("events.profile", &refused)
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[2], "field=traits.plan") || !strings.Contains(lines[2], "more=99") || !strings.Contains(lines[1], "topic=events.web") {
		t.Errorf("logged\n%s", &log)
	}
	if strings.Contains(log.String(), "s3cret") {
		t.Error("the log has what is in a record")
	}
	families, err := reg.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "segmill_fields_refused_total" {
		t.Fatalf("%v, %v", families, err)
	}
	for i, want := range []string{`101 [cause type field traits topic events.profile]`, `1 [cause type field traits topic events.web]`} {
		m := families[0].GetMetric()[i]
		var labels []string
		for _, p := range m.GetLabel() {
			labels = append(labels, p.GetName(), p.GetValue())
		}
		if got := fmt.Sprint(m.GetCounter().GetValue(), labels); got != want && got != strings.Replace(want, " ", "", 1) {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// A word is logged if a program wrote it, and not what a person may have.
func TestWordsInTheLog(t *testing.T) {
	for detail, shown := range map[string]bool{
		`"swapped"`: true, `type "delete"`: true, `"partially_refunded"`: true, `"anna@example.org"`: false,
		`"Anna Meyer"`: false, `"+49123456"`: false, `"` + strings.Repeat("x", 33) + `"`: false,
	} {
		var log bytes.Buffer
		l := New(nil, slog.New(slog.NewTextHandler(&log, nil)), time.Now)
		l.Take("t", &schemas.Note{Kind: schemas.NoteUnknown, Field: "kind", Detail: detail})
		if got := strings.Contains(log.String(), "word="); got != shown {
			t.Errorf("%s: logged %v", detail, &log)
		}
	}
}

// A summary has a line for each topic, kind, field and cause.
func TestTally(t *testing.T) {
	var tally Tally
	for _, n := range []schemas.Note{
		{Kind: schemas.NoteDerived, Field: "items"},
		{Kind: schemas.NoteRefused, Field: "revenue", Name: "revenue", Cause: "type", Detail: "first"},
		{Kind: schemas.NoteRefused, Field: "revenue", Name: "revenue", Cause: "type", Detail: "second"},
		{Kind: schemas.NoteRefused, Field: "revenue", Name: "revenue", Cause: "range", Detail: "third"},
	} {
		tally.Take("purchase", &n)
	}
	want := []Line{
		{"purchase", 1, "revenue refused (range)", "third"},
		{"purchase", 2, "revenue refused (type)", "first"},
		{"purchase", 1, "revenue derived from items", ""},
	}
	got := tally.Lines()
	if len(got) != len(want) {
		t.Fatalf("%v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d: %v, want %v", i, got[i], want[i])
		}
	}
}
