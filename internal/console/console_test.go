package console

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

func TestConsole(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	var b strings.Builder
	log := NewLogger(&b, "info", true)
	log.Debug("hidden")
	log.Info("topic created", "topic", "events web", "partitions", 4)
	log.With("app", "shop").WithGroup("g").Warn("slow", "msg", "kept")
	log.Error("bad", "error", errors.New("no disk"))
	got := regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d `).ReplaceAllString(b.String(), "T ")
	want := "T topic created  topic=\"events web\" partitions=4\nT WARN slow  app=shop g.msg=kept\nT ERROR bad  error=\"no disk\"\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}

	t.Setenv("NO_COLOR", "")
	b.Reset()
	NewLogger(&b, "debug", true).Warn("slow")
	if !strings.HasSuffix(b.String(), " \x1b[33mWARN\x1b[0m slow\n") {
		t.Errorf("%q", b.String())
	}

	b.Reset()
	NewLogger(&b, "warn", false).Info("hidden")
	NewLogger(&b, "warn", false).Warn("slow", "topic", "t")
	if !strings.HasSuffix(b.String(), `"level":"WARN","msg":"slow","topic":"t"}`+"\n") || strings.Contains(b.String(), "hidden") {
		t.Errorf("%q", b.String())
	}
}
