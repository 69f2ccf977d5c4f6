package app

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/notes"
	"github.com/segmill/segmill/schemas"
)

// records is how records are read, whatever the rules are: a process has one, and its rules
// can change.
type records struct {
	conf     *Config
	registry *sr.Client // nil if there is none
	noted    func(string, *schemas.Note)
	log      *slog.Logger
}

// records returns how records are read.
func (c *Config) records(opt RunOptions) (*records, error) {
	registry, err := c.Registry.client(opt.metrics)
	if err != nil {
		return nil, err
	}
	x := &records{conf: c, registry: registry, noted: opt.noted, log: opt.Logger}
	if x.noted == nil {
		x.noted = notes.New(opt.metrics, opt.Logger, time.Now).Take
	}
	return x, nil
}

// under returns what tasks need of rules, which have a name for people, and the inputs that
// are read with them.
func (x *records) under(rules *Rules, name string) (config.Rules, *inputs, error) {
	in, err := x.conf.readInputs(rules.Set.Spec)
	if err != nil {
		return config.Rules{}, nil, err
	}
	r := config.Rules{Name: name, Engine: rules.Engine, Reads: in.topics(), NotRead: in.left(), Mapped: slices.Collect(maps.Keys(in.mappings))}
	r.LookBackOf = func(of func(int) bool) map[string]engine.Millis { return in.lookBack(rules.Engine.Plan(), of) }
	r.LookBack = r.LookBackOf(func(int) bool { return true })
	zones := Zones()
	rc := schemas.Config{
		Catalog: rules.Engine.Catalog(), Layouts: rules.Engine.Layout, Reading: rules.Set.Spec.Reading,
		Topics: in.streams, Settings: in.settings, Mappings: in.mappings, NotRead: in.leaves(),
		Zones:     func(name string) bool { _, ok := zones(name); return ok },
		Locations: zones,
		Noted:     x.noted,
	}
	if x.registry != nil {
		rc.Registry = schemas.SchemaRegistry(x.registry, x.log)
		// A look-up ends by itself within seconds and touches nothing but the cache of
		// the reader, so nobody waits for it.
		rc.Now, rc.Go = time.Now, func(lookup func()) { go lookup() }
	}
	reader, err := schemas.NewReader(rc)
	if err != nil {
		return config.Rules{}, nil, err
	}
	r.Read, r.Ahead = reader.Read, reader.Ahead
	return r, in, nil
}
