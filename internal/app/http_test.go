package app

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/group"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/consumer/task"
)

func TestHandler(t *testing.T) {
	reg := prometheus.NewRegistry()
	metrics.New(reg)
	var st group.Status
	wrong, note := "", ""
	h := handler(reg, health{func() group.Status { return st }, func() (string, string) { return wrong, note }})
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	left := []config.NotRead{{Topic: "helpdesk", Message: `not read: the rules declare no stream "support"`, Remedy: "declare it"}}
	for _, x := range []struct {
		name string
		st   group.Status
		code int
		body string
	}{
		{"at first", group.Status{}, 503, "no partitions are assigned yet\n"},
		{"one is stopped", group.Status{Tasks: []task.Status{
			{Partition: 0, State: task.Running},
			{Partition: 1, State: task.Acquiring},
			{Partition: 2, State: task.Stopped, Error: "the changelog is gone"},
		}}, 503, "partition 1: acquiring\npartition 2: stopped the changelog is gone\n"},
		{"restoring", group.Status{Tasks: []task.Status{
			{Partition: 3, State: task.Acquiring, Restore: &replica.Status{
				From: 500, Next: 1_200_500, End: 4_000_500, PerSecond: 210_000, Left: 13*time.Second + 300*time.Millisecond,
			}},
		}}, 503, "partition 3: restoring 1,200,000 of 4,000,000 records, 210,000/s, about 13 s left\n"},
		{"joining", group.Status{Joining: "copying\ncopy of partition 1: loading"}, 503, "copying\ncopy of partition 1: loading\n"},
		{"refused", group.Status{Refused: "group shop: GROUP_AUTHORIZATION_FAILED"}, 503, "group shop: GROUP_AUTHORIZATION_FAILED\n"},
		{"all run", group.Status{Ready: true, Tasks: []task.Status{{State: task.Running}}}, 200, "ok\n"},
		{"none is ours", group.Status{Ready: true}, 200, "ok\n"},
		{"an input is not read", group.Status{Ready: true, NotRead: left}, 200, "ok\nhelpdesk: not read: the rules declare no stream \"support\"\n"},
		{"and nothing runs", group.Status{NotRead: left}, 503, "no partitions are assigned yet\nhelpdesk: not read: the rules declare no stream \"support\"\n"},
	} {
		st = x.st
		if code, body := get("/readyz"); code != x.code || body != x.body {
			t.Errorf("%s: %d %q, want %d %q", x.name, code, body, x.code, x.body)
		}
		if code, body := get("/healthz"); code != 200 || body != "ok\n" {
			t.Errorf("%s: healthz %d %q", x.name, code, body)
		}
	}
	for _, x := range []struct {
		name, wrong, note string
		ready             bool
		code              int
		body              string
	}{
		{"other files", "", "files are set 11", true, 200, "ok\nfiles are set 11\n"},
		{"other files, not ready", "", "files are set 11", false, 503, "files are set 11\nno partitions are assigned yet\n"},
		{"rules that can't be run", "set 12 in force can't be run", "files are set 11", true, 503, "set 12 in force can't be run\nfiles are set 11\n"},
	} {
		st, wrong, note = group.Status{Ready: x.ready}, x.wrong, x.note
		if code, body := get("/readyz"); code != x.code || body != x.body {
			t.Errorf("%s: %d %q, want %d %q", x.name, code, body, x.code, x.body)
		}
	}
	wrong, note = "", ""
	st = group.Status{Ready: true, Tasks: []task.Status{
		{Partition: 0, State: task.Running, Rules: "set 12"},
		{Partition: 1, State: task.Running, Rules: "set 11", Change: "building 62 %"},
		{Partition: 2, State: task.Running, Rules: "set 11", Refused: "records have been deleted"},
	}}
	if code, body := get("/readyz"); code != 200 || body != "ok\npartition 1 goes over to other rules: building 62 %\npartition 2 stays under set 11: records have been deleted; segmill apply --accept-loss goes over without them\n" {
		t.Errorf("%d %q", code, body)
	}
	if code, body := get("/metrics"); code != 200 || !strings.Contains(body, "\nsegmill_clock_stopped 0\n") {
		t.Errorf("metrics %d:\n%s", code, body)
	}
	if code, _ := get("/"); code != 404 {
		t.Errorf("/ is %d", code)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/healthz", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST is %d", w.Code)
	}
}

func TestServePortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	log := slog.New(slog.DiscardHandler)
	_, err = serve(l.Addr().String(), prometheus.NewRegistry(), health{}, log)
	if err == nil || !strings.Contains(err.Error(), "address already in use") || !strings.Contains(err.Error(), "http: set another address") {
		t.Errorf("error %v", err)
	}
}
