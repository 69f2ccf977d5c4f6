package task

import (
	"testing"
	"time"
)

func TestGuard(t *testing.T) {
	g := Guard{limit: time.Hour}
	look := func(wall, monotonic time.Duration) bool { ok, _ := g.compare(wall, monotonic); return ok }
	switch {
	case !look(0, 0), !look(time.Minute, time.Minute):
		t.Error("nothing happened")
	case !look(10*time.Hour, 9*time.Hour+30*time.Minute): // the machine slept
		t.Error("half an hour was no jump")
	case !look(11*time.Hour, 9*time.Hour+40*time.Minute):
		t.Error("the jump counts from the last look")
	case !look(5*time.Hour, 9*time.Hour+50*time.Minute):
		t.Error("back is no jump ahead")
	}
	if ok, first := g.compare(24*time.Hour, 10*time.Hour); ok || !first {
		t.Error("a jump was not noticed")
	}
	if ok, first := g.compare(5*time.Hour, 10*time.Hour); ok || first || g.OK() {
		t.Error("confirmed by nobody")
	}
	g = Guard{limit: time.Hour}
	now := time.Now()
	if ok, _ := g.Observe(now); !ok || !g.OK() {
		t.Error("started again, and still stopped")
	}
	if ok, _ := g.Observe(now.Add(90 * time.Minute)); !ok {
		t.Error("time that the monotonic clock saw too is no jump")
	}
}
