package rule

import (
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/file"
)

// defaultActivity is what counts as the customer being active unless the rules
// say otherwise.
func defaultActivity() (l []plan.Source) {
	for s := range plan.NumStreams {
		if info := s.Info(); !info.Idle {
			l = append(l, narrowed(s, info.Active, false))
		}
	}
	return l
}

// setActivity reads what the files say of it. Several lines about one stream
// add up.
func (c *compiler) setActivity(lines []*file.Passage) {
	c.spec.Activity = defaultActivity()
	if len(lines) == 0 {
		return
	}
	var sources []plan.Source
	for _, p := range lines {
		if s, ok := c.activitySource(p); ok {
			sources = addSource(sources, s)
		}
	}
	sortSources(sources)
	c.spec.Activity = sources
	c.ownActivity = sourcesText(sources) != sourcesText(defaultActivity())
}

func (c *compiler) activitySource(p *file.Passage) (plan.Source, bool) {
	name := strings.TrimSpace(p.Text)
	if s, ok := plan.StreamByName(name); ok {
		switch info := s.Info(); {
		case info.Attributes:
			c.Fail(p, "a profile update is not activity")
			return plan.Source{}, false
		case info.Unattended != nil:
			c.Warn(p, info.Unattended.Remedy, "%s", info.Unattended.Message)
		}
		return narrowed(s, nil, false), true
	}
	r := c.read(p, event, false)
	switch {
	case r == nil:
	case len(r.streams) != 1:
		c.FailHint(p, `for example web, or email.action == "clicked"`, "activity must list streams, or conditions on one stream each")
	case r.typ.Kind() != types.BoolKind:
		c.Fail(p, "a condition must be true or false, but this is %s", inWords(r.typ))
	case r.node.Op == expr.OpConst:
		c.Fail(p, "this condition is always %s", r.node.Text(nil))
	default:
		return narrowed(r.streams[0], r.node, false), true
	}
	return plan.Source{}, false
}

// addSource adds s, joined with what is already there of its stream.
func addSource(sources []plan.Source, s plan.Source) []plan.Source {
	i := slices.IndexFunc(sources, func(o plan.Source) bool { return o.Stream == s.Stream })
	switch {
	case i < 0:
		return append(sources, s)
	case sources[i].Cond == nil || s.Cond == nil:
		sources[i].Cond = nil
	default:
		sources[i].Cond = join(expr.OpOr, nil, sources[i].Cond, s.Cond)
	}
	return sources
}

func sortSources(sources []plan.Source) {
	slices.SortFunc(sources, func(a, b plan.Source) int { return int(a.Stream) - int(b.Stream) })
}

// silence returns what ends a silence: the named streams as activity has them,
// or all of it.
func (c *compiler) silence(streams []*file.Passage) []plan.Source {
	if streams == nil {
		return c.spec.Activity
	}
	var sources []plan.Source
	for _, p := range streams {
		if p.Text == "activity" {
			for _, s := range c.spec.Activity {
				sources = addSource(sources, s)
			}
			continue
		}
		s, ok := plan.StreamByName(p.Text)
		if !ok || s.Info().Attributes {
			names := append(plan.CountedStreams(), "activity")
			c.FailHint(p, file.DidYouMean(p.Text, names), "unknown stream %q", p.Text)
			continue
		}
		if i := slices.IndexFunc(c.spec.Activity, func(a plan.Source) bool { return a.Stream == s }); i >= 0 {
			sources = addSource(sources, c.spec.Activity[i])
			continue
		}
		sources = addSource(sources, narrowed(s, nil, false))
	}
	sortSources(sources)
	return sources
}

// activityText stands for the activity in the text of an input. One that the
// files define themselves is spelt out: with another definition it is another
// input.
func (c *compiler) activityText() string {
	if !c.ownActivity {
		return "activity"
	}
	return "activity[" + sourcesText(c.spec.Activity) + "]"
}

func sourcesText(sources []plan.Source) string {
	parts := make([]string, len(sources))
	for i, s := range sources {
		parts[i] = s.Stream.String()
		if s.Cond != nil {
			parts[i] = nodeText(s.Cond)
		}
	}
	return strings.Join(parts, ", ")
}
