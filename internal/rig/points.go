package rig

import (
	"errors"
	"testing"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/internal/failpoint"
)

// Points are where a task can die, in the order of an acquisition, one step, and the
// end of a run.
var Points = []string{
	"fenced", "replayed", "restored", "acquired",
	"begun", "produced", "ended", "applied", "stored",
	"inputs read", "forwarded read",
}

// ErrCrash is what a point returns at which a task dies.
var ErrCrash = errors.New("crash of a test")

// NeedPoints skips a test that was built without failpoints.
func NeedPoints(t testing.TB) {
	t.Helper()
	if !failpoint.Enabled {
		t.Skip("tests that let tasks die need -tags segmill_invariants")
	}
}

// FailAt has a function called at the points of the protocol; an error is what a crash
// would be. A test that was built without failpoints is skipped.
func FailAt(t testing.TB, c *config.Config, at func(task int32, point string) error) {
	t.Helper()
	NeedPoints(t)
	c.Points.Attach(at)
}
