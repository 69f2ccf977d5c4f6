package inspect

import (
	"slices"
	"strings"
)

// customers are how many of the sampled events of an input have each id.
type customers map[string]int

// An id is suspicious if so large a part of the events of an input have it, though the
// input has that many customers, and events enough to say so.
const (
	sharedPart      = 0.1
	sharedCustomers = 20
	sharedEvents    = 100
)

// fewInBoth is the part of the customers of the smaller of two inputs below which they seem
// to be named differently.
const fewInBoth = 0.05

// shared returns the id that seems to be that of many people, and how many of so many
// events have it; "" if there is none.
func (c customers) shared() (id string, n, of int) {
	for k, m := range c {
		if of += m; m > n || m == n && k < id {
			id, n = k, m
		}
	}
	if of < sharedEvents || len(c) < sharedCustomers || float64(n) < sharedPart*float64(of) {
		return "", 0, of
	}
	return id, n, of
}

// known returns how many of the customers are no visitors, and how many of these are in
// other too.
func (c customers) known(other customers) (n, both int) {
	for id := range c {
		if strings.HasPrefix(id, "anon:") {
			continue
		}
		if n++; other[id] > 0 {
			both++
		}
	}
	return n, both
}

// compare warns of ids that many people seem to share, and of pairs of inputs that seem
// to name their customers differently.
func (i *Inspection) compare(topics []string, seen map[string]customers) {
	topics = slices.Sorted(slices.Values(topics))
	for k, topic := range topics {
		if id, n, of := seen[topic].shared(); id != "" {
			i.warn(topic, "a producer may send one id for everybody it does not know; let it send none, or list the id under not_ids",
				"%s of %d sampled events are of the customer %.64q", Percent(n, of), of, id)
		}
		for _, other := range topics[k+1:] {
			n, both := seen[topic].known(seen[other])
			m, _ := seen[other].known(nil)
			if less := min(n, m); less == 0 || float64(both) >= fewInBoth*float64(less) {
				continue
			}
			i.warn(topic+", "+other, "if these are the same people, have both inputs name them by the same id",
				"%s of the customers in the samples are on one of the two inputs only: %d on the first, %d on the second, %d on both",
				Percent(n+m-2*both, n+m-both), n, m, both)
		}
	}
}
