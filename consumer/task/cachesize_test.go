package task

import (
	"fmt"
	"log/slog"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/segmill/segmill/consumer/cache"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/dedup"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/state"
)

// What the cache is bounded by is no less than what busy customers take, about: their event ids
// are found by a map, which is more than all the rest of them.
func TestCacheCountsBusyCustomers(t *testing.T) {
	eng := fixture.NewEngine(t, fixture.Rules)
	store, err := state.Open("db", state.Options{FS: vfs.NewMem(), Wake: engine.WakeOf, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() // memory
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const customers = 50
	for _, events := range []int{1_500, dedup.Max} {
		s := &session{folder: folder{cfg: &config.Config{Rules: config.Rules{Engine: eng}}, batch: newBatch(eng), customers: cache.New(eng, store.Task(0))}}
		var out engine.Output
		before := heap()
		for i := range customers {
			e, err := s.customers.Get(fmt.Sprint(i))
			if err != nil {
				t.Fatal(err)
			}
			for k := range events {
				eng.Evaluator().Apply(e.C, webEvent(eng, e.C.ID, k, 1_767_225_600_000+engine.Millis(k)*1000), 0, &out)
				out.Reset()
			}
			s.touch(e)
		}
		s.changes(&changelog.Position{})
		s.customers.Committed(1 << 40)
		s.batch = batch{}
		takes, counted := (heap()-before)/customers, s.customers.Bytes()/customers
		t.Logf("%d events: a customer takes %d bytes, %d are counted", events, takes, counted)
		if takes > counted*3/2 {
			t.Errorf("%d events: a customer takes %d bytes, and %d are counted", events, takes, counted)
		}
		runtime.KeepAlive(s)
	}
}
