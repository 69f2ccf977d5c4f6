package rule

import (
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/canon"
	"github.com/segmill/segmill/engine/rule/file"
	"github.com/segmill/segmill/engine/rule/language"
)

// defaultActivity is what counts as the customer being active unless the rules
// say otherwise.
func (c *compiler) defaultActivity() (l []plan.Source) {
	for s, info := range c.table().All() {
		if !info.Idle {
			l = append(l, canon.Narrowed(s, info.Active, false))
		}
	}
	return l
}

// setActivity reads what the files say of it. Several lines about one stream
// add up.
func (c *compiler) setActivity(lines []*file.Passage, allow *file.Allow) {
	c.spec.Activity = c.defaultActivity()
	if len(lines) == 0 {
		return
	}
	defer c.Allowing(c.Allowing(allow))
	var sources []plan.Source
	for _, p := range lines {
		if s, ok := c.activitySource(p); ok {
			sources = canon.AddSource(sources, s)
		}
	}
	canon.SortSources(sources)
	c.spec.Activity = sources
	c.ownActivity = c.sourcesText(sources) != c.sourcesText(c.defaultActivity())
}

func (c *compiler) activitySource(p *file.Passage) (plan.Source, bool) {
	name := strings.TrimSpace(p.Text)
	if s, ok := c.table().ByName(name); ok {
		if c.table().Info(s).Attributes {
			c.Fail(p, "a profile update is not activity")
			return plan.Source{}, false
		}
		c.lint.Activity(p, c.table().Info(s))
		return canon.Narrowed(s, nil, false), true
	}
	r := c.read(p, language.Event, false)
	switch {
	case r == nil:
	case len(r.streams) != 1:
		c.FailHint(p, `for example web, or email.action == "clicked"`, "activity must list streams, or conditions on one stream each")
	case r.typ.Kind() != types.BoolKind:
		c.Fail(p, "a condition must be true or false, but this is %s", language.InWords(r.typ))
	case r.node.Op == expr.OpConst:
		c.Fail(p, "this condition is always %s", r.node.Text(nil))
	default:
		c.lint.Machines(p, r.node)
		return canon.Narrowed(r.streams[0], r.node, false), true
	}
	return plan.Source{}, false
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
				sources = canon.AddSource(sources, s)
			}
			continue
		}
		s, ok := c.table().ByName(p.Text)
		if !ok || c.table().Info(s).Attributes {
			names := append(c.table().Counted(), "activity")
			c.FailHint(p, file.DidYouMean(p.Text, names), "unknown stream %q", p.Text)
			continue
		}
		if i := slices.IndexFunc(c.spec.Activity, func(a plan.Source) bool { return a.Stream == s }); i >= 0 {
			sources = canon.AddSource(sources, c.spec.Activity[i])
			continue
		}
		sources = canon.AddSource(sources, canon.Narrowed(s, nil, false))
	}
	canon.SortSources(sources)
	return sources
}

// activityText stands for the activity in the text of an input. One that the
// files define themselves is spelt out: with another definition it is another
// input.
func (c *compiler) activityText() string {
	if !c.ownActivity {
		return "activity"
	}
	return "activity[" + c.sourcesText(c.spec.Activity) + "]"
}

func (c *compiler) sourcesText(l []plan.Source) string { return canon.SourcesText(c.table(), l) }
