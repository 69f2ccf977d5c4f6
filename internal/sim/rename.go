package sim

import (
	"maps"
	"slices"
	"strings"

	"github.com/segmill/segmill/engine"
)

// rename gives what was emitted of a person the ids of today and returns what is emitted of
// that: which segments the person is in under another id. All renames happen at once.
func (o *Oracle) rename(p *person, to map[string]string, now Millis) (l []engine.Effect) {
	if len(to) == 0 {
		return nil
	}
	since, sequence := p.since, p.sequence
	p.since, p.sequence = renamed(since, to, ""), renamed(sequence, to, "")
	p.on, p.met = renamed(p.on, to, "trigger:"), renamed(p.met, to, "trigger:")
	done := map[string]bool{}
	for key := range p.done {
		id, what, _ := strings.Cut(key, " ")
		if name, ok := to["trigger:"+id]; ok {
			id = strings.TrimPrefix(name, "trigger:")
		}
		done[id+" "+what] = true
	}
	p.done = done
	for _, old := range slices.Sorted(maps.Keys(to)) {
		name := to[old]
		if strings.HasPrefix(name, "trigger:") {
			continue
		}
		_, member := p.since[name]
		for p.sequence[name] < sequence[name] || p.sequence[name] == sequence[name] && member || member != (p.sequence[name]%2 == 1) {
			p.sequence[name]++
		}
		if !member {
			continue
		}
		e := engine.Effect{
			Action: engine.Renamed, Customer: p.id, Name: name, At: now, Sequence: p.sequence[name],
			Cause: engine.CauseRuleChange, Group: o.group(name), From: old,
		}
		if _, still := p.since[old]; still {
			e.From = ""
		}
		l = append(l, e)
	}
	slices.SortFunc(l, func(a, b engine.Effect) int { return strings.Compare(a.Name, b.Name) })
	return l
}

// renamed returns a map under the ids of today. Keys are ids as versions have them without a
// prefix.
func renamed[T any](m map[string]T, to map[string]string, prefix string) map[string]T {
	out := map[string]T{}
	for id, v := range m {
		if _, ok := to[prefix+id]; !ok {
			out[id] = v
		}
	}
	for old, name := range to {
		if v, ok := m[strings.TrimPrefix(old, prefix)]; ok && strings.HasPrefix(old, prefix) {
			out[strings.TrimPrefix(name, prefix)] = v
		}
	}
	return out
}
