package replica

import (
	"testing"
	"time"
)

func TestInWords(t *testing.T) {
	for d, want := range map[time.Duration]string{89 * time.Second: "89 s", 10 * time.Minute: "10 min", 3 * time.Hour: "3.0 h"} {
		if got := inWords(d); got != want {
			t.Errorf("%v is %q", d, got)
		}
	}
}
