package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// An application that was moved to another number of partitions in the middle of
// its history emits for every customer what one emits that was never moved, record for
// record, and its customers have the same bytes. A rebuild then finds all history.
func TestReshard(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to int32
		inPlace  bool
	}{{"more, new topics", 4, 7, false}, {"more, in place", 4, 7, true}, {"fewer", 7, 3, false}} {
		for _, seed := range fixture.Seeds(t, 1) {
			t.Run(fmt.Sprintf("%s/SEED=%d", c.name, seed), func(t *testing.T) {
				clean := newFleet(t, c.from)
				records := clean.timeline(rand.New(rand.NewPCG(seed, 0)), 900)
				erased := &kgo.Record{Topic: "profile", Key: []byte("c7"), Timestamp: records[300].Timestamp.Add(time.Millisecond)}
				records = slices.Insert(records, 301, erased)
				half := len(records) / 2
				mid := records[half].Timestamp.Add(-time.Millisecond)
				clean.put(strings.Clone, records)
				cleanFiles := vfs.NewMem()
				if err := clean.start(fixture.Rules, cleanFiles, rig.OverHistory).wait(); err != nil {
					t.Fatal(err)
				}

				g := newFleet(t, c.from)
				g.put(strings.Clone, records[:half])
				files := vfs.NewMem()
				if err := g.start(fixture.Rules, files, upTo(mid)).wait(); err != nil {
					t.Fatal(err)
				}
				m := g.grow(c.to, c.inPlace)
				done, err := m.run(g, files, nil)
				if err != nil {
					t.Fatal(err)
				}
				copied := half
				if c.inPlace {
					stay := func(r *kgo.Record) bool { return g.Route.Partition(string(r.Key)) == m.Route.Partition(string(r.Key)) }
					copied = len(slices.DeleteFunc(slices.Clone(records[:half]), stay))
				}
				if done.From != c.from || done.To != c.to || done.Customers == 0 || done.TooLarge != 0 || done.Records != copied {
					t.Errorf("%+v, want %d records", done, copied)
				}
				m.put(m.name, records[half:])
				newFiles := vfs.NewMem()
				if err := m.start(fixture.Rules, newFiles, both(m.to, rig.OverHistory)).wait(); err != nil {
					t.Fatal(err)
				}
				want := emitted(t, clean.Read("changes"), clean.Read("triggers"))
				got := emitted(t, g.Read("changes"), g.Read("triggers"), m.Read("changes2"), m.Read("triggers2"))
				if diff := gocmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
				if diff := gocmp.Diff(clean.stored(cleanFiles), m.stored(newFiles)); diff != "" {
					t.Error("customers differ", len(diff))
				}
				folded := uint64(0)
				for p, records := range m.Read(rig.App + "2.changelog") {
					pos, err := changelog.DecodePosition(records[len(records)-1].Value)
					if err != nil || pos.Partitions != c.to || pos.App != rig.App+"2" {
						t.Errorf("partition %d: %+v, %v", p, pos, err)
					}
					folded += pos.Folded
				}
				if int(folded) != len(records) {
					t.Errorf("folded %d of %d", folded, len(records))
				}
				m.verifyFromNothing(fixture.Rules, m.to)

				// The old application does not start, wherever it does.
				for _, disk := range []vfs.FS{files, vfs.NewMem()} {
					if c.inPlace {
						break // its inputs do not fit any more
					}
					if err := g.start(fixture.Rules, disk, nil).wait(); !fault.IsFatal(err) || !strings.Contains(err.Error(), "was moved to shop2 with "+strconv.Itoa(int(c.to))+" partitions") {
						t.Errorf("the old application: %v", err)
					}
				}

				// New rules are as if they had been there from the beginning.
				fresh := newFleet(t, c.from)
				fresh.put(strings.Clone, records)
				if err := fresh.start(counting, vfs.NewMem(), rig.OverHistory).wait(); err != nil {
					t.Fatal(err)
				}
				in := m.start(counting, newFiles, both(m.to, func(c *config.Config) { c.Time.Clock, c.Rebuild = config.EventsClock, true }))
				in.ready()
				in.stop()
				// (With the clock of events, an erasure takes effect when its turn comes in a
				// partition, and that is not the same with another number of them.)
				stays := func(l []string) []string {
					return slices.DeleteFunc(l, func(m string) bool { return strings.HasPrefix(m, string(erased.Key)+" ") })
				}
				if diff := gocmp.Diff(stays(fresh.memberships("changes")), stays(m.memberships("changes", "changes2"))); diff != "" {
					t.Errorf("after a rebuild: %s", diff)
				}
			})
		}
	}
}

// Whatever came late, was bad, or stood on a wrong partition before the move: in the
// end everybody is where they would be without it.
func TestReshardAnyHistory(t *testing.T) {
	for _, seed := range fixture.Seeds(t, 1) {
		t.Run(fmt.Sprintf("SEED=%d", seed), func(t *testing.T) {
			g := newFleet(t, 3)
			good, bad, wrong := g.History(rand.New(rand.NewPCG(seed, 0)), 1_000)
			files := vfs.NewMem()
			if err := g.start(fixture.Rules, files, rig.OverHistory).wait(); err != nil {
				t.Fatal(err)
			}
			want := g.Members()
			m := g.grow(5, seed%2 == 0)
			if _, err := m.run(g, files, nil); err != nil {
				t.Fatal(err)
			}
			newFiles := vfs.NewMem()
			in := m.start(fixture.Rules, newFiles, both(m.to, rig.OverHistory))
			if err := in.wait(); err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(want, m.memberships("changes", "changes2")); diff != "" {
				t.Error(diff)
			}
			if n := len(m.Read("changes2")); n > 0 {
				t.Errorf("the move emitted something on %d partitions", n)
			}
			if diff := gocmp.Diff(g.stored(files), m.stored(newFiles)); diff != "" {
				t.Error("customers differ", len(diff))
			}
			var folded, dead, forwarded uint64
			for _, records := range m.Read(rig.App + "2.changelog") {
				pos, err := changelog.DecodePosition(records[len(records)-1].Value)
				if err != nil {
					t.Fatal(err)
				}
				folded, dead, forwarded = folded+pos.Folded, dead+pos.DeadLetters, forwarded+pos.Forwarded
			}
			if int(folded) != good || int(dead) != bad || int(forwarded) != wrong {
				t.Errorf("%d, %d, %d, want %d, %d, %d", folded, dead, forwarded, good, bad, wrong)
			}
			fresh := newFleet(t, 3)
			fresh.History(rand.New(rand.NewPCG(seed, 0)), 1_000)
			if err := fresh.start(counting, vfs.NewMem(), rig.OverHistory).wait(); err != nil {
				t.Fatal(err)
			}
			in = m.start(counting, newFiles, both(m.to, func(c *config.Config) { c.Time.Clock, c.Rebuild = config.EventsClock, true }))
			in.ready()
			in.stop()
			if diff := gocmp.Diff(fresh.Members(), m.memberships("changes", "changes2")); diff != "" {
				t.Errorf("after a rebuild: %s", diff)
			}
		})
	}
}
