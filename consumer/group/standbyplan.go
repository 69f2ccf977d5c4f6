package group

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
)

// sharing is who is in the group and who owns what.
type sharing struct {
	members []string // names, sorted
	owners  map[int32]string
}

// spread decides which members keep a copy of each partition beside its owner: n
// of them, or all there are. Every member computes the same from the same
// sharing, so nothing has to be sent. Two things matter:
//
//   - When a member dies its partitions should go to members that have copies, and
//     the group shares them out so that all have as many again. So the copies of
//     one owner's partitions are spread as the partitions would then be.
//   - A copy costs a whole restore to begin with, so as few as possible should
//     move when members come and go: rendezvous hashing ranks the members for
//     each partition, and the rank decides where the spread leaves a choice.
func spread(s sharing, n int) map[int32][]string {
	owned := s.owned()
	copies := make(map[int32][]string, len(s.owners))
	for _, owner := range slices.Sorted(maps.Keys(owned)) {
		others := slices.DeleteFunc(slices.Clone(s.members), func(m string) bool { return m == owner })
		if len(others) == 0 {
			continue
		}
		level := len(s.owners) / len(others) // of partitions, when the owner is dead
		for range min(n, len(others)) {
			load := map[string]int{}
			above := len(s.owners) - level*len(others) // members that have one more
			for _, m := range others {
				load[m] = len(owned[m])
				if load[m] > level {
					above--
				}
			}
			for _, p := range owned[owner] {
				fits := func(m string) bool { return load[m] < level || load[m] == level && above > 0 }
				order := slices.DeleteFunc(ranked(others, p), func(m string) bool { return slices.Contains(copies[p], m) })
				i := max(0, slices.IndexFunc(order, fits))
				if load[order[i]] == level {
					above--
				}
				load[order[i]]++
				copies[p] = append(copies[p], order[i])
			}
		}
	}
	return copies
}

// firstShare decides what a new instance copies before it joins the group: of each
// owner's partitions as many as it may have to give up to the new one.
func firstShare(s sharing, name string) map[int32]bool {
	level := len(s.owners) / (len(s.members) + 1)
	share := map[int32]bool{}
	for _, parts := range s.owned() {
		weight := make(map[int32]uint64, len(parts))
		for _, p := range parts {
			weight[p] = rank(name, p)
		}
		slices.SortFunc(parts, func(a, b int32) int { return cmp.Compare(weight[a], weight[b]) })
		for _, p := range parts[:max(0, len(parts)-level)] {
			share[p] = true
		}
	}
	return share
}

// owned returns what each owner has, sorted.
func (s sharing) owned() map[string][]int32 {
	owned := map[string][]int32{}
	for _, p := range slices.Sorted(maps.Keys(s.owners)) {
		owned[s.owners[p]] = append(owned[s.owners[p]], p)
	}
	return owned
}

// ranked returns names in the order of their rank for a partition.
func ranked(names []string, p int32) []string {
	names = slices.Clone(names)
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(rank(a, p), rank(b, p)) })
	return names
}

// rank is the same number everywhere.
func rank(name string, p int32) uint64 {
	h := sha256.Sum256(binary.BigEndian.AppendUint32([]byte(name), uint32(p)))
	return binary.BigEndian.Uint64(h[:])
}
