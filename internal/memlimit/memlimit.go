// Package memlimit keeps the runtime within the memory that its container has, unless its own
// variables say otherwise.
package memlimit

import (
	"io/fs"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// The runtime's settings if its own variables GOMEMLIMIT and GOGC do not say
// otherwise. Most of the heap are caches that are there to stay, and marking them is
// the cost of a collection: with four times the room there are a quarter as many.
const (
	memoryLimit = 2 << 30 // bytes, at most
	gcPercent   = 400
)

// Set sets them.
func Set() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(within(os.DirFS("/sys/fs/cgroup")))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// within returns the limit of memory in a container: nine tenths of what it
// has, since not all memory is the runtime's, and at most memoryLimit. fsys is where
// a container sees its control group, of version 2 or 1.
func within(fsys fs.FS) int64 {
	for _, name := range []string{"memory.max", "memory/memory.limit_in_bytes"} {
		b, err := fs.ReadFile(fsys, name)
		if err != nil {
			continue
		}
		// Without a limit it says "max", or more bytes than any machine has.
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 {
			return min(memoryLimit, n/10*9)
		}
	}
	return memoryLimit
}
