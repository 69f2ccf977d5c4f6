package rule

import (
	"cmp"
	"strconv"

	"github.com/segmill/segmill/engine/rule/file"
)

// named is a rule with its id and the one before, which is nil if it had no other.
type named struct{ id, was *file.Passage }

// declareRenames checks which rules were called otherwise, and notes the segments and stages
// among them for those who still use the id before.
func (c *compiler) declareRenames(doc *file.Document) {
	var rules, triggers []named
	for _, s := range doc.Segments {
		rules = append(rules, named{s.ID, s.Was})
		if s.Was != nil {
			c.renamed[s.Was.Text] = s.ID.Text
		}
	}
	for _, l := range doc.Lifecycles {
		rules = append(rules, named{l.ID, l.Was})
		var stages []named
		for _, s := range l.Stages {
			stages = append(stages, named{s.ID, s.Was})
			before := cmp.Or(textOf(l.Was), l.ID.Text) + "/" + cmp.Or(textOf(s.Was), s.ID.Text)
			if now := l.ID.Text + "/" + s.ID.Text; now != before {
				c.renamed[before] = now
			}
		}
		c.checkRenames(stages)
	}
	for _, t := range doc.Triggers {
		triggers = append(triggers, named{t.ID, t.Was})
	}
	c.checkRenames(rules)
	c.checkRenames(triggers)
}

// checkRenames makes sure that each id before belonged to one rule, and belongs to none that
// keeps it.
func (c *compiler) checkRenames(rules []named) {
	byID, byWas := make(map[string]named), make(map[string]named)
	for _, r := range rules {
		byID[r.id.Text] = r
	}
	for _, r := range rules {
		if r.was == nil {
			continue
		}
		was := strconv.Quote(r.was.Text)
		if other, ok := byID[r.was.Text]; ok && other.was == nil {
			c.FailHint(r.was, "remove was if this is a new rule; or give the other one an id of its own, with was if it had another before", "the id %s is still used in %s", was, file.Where(other.id))
			continue
		}
		if first, ok := byWas[r.was.Text]; ok {
			c.FailHint(r.was, "keep was on the rule that is meant; the other one is new", "%s also was %s, in %s", strconv.Quote(first.id.Text), was, file.Where(first.was))
			continue
		}
		byWas[r.was.Text] = r
	}
}

// textOf returns the text of a passage, "" of none.
func textOf(p *file.Passage) string {
	if p == nil {
		return ""
	}
	return p.Text
}
