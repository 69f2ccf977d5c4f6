package task

import (
	"slices"
	"sync/atomic"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
)

// ruled is a configuration with rules, and how positions know those.
type ruled struct {
	config   *config.Config
	versions [16]byte
}

// newest are the rules that all tasks are to go over to, beside what they have to do.
type newest struct {
	p atomic.Pointer[ruled]
	// live says that rules come while the instance runs.
	live atomic.Bool
}

// current returns the rules that tasks go over to: those of the last Change, and at first
// those of the configuration.
func (in *Instance) current() *ruled {
	if r := in.newest.p.Load(); r != nil {
		return r
	}
	r := in.with(&in.Config.Rules)
	in.newest.p.CompareAndSwap(nil, r)
	return in.newest.p.Load()
}

// Change gives the tasks other rules. Each goes over to them by itself when it has the facts
// that they need, and runs on with the ones it has until then. Rules that come before that
// replace these. It may be called at any time.
func (in *Instance) Change(r *config.Rules) {
	in.newest.live.Store(true)
	in.newest.p.Store(in.with(r))
}

// live reports whether rules may change while the instance runs.
func (in *Instance) live() bool { return in.newest.live.Load() || in.Config.Known != nil }

// with returns the configuration with other rules.
func (in *Instance) with(r *config.Rules) *ruled {
	cfg := in.Config
	cfg.Rules = *r
	cfg.Fill()
	out := &ruled{config: &cfg}
	if cfg.Engine != nil { // a tool has none
		out.versions = changelog.HashVersions(cfg.Engine.Versions())
	}
	return out
}

// NotRead returns the inputs that the newest rules leave out. It may be called at any time;
// before the first task starts it may be nil.
func (in *Instance) NotRead() []config.NotRead {
	if r := in.newest.p.Load(); r != nil {
		return r.config.NotRead
	}
	return nil // the configuration may still change
}

// Sources returns the topics that tasks read, under the rules at the start or the newest.
func (in *Instance) Sources() []string {
	l := append(in.Config.Sources(), in.current().config.Sources()...)
	slices.Sort(l)
	return slices.Compact(l)
}
