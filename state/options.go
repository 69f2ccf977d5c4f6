package state

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options are what a user may have to change.
type Options struct {
	// CacheBytes is the block cache, shared by all tasks of the instance. A get
	// that misses it costs 20 to 40 us instead of 6. 0 means 256 MiB.
	CacheBytes int64
	// MemTableBytes is what is written and not yet in sorted files, at most. The
	// log of it takes as much disk. 0 means 256 MiB.
	MemTableBytes int64
	// Logger gets errors of the database. Nil means slog.Default.
	Logger *slog.Logger
	// FS is where the files are. Nil means the disk.
	FS vfs.FS
	// App is the application whose state it is. Empty, of tools that look at any
	// state, neither checks nor names it.
	App string
	// Now gives the names of damaged copies their time. Nil means the epoch.
	Now func() time.Time
	// Wake reads the wake-up instant of a customer's bytes. It must be given.
	Wake func(customer []byte) (Millis, error)

	reset error // why an earlier database was set aside
	// quiet, of tests that make opening fail, keeps Pebble from compacting and
	// reading statistics by itself: an error late in opening takes away what these
	// are using, which ends the process (v2.1.7).
	quiet bool
}

func (o Options) withDefaults() Options {
	if o.CacheBytes == 0 {
		o.CacheBytes = 256 << 20
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = 256 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.FS == nil {
		o.FS = private{vfs.Default}
	}
	if o.Now == nil {
		o.Now = func() time.Time { return time.Unix(0, 0) }
	}
	return o
}

// memTables is how many memtables there may be: a slow flush must not stop
// commits.
const memTables = 4

// pebbleOptions returns the settings of the database, each with its reason.
func (o Options) pebbleOptions(s *Store) *pebble.Options {
	p := &pebble.Options{
		FS: walFS{o.FS, s},

		DisableAutomaticCompactions: o.quiet, DisableTableStats: o.quiet,

		Lock:   s.lock, // taken by Open, which also renames the directory
		Logger: fatal{s},
		// Pinned, so that an upgrade of the library does not make the files
		// unreadable to the version that wrote them. This one tells a torn end of
		// the log from damage in its middle.
		FormatMajorVersion: pebble.FormatWALSyncChunks,
		CacheSize:          o.CacheBytes,
		// A customer written again while still in the memtable never reaches a
		// file, so a larger one saves compaction; it also bounds what is read
		// again after a kill.
		MemTableSize:                uint64(max(o.MemTableBytes/memTables, 1<<20)),
		MemTableStopWritesThreshold: memTables,
		// Reads of cold customers pay for every sublevel of level 0.
		L0CompactionThreshold: 2,
		LBaseMaxBytes:         256 << 20, // four memtables: fewer levels for small states
		MaxOpenFiles:          2048,
		WALBytesPerSync:       512 << 10, // smooth write-back; durability does not depend on it
		BytesPerSync:          1 << 20,
		// One compaction while quiet, more when level 0 grows.
		CompactionConcurrencyRange: func() (int, int) { return 1, 3 },
		EventListener: &pebble.EventListener{
			DataCorruption: func(i pebble.DataCorruptionInfo) { _ = s.fail(ErrDamaged, "%s: %v", i.Path, i.Details) },
			// Pebble tries again at once and without end, while commits wait.
			BackgroundError: func(err error) {
				if !errors.Is(err, pebble.ErrCorruption) && !errors.Is(err, pebble.ErrClosed) {
					_ = s.fail(ErrFailed, "%w", err)
				}
			},
		},
	}
	for i := range p.Levels {
		// Most gets are of new customers while a history is read: a filter
		// answers "not here" without reading a block.
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		p.Levels[i].BlockSize = 8 << 10 // some 40 customers
	}
	return p
}

// fatal is Pebble's logger. Fatalf is called where Pebble sees no way on and
// expects the process to end; here it makes the store fail, which every later
// call returns as an error.
type fatal struct{ s *Store }

func (fatal) Infof(string, ...any) {}

func (f fatal) Errorf(format string, args ...any) {
	f.s.opt.Logger.Warn("pebble", "message", fmt.Sprintf(format, args...))
}

func (f fatal) Fatalf(format string, args ...any) { _ = f.s.fail(ErrFailed, format, args...) }
