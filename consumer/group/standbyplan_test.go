package group

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/config"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/internal/fixture"
)

// randomSharing shares n partitions evenly out to members.
func randomSharing(rng *rand.Rand, partitions int32, members int) sharing {
	s := sharing{owners: map[int32]string{}}
	for i := range members {
		s.members = append(s.members, fmt.Sprintf("instance-%d", i))
	}
	for i, p := range rng.Perm(int(partitions)) {
		s.owners[int32(p)] = s.members[i%members]
	}
	return s
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func TestSpread(t *testing.T) {
	for _, seed := range fixture.Seeds(t, 200) {
		rng := rand.New(rand.NewPCG(seed, 0))
		partitions, members, n := 1+rng.Int32N(64), 1+rng.IntN(8), 1+rng.IntN(config.MaxStandby)
		s := randomSharing(rng, partitions, members)
		got := spread(s, n)
		for p, owner := range s.owners {
			copies := got[p]
			if len(copies) != min(n, members-1) || slices.Contains(copies, owner) || len(slices.Compact(slices.Sorted(slices.Values(copies)))) != len(copies) {
				t.Errorf("SEED=%d: partition %d of %s is copied by %v", seed, p, owner, copies)
			}
		}
		if members > 1 { // and the first one dies
			after := map[string]int{}
			for p, owner := range s.owners {
				if owner == s.members[0] {
					owner = got[p][0]
				}
				after[owner]++
			}
			for _, m := range s.members[1:] {
				if k := after[m]; k < int(partitions)/(members-1) || k > ceilDiv(int(partitions), members-1) {
					t.Errorf("SEED=%d: %s would have %d of %d partitions of %d members: %v", seed, m, k, partitions, members-1, after)
				}
			}
		}
		if !maps.EqualFunc(got, spread(s, n), slices.Equal[[]string]) {
			t.Errorf("SEED=%d: not the same twice", seed)
		}
	}
}

// When a member has come and all is shared out again, most copies are where they
// were, if they can be.
func TestSpreadMovesLittle(t *testing.T) {
	s := sharing{owners: map[int32]string{}, members: []string{"a", "b", "c", "d"}}
	for p := range int32(60) {
		s.owners[p] = s.members[p%4]
	}
	before := spread(s, 1)
	s.members = append(s.members, "e")
	for p := range int32(12) {
		s.owners[p] = "e" // three of each
	}
	moved := 0
	for p, copies := range spread(s, 1) {
		if copies[0] != "e" && s.owners[p] != "e" && copies[0] != before[p][0] {
			moved++
		}
	}
	if moved > 60/4 {
		t.Errorf("%d copies moved from an old member to an old member", moved)
	}
}

func TestCopiesInUserData(t *testing.T) {
	for _, parts := range [][]int32{nil, {0}, {3, 5, 1 << 30}} {
		for _, stock := range []string{"", "what the sticky balancer writes"} {
			got := parseCopies(appendCopies([]byte(stock), parts))
			if !slices.Equal(slices.Sorted(maps.Keys(got)), parts) {
				t.Errorf("%v: %v", parts, got)
			}
		}
	}
	for _, b := range []string{"", copiesMark, "\xff\xff\xff\xff" + copiesMark, "\x00\x00\x00\x02\x00\x00\x00\x02" + copiesMark, "nothing of ours"} {
		if got := parseCopies([]byte(b)); len(got) > 0 {
			t.Errorf("%q: %v", b, got)
		}
	}
}

// A rebalance with copies gives every member as many partitions as one without,
// takes from nobody more than that one, and moves what can be moved to copies.
func TestWarmBalance(t *testing.T) {
	const topic = "shop.changelog"
	for _, seed := range fixture.Seeds(t, 500) {
		rng := rand.New(rand.NewPCG(seed, 0))
		before := 1 + rng.IntN(5)
		s := randomSharing(rng, 1+rng.Int32N(24), before)
		copied := spread(s, 1)
		left := slices.Clone(s.members)
		fresh := ""
		if event := rng.IntN(3); event == 0 && before > 1 {
			left = slices.Delete(left, 0, 1) // the first one has died
		} else if event == 1 {
			fresh = "instance-new" // and has copied what it would be standby for
			for p := range firstShare(s, fresh) {
				copied[p] = append(copied[p], fresh)
			}
			left = append(left, fresh)
		}
		run := func(withCopies bool) (plan map[string][]int32, kept int) {
			stock := kgo.CooperativeStickyBalancer()
			var members []kmsg.JoinGroupResponseMember
			for _, name := range left {
				owned, generation := map[string][]int32{}, int32(7)
				if name == fresh {
					generation = -1
				}
				var copies []int32
				for p, owner := range s.owners {
					if owner == name {
						owned[topic] = append(owned[topic], p)
					}
					if withCopies && slices.Contains(copied[p], name) {
						copies = append(copies, p)
					}
				}
				slices.Sort(owned[topic])
				b := &warmBalancer{GroupBalancer: stock, topic: topic, copies: func() []int32 { return copies }}
				members = append(members, kmsg.JoinGroupResponseMember{MemberID: name, ProtocolMetadata: b.JoinGroupMetadata([]string{topic}, owned, generation)})
			}
			b := &warmBalancer{GroupBalancer: stock, topic: topic}
			mb, _, err := b.MemberBalancer(members)
			if err != nil {
				t.Fatal(err)
			}
			into, err := mb.(kgo.GroupMemberBalancerOrError).BalanceOrError(map[string]int32{topic: int32(len(s.owners))})
			if err != nil {
				t.Fatal(err)
			}
			plan = map[string][]int32{}
			for _, a := range into.IntoSyncAssignment() {
				got, err := b.ParseSyncAssignment(a.MemberAssignment)
				if err != nil {
					t.Fatal(err)
				}
				plan[a.MemberID] = got[topic]
				for _, p := range got[topic] {
					if s.owners[p] == a.MemberID {
						kept++
					}
				}
			}
			return plan, kept
		}
		without, keptWithout := run(false)
		with, kept := run(true)
		if kept != keptWithout {
			t.Errorf("SEED=%d: %d partitions stay where they are, without copies %d", seed, kept, keptWithout)
		}
		counts := func(plan map[string][]int32) (all []int, parts []int32) {
			for _, l := range plan {
				all = append(all, len(l))
				parts = append(parts, l...)
			}
			slices.Sort(all)
			slices.Sort(parts)
			return all, parts
		}
		want, planned := counts(without)
		got, parts := counts(with)
		if !slices.Equal(got, want) || len(parts) != len(planned) || len(slices.Compact(slices.Clone(parts))) != len(parts) {
			t.Errorf("SEED=%d: %v, without copies %v", seed, with, without)
		}
		cold := 0
		for p, owner := range s.owners {
			at := slices.IndexFunc(left, func(m string) bool { return slices.Contains(with[m], p) })
			switch {
			case at < 0 && !slices.Contains(copied[p], fresh):
				cold++ // it is given up and the new member has no copy
			case at >= 0 && left[at] != owner && !slices.Contains(copied[p], left[at]):
				cold++
			}
		}
		if cold > 0 {
			t.Errorf("SEED=%d: %d of %d partitions of %d members move to where no copy is (new member: %q)", seed, cold, len(s.owners), before, fresh)
		}
	}
}
