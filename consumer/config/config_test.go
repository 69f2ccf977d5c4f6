package config_test

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// What does not fit together is refused, in the words of the setting.
func TestValidate(t *testing.T) {
	g := rig.New(t, 1)
	store := g.Store(vfs.NewMem())
	defer store.Close() // nothing was written
	for want, change := range map[string]func(*config.Config){
		"":                                     func(*config.Config) {},
		"App must be given":                    func(c *config.Config) { c.App = "" },
		"Store must be given":                  func(c *config.Config) { c.Store = nil },
		"clock of events":                      func(c *config.Config) { c.Time.Until = 1 },
		"must be shorter than session timeout": func(c *config.Config) { c.Group.RebalanceTimeout = c.Group.SessionTimeout },
		"is not between 0 and 3":               func(c *config.Config) { c.Standby = config.MaxStandby + 1 },
		"standby needs Group.Instance":         func(c *config.Config) { c.Standby = 1 },
		"can't be an input":                    func(c *config.Config) { c.Inputs = append(c.Inputs, c.Changes) },
		"is named twice":                       func(c *config.Config) { c.Inputs = append(c.Inputs, "web") },
	} {
		cfg := g.Config(fixture.Rules, store)
		change(&cfg)
		if err := cfg.Validate(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}
