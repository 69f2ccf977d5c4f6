package group

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// warmBalancer is the cooperative-sticky balancer, and then prefers members that
// have a copy: among those that the sticky plan would give as many partitions, the
// partitions are exchanged. What is balanced stays balanced, and nobody who owns a
// partition loses it but for one that it would have lost anyway. It has the stock
// balancer's name and can be in one group with it.
type warmBalancer struct {
	kgo.GroupBalancer // the stock one
	topic             string
	copies            func() []int32 // that are up to date here
}

// JoinGroupMetadata adds the copies of this instance to what the stock balancer
// informs the leader.
func (b *warmBalancer) JoinGroupMetadata(topics []string, owned map[string][]int32, generation int32) []byte {
	stock := b.GroupBalancer.JoinGroupMetadata(topics, owned, generation)
	meta := kmsg.NewConsumerMemberMetadata()
	if err := meta.ReadFrom(stock); err != nil {
		return stock
	}
	meta.UserData = appendCopies(meta.UserData, b.copies())
	return meta.AppendTo(nil)
}

// MemberBalancer is part of kgo.GroupBalancer.
func (b *warmBalancer) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	cb, err := kgo.NewConsumerBalancer(b, members)
	return cb, cb.MemberTopics(), err
}

// Balance is part of kgo.ConsumerBalancerBalance.
func (b *warmBalancer) Balance(cb *kgo.ConsumerBalancer, topics map[string]int32) kgo.IntoSyncAssignment {
	into := b.GroupBalancer.(kgo.ConsumerBalancerBalance).Balance(cb, topics)
	plan, ok := into.(*kgo.BalancePlan)
	if !ok {
		return into
	}
	w := warmPlan{parts: map[string][]int32{}, owners: map[int32][]string{}, copies: map[string]map[int32]bool{}}
	all := plan.AsMemberIDMap()
	for member, of := range all {
		w.parts[member] = slices.Clone(of[b.topic])
	}
	cb.EachMember(func(m *kmsg.JoinGroupResponseMember, meta *kmsg.ConsumerMemberMetadata) {
		for _, t := range meta.OwnedPartitions {
			for _, p := range t.Partitions {
				if t.Topic == b.topic && !slices.Contains(w.owners[p], m.MemberID) {
					w.owners[p] = append(w.owners[p], m.MemberID)
				}
			}
		}
		w.copies[m.MemberID] = parseCopies(meta.UserData)
	})
	w.placeFree()
	w.releaseCopied(topics[b.topic])
	for member, parts := range w.parts {
		delete(all[member], b.topic)
		if len(parts) > 0 {
			all[member][b.topic] = parts
		}
	}
	return into
}

// The copies stand at the end of the user data, behind what the sticky balancer
// reads: the partitions, how many they are, and a mark, all big-endian.
const copiesMark = "segmill1"

func appendCopies(b []byte, parts []int32) []byte {
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(p))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(parts)))
	return append(b, copiesMark...)
}

func parseCopies(b []byte) map[int32]bool {
	rest, ok := bytes.CutSuffix(b, []byte(copiesMark))
	if !ok || len(rest) < 4 {
		return nil
	}
	n := int64(binary.BigEndian.Uint32(rest[len(rest)-4:]))
	rest = rest[:len(rest)-4]
	if n*4 > int64(len(rest)) {
		return nil
	}
	parts := make(map[int32]bool, n)
	for rest = rest[len(rest)-int(n)*4:]; len(rest) > 0; rest = rest[4:] {
		parts[int32(binary.BigEndian.Uint32(rest))] = true
	}
	return parts
}

// warmPlan is a plan of the sticky balancer, by member, with what is known of the
// members.
type warmPlan struct {
	parts  map[string][]int32
	owners map[int32][]string // members that say they own a partition
	copies map[string]map[int32]bool
}

func (w *warmPlan) members() []string { return slices.Sorted(maps.Keys(w.parts)) }

// placeFree gives partitions that nobody owns to members with copies: in exchange
// for another that nobody owns, or where the member would have fewer. One move can
// make room for another, so it goes round until nothing moves; every move places
// one more partition, which then stays.
func (w *warmPlan) placeFree() {
	for w.placeSome() {
	}
}

func (w *warmPlan) placeSome() (moved bool) {
	for _, m := range w.members() {
		for _, p := range slices.Clone(w.parts[m]) {
			if len(w.owners[p]) > 0 || w.copies[m][p] {
				continue
			}
			for _, to := range w.members() {
				if to != m && w.copies[to][p] && w.handOver(p, m, to) {
					moved = true
					break
				}
			}
		}
	}
	return moved
}

func (w *warmPlan) handOver(p int32, from, to string) bool {
	for _, both := range []bool{true, false} { // first one that from has a copy of
		for _, back := range w.parts[to] {
			if len(w.owners[back]) == 0 && (!w.copies[to][back] && !both || w.copies[from][back] && both) {
				w.move(p, from, to)
				w.move(back, to, from)
				return true
			}
		}
	}
	if len(w.parts[to]) < len(w.parts[from]) {
		w.move(p, from, to)
		return true
	}
	return false
}

func (w *warmPlan) move(p int32, from, to string) {
	w.parts[from] = slices.DeleteFunc(w.parts[from], func(q int32) bool { return q == p })
	w.parts[to] = append(w.parts[to], p)
}

// releaseCopied looks at the partitions that owners have to give up, which are in
// no member's plan until they have: an owner keeps one that those who will get
// them have no copy of, and gives up one that they have.
func (w *warmPlan) releaseCopied(n int32) {
	planned := map[int32]bool{}
	for _, parts := range w.parts {
		for _, p := range parts {
			planned[p] = true
		}
	}
	givers := map[string][]int32{}
	given := 0
	for p := range n {
		if !planned[p] && len(w.owners[p]) == 1 {
			givers[w.owners[p][0]] = append(givers[w.owners[p][0]], p)
			given++
		}
	}
	missing := w.takers(givers, given)
	take := func(p int32) bool {
		for _, m := range w.members() {
			if missing[m] > 0 && w.copies[m][p] {
				missing[m]--
				return true
			}
		}
		return false
	}
	for _, owner := range slices.Sorted(maps.Keys(givers)) {
		cold := slices.DeleteFunc(givers[owner], take)
		for _, p := range cold {
			kept := w.parts[owner]
			i := slices.IndexFunc(kept, func(q int32) bool { return slices.Contains(w.owners[q], owner) && take(q) })
			if i >= 0 {
				kept[i] = p
			}
		}
	}
}

// takers returns how many of the partitions that are given up each member will
// get: those with the fewest, until all are placed.
func (w *warmPlan) takers(givers map[string][]int32, given int) map[string]int {
	missing := map[string]int{}
	for range given {
		least := ""
		for _, m := range w.members() {
			if givers[m] == nil && (least == "" || len(w.parts[m])+missing[m] < len(w.parts[least])+missing[least]) {
				least = m
			}
		}
		missing[least]++
	}
	return missing
}
