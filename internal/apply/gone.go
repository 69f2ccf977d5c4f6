package apply

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/imports"
	"github.com/segmill/segmill/consumer/retained"
	"github.com/segmill/segmill/consumer/ruled"
	"github.com/segmill/segmill/engine/ruleset"
	"github.com/segmill/segmill/internal/app"
)

// Gone is the error of rules that look back to records which Kafka has deleted, and which are
// not to be applied without them.
type Gone struct{ Short []retained.Short }

// Error names the inputs.
func (g *Gone) Error() string {
	var l []string
	for _, s := range g.Short {
		l = append(l, s.String())
	}
	return fmt.Sprintf("new or changed rules look back to records that have been deleted: %s", strings.Join(l, "; "))
}

// CheckHistory returns a Gone if the partitions would refuse to go over to rules, as they do
// by themselves: facts that the set in force does not have are made of past events, and those
// must be there. Rules that this version can't read have no facts that it knows.
func (s *Session) CheckHistory(ctx context.Context, rules *app.Rules) error {
	parts, err := s.parts.Partitions(ctx)
	if err != nil {
		return err
	}
	return s.checkHistory(ctx, rules, parts, func(p *ruled.Partition) bool { return !p.Empty })
}

// checkHistory is CheckHistory of some of the partitions.
func (s *Session) checkHistory(ctx context.Context, rules *app.Rules, parts []ruled.Partition, of func(*ruled.Partition) bool) error {
	cfg, err := s.conf.Tool(ctx, rules, s.opt)
	if err != nil {
		return err
	}
	p := &retained.Past{
		Config: &cfg, At: changelog.Never, Read: map[broker.Partition]changelog.Source{}, Log: slog.New(slog.DiscardHandler),
		Imported: func(ctx context.Context) (map[string][]imports.Range, error) {
			return imports.RangesOf(ctx, s.log.Cluster, cfg.History())
		},
	}
	lacking := make([]bool, len(rules.Engine.Plan().Summaries))
	known := map[[16]byte]bool{}
	for i := range parts {
		if !of(&parts[i]) {
			continue
		}
		p.At = max(p.At, parts[i].Clock)
		for in, source := range parts[i].Sources {
			if source.Next > 0 {
				p.Read[broker.Partition{Topic: in.Topic, Number: in.Partition(parts[i].Number)}] = source
			}
		}
		if !known[parts[i].Versions] {
			known[parts[i].Versions] = true
			for n, is := range s.lackingUnder(parts[i].Versions, rules) {
				lacking[n] = lacking[n] || is
			}
		}
	}
	if !slices.Contains(lacking, true) {
		return nil
	}
	inputs := cfg.Sources()
	maps.DeleteFunc(p.Read, func(at broker.Partition, _ changelog.Source) bool { return !slices.Contains(inputs, at.Topic) })
	p.LookBack = cfg.LookBackOf(func(summary int) bool { return lacking[summary] })
	if p.Left, err = s.log.Cluster.Offsets(ctx, broker.Start, slices.Collect(maps.Keys(p.Read))); err != nil {
		return err
	}
	short, err := p.Short(ctx, s.log.Cluster)
	if err == nil && len(short) > 0 {
		err = &Gone{short}
	}
	return err
}

// lackingUnder returns which facts of rules a partition under others does not have.
func (s *Session) lackingUnder(versions [16]byte, rules *app.Rules) []bool {
	var has ruleset.Set
	if e := s.View.WithVersions(versions); e != nil {
		if old, err := app.CompileSet(e); err == nil {
			has = ruleset.Of(old.Engine.Plan())
		}
	}
	return has.To(rules.Engine.Plan()).Facts
}
