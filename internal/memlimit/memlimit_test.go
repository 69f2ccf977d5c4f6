package memlimit

import (
	"testing"
	"testing/fstest"
)

func TestLimitWithinContainer(t *testing.T) {
	for _, c := range []struct {
		name, file, text string
		want             int64
	}{
		{"version 2", "memory.max", "1000000000\n", 900_000_000},
		{"version 2, no limit", "memory.max", "max\n", memoryLimit},
		{"version 1", "memory/memory.limit_in_bytes", "536870912\n", 536870912 / 10 * 9},
		{"version 1, no limit", "memory/memory.limit_in_bytes", "9223372036854771712\n", memoryLimit},
		{"more than is needed", "memory.max", "64000000000\n", memoryLimit},
		{"nonsense", "memory.max", "-5\n", memoryLimit},
		{"no control group", "other", "1000000000\n", memoryLimit},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := within(fstest.MapFS{c.file: {Data: []byte(c.text)}}); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}
