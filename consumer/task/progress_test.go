package task

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/state"
)

// A restore is seen in the status and the metrics while it lasts, and in the log
// if it lasts long. Time here is the configured clock's.
func TestProgress(t *testing.T) {
	store, err := state.Open("state", state.Options{FS: vfs.NewMem(), Wake: engine.WakeOf})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() // nothing was written
	var log bytes.Buffer
	reg := prometheus.NewPedanticRegistry()
	now := time.Now()
	cfg := config.Default()
	cfg.Store = store
	cfg.Now = func() time.Time { return now }
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	cfg.Metrics = metrics.New(reg)
	in := NewInstance(cfg)
	task := New(&in, 3)
	lines := func() int { return strings.Count(log.String(), "\n") }
	check := func(when, text string, remaining, restored float64, logged int) {
		t.Helper()
		got := fixture.Gather(t, reg)
		left, shown := got["segmill_restore_remaining_records{3}"]
		st := task.Status().Restore
		if text == "" {
			if st != nil || shown {
				t.Errorf("%s: still %v, %v", when, st, left)
			}
		} else if st == nil || st.String() != text || left != remaining || !shown {
			t.Errorf("%s: %v, remaining %v", when, st, left)
		}
		if n := got["segmill_state_restored_records_total{}"]; n != restored {
			t.Errorf("%s: %v records restored", when, n)
		}
		if n := lines(); n != logged {
			t.Errorf("%s: %d lines:\n%s", when, n, log.String())
		}
	}

	p, done := task.showRestore(1_000, 4_001_000)
	check("at first", "restoring 0 of 4,000,000 records", 4_000_000, 0, 0)
	now = now.Add(2 * time.Second)
	p.Record(100)
	p.Record(50)
	p.Read(401_000)
	check("after 2 s", "restoring 400,000 of 4,000,000 records, 200,000/s, about 18 s left", 3_600_000, 2, 0)
	now = now.Add(2 * time.Second)
	p.Record(50)
	p.Read(601_000)
	check("after 4 s", "restoring 600,000 of 4,000,000 records, 150,000/s, about 23 s left", 3_400_000, 3, 1)
	now = now.Add(4 * time.Second)
	p.Read(601_000)
	check("after 8 s without records", "restoring 600,000 of 4,000,000 records, 75,000/s, about 45 s left", 3_400_000, 3, 1)
	now = now.Add(time.Second)
	p.Read(4_001_000)
	check("after 9 s", "restoring 4,000,000 of 4,000,000 records, 444,444/s, about 0 s left", 0, 3, 2)
	now = now.Add(5 * time.Second)
	p.Indexed(10_000)
	check("indexing", "restored 4,000,000 records, indexing, 10,000 customers so far", 0, 3, 3)
	done()
	check("done", "", 0, 3, 3)
	if !strings.Contains(log.String(), "bytes=200") || !strings.Contains(log.String(), "partition=3") {
		t.Errorf("log:\n%s", log.String())
	}
}
