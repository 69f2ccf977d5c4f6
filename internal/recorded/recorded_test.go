package recorded

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

var update = flag.Bool("update", false, "record the runs again, into testdata")

// An engine lives through some weeks: pages of events, silence, records on wrong
// partitions, the loss of its disk, a lost transaction, changed rules.
func TestRecordedLive(t *testing.T) {
	for name, s := range map[string]setup{
		"live_exactly_once_json":  {delivery: config.ExactlyOnce, output: schemas.JSON},
		"live_at_least_once_avro": {delivery: config.AtLeastOnce, output: schemas.Avro, avro: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { live(t, name, s) })
		})
	}
}

// steps are how far the clock moves from page to page.
var steps = []time.Duration{
	7 * time.Second, 5 * time.Minute, 40 * time.Minute, 5 * time.Hour, 26 * time.Hour, 31 * time.Minute, 3 * 24 * time.Hour, time.Minute,
}

func live(t *testing.T, name string, s setup) {
	r := newRig(t, s)
	files := vfs.NewMem()
	in := r.launch("rules.yaml", files, nil)
	r.settle()
	pages := func(n int) {
		for i := range n {
			step := steps[i%len(steps)]
			if i%4 == 3 {
				r.wrongDay(step, int32(i/4)%partitions)
			} else {
				r.day(step, 150)
			}
			in.ready()
		}
	}
	pages(8)
	before := r.measure()
	in.stop()

	files = vfs.NewMem() // the disk is lost
	in = r.launch("rules.yaml", files, nil)
	r.settle()
	in.ready()
	pages(4)
	r.lostDay(time.Minute, 1)
	in.ready()
	pages(4)
	restored := r.measure()
	in.stop()

	in = r.launch("changed.yaml", files, func(c *config.Config) { c.Rebuild = true })
	r.settle()
	in.ready()
	pages(5)
	for range 6 {
		r.tick(6 * 24 * time.Hour)
	}
	after := r.measure()
	in.stop()

	rec := r.record(files)
	rec.parts["metrics-1-first-run"], rec.parts["metrics-2-restored"], rec.parts["metrics-3-rebuilt"] = before, restored, after
	rec.compare(t, name)
}

// An engine reads a history up to an instant.
func TestRecordedHistory(t *testing.T) {
	for name, s := range map[string]setup{
		"history_exactly_once_avro":  {delivery: config.ExactlyOnce, output: schemas.Avro, avro: true, clock: config.EventsClock},
		"history_at_least_once_json": {delivery: config.AtLeastOnce, output: schemas.JSON, clock: config.EventsClock},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { past(t, name, s) })
		})
	}
}

func past(t *testing.T, name string, s setup) {
	r := newRig(t, s)
	for i := range 24 {
		r.clockAt.Add(int64(steps[i%len(steps)]))
		page := r.history.page(150, r.now(), -1)
		if i%6 == 5 {
			misplace(page, 1) // from one partition alone, so that what is forwarded has one order
		}
		r.publish(page)
	}
	until := r.now().Add(9 * 24 * time.Hour)
	files := vfs.NewMem()
	in := r.launch("rules.yaml", files, func(c *config.Config) {
		c.Time.Until, c.Time.FixedNow = engine.Millis(until.UnixMilli()), engine.Millis(r.now().UnixMilli())
	})
	in.wait()
	rec := r.record(files)
	rec.parts["metrics"] = r.measure()
	rec.compare(t, name)
}

// compare compares a recording with the one in testdata.
func (rec *recording) compare(t *testing.T, name string) {
	t.Helper()
	if dir := os.Getenv("RECORD_DIR"); dir != "" {
		if err := rec.write(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	path, got := filepath.Join("testdata", name+".golden"), rec.summary()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("something else came out than was recorded (-recorded +now); see the package comment for how to look closer\n%s", diff)
	}
}
