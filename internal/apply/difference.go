package apply

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Difference is how two rule sets differ, by the ids of their segments, stages and triggers.
type Difference struct {
	Kept, New, Changed, Removed []string
	// Reading are settings that differ and decide how records are read, such as
	// defaults:timezone.
	Reading []string
}

// Differ compares the versions of rules.
func Differ(before, after map[string]string) (d Difference) {
	ids := maps.Clone(after)
	maps.Copy(ids, before)
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		was, old := before[id]
		is, stays := after[id]
		switch {
		case !isRule(id):
			if was != is && len(before) > 0 {
				d.Reading = append(d.Reading, id)
			}
		case !old:
			d.New = append(d.New, id)
		case !stays:
			d.Removed = append(d.Removed, id)
		case was != is:
			d.Changed = append(d.Changed, id)
		default:
			d.Kept = append(d.Kept, id)
		}
	}
	return d
}

// isRule reports whether an id of versions is that of a rule.
func isRule(id string) bool {
	kind, _, ok := strings.Cut(id, ":")
	return !ok || kind == "trigger"
}

// maxNamed is how many rules of a kind are named.
const maxNamed = 20

// Lines returns the difference as a text for people.
func (d *Difference) Lines() (lines []string) {
	for _, x := range []struct {
		word string
		ids  []string
	}{{"new", d.New}, {"changed", d.Changed}, {"removed", d.Removed}, {"reading", d.Reading}} {
		if n := len(x.ids); n > 0 {
			text := strings.Join(x.ids[:min(n, maxNamed)], ", ")
			if n > maxNamed {
				text += fmt.Sprintf(" and %d more", n-maxNamed)
			}
			lines = append(lines, fmt.Sprintf("%-8s %s", x.word+":", text))
		}
	}
	if len(lines) == 0 {
		return []string{"no rule differs from those in force"}
	}
	return append(lines, fmt.Sprintf("%-8s %d", "kept:", len(d.Kept)))
}
