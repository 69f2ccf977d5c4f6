package group

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
	"github.com/segmill/segmill/schemas"
)

// A record whose customer belongs on another partition is forwarded once, keeps
// its stream and time, and is never forwarded again.
func TestForwarding(t *testing.T) {
	g := newFleet(t, 2)
	customer := g.CustomersOf(1, 1)[0]
	at := g.Now().Add(-time.Minute).Truncate(time.Millisecond)
	r := g.Event(plan.Purchase, customer, at, nil)
	r.Partition, r.Key = 0, []byte("another key")
	r.Headers = []kgo.RecordHeader{{Key: feed.HeaderTopic, Value: []byte("web")}, {Key: feed.HeaderOffset, Value: []byte("x")}} // a producer's own
	erased := &kgo.Record{Topic: "profile", Partition: 0, Key: []byte(customer)}
	misrouted := g.Event(plan.Purchase, customer, at, nil)
	in := g.start(fixture.Rules, vfs.NewMem(), nil)
	in.ready()
	g.Produce(r)
	g.Eventually("forwarded", func() bool { return slices.Equal(g.Members(), []string{customer + " buyer"}) })
	for _, l := range g.Read(rig.App + ".repartition") {
		from, err := feed.OriginOf(l[0], isAny)
		if want := (feed.Origin{Topic: "purchase", Partition: 0, Offset: 0, At: engine.Millis(at.UnixMilli())}); err != nil || from != want {
			t.Errorf("origin %+v, %v, want %+v", from, err, want)
		}
		if l[0].Partition != 1 || string(l[0].Value) != string(r.Value) || string(l[0].Key) != "another key" {
			t.Errorf("forwarded %v", l[0])
		}
	}
	// A record on the repartition topic that is on the wrong partition again.
	misrouted.Headers = g.Read(rig.App + ".repartition")[1][0].Headers
	misrouted.Topic, misrouted.Partition = rig.App+".repartition", 0
	// And one that says nothing of where it comes from.
	g.Produce(misrouted, &kgo.Record{Topic: rig.App + ".repartition", Value: []byte("x")})
	g.Eventually("dead letters", func() bool { return len(g.Read(rig.App + ".dlq")[0]) == 2 })
	g.Produce(erased)
	g.Eventually("erased", func() bool { return len(g.Members()) == 0 })
	in.stop()
	if folded, dead, forwarded := g.Totals(); folded != 2 || dead != 2 || forwarded != 2 {
		t.Errorf("folded %d, dead letters %d, forwarded %d", folded, dead, forwarded)
	}
}

func TestDeadLetters(t *testing.T) {
	for _, how := range []string{"original", "hash", "hash with a key"} {
		hashed := how != "original"
		g := newFleet(t, 1)
		in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) {
			if c.DeadLetter.Hash = hashed; how == "hash with a key" {
				c.DeadLetter.Key = []byte("a key")
			}
		})
		in.ready()
		now := g.Now()
		records := []*kgo.Record{
			{Topic: "web", Key: []byte("k"), Value: []byte("{"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("v")}}},
			{Topic: "web", Key: []byte("k"), Value: nil},
			g.Event(plan.Web, "anna", now.Add(time.Hour), nil),
			g.Event(plan.Web, "anna", now, nil),
		}
		g.Produce(records...)
		in.caughtUp()
		in.stop()
		got := g.Read(rig.App + ".dlq")[0]
		if len(got) != 3 {
			t.Fatalf("%d dead letters, want 3", len(got))
		}
		for i, cause := range []string{"format", "format", "future"} {
			h := map[string]string{}
			for _, kv := range got[i].Headers {
				h[kv.Key] = string(kv.Value)
			}
			want := map[string]string{"dlq.cause": cause, "dlq.topic": "web", "dlq.partition": "0", "dlq.offset": fmt.Sprint(i), "dlq.error": h["dlq.error"], "dlq.at": h["dlq.at"]}
			switch {
			case hashed:
				want["dlq.error"] = []string{"bad input (format): byte 1", "bad input (format)", "bad input (future): occurred_at"}[i]
				if how != "hash" {
					mac := hmac.New(sha256.New, []byte("a key"))
					mac.Write(records[i].Value)
					want["dlq.hmac_sha256"] = hex.EncodeToString(mac.Sum(nil))
				}
				if got[i].Value != nil || got[i].Key != nil {
					t.Errorf("the payload is kept: %v", got[i])
				}
			default:
				if i == 0 {
					want["h"] = "v"
				}
				if string(got[i].Value) != string(records[i].Value) || string(got[i].Key) != string(records[i].Key) {
					t.Errorf("not as it was: %v", got[i])
				}
			}
			if diff := gocmp.Diff(want, h); diff != "" || h["dlq.error"] == "" || h["dlq.at"] == "" {
				t.Errorf("headers: %s", diff)
			}
		}
		if got := g.Members(); !slices.Equal(got, []string{"anna browsing"}) {
			t.Errorf("%v", got)
		}
	}
}

// A tombstone on the profile topic erases: exits, a receipt, no state; and the
// customer begins from nothing.
func TestErasure(t *testing.T) {
	g := newFleet(t, 1)
	in := g.start(fixture.Rules, vfs.NewMem(), nil)
	in.ready()
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
	g.Eventually("anna", func() bool { return len(g.Members()) == 1 })
	g.Produce(&kgo.Record{Topic: "profile", Key: []byte("anna")})
	g.Eventually("erased", func() bool { return len(g.Members()) == 0 })
	g.Eventually("gone from the store", func() bool {
		_, ok, err := in.store.Task(0).Customer(nil, "anna")
		return !ok && err == nil
	})
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
	g.Eventually("anna again", func() bool { return len(g.Members()) == 1 })
	in.stop()
	var got []string
	for _, e := range g.Effects("changes")[0] {
		got = append(got, fmt.Sprint(e.Action, " ", e.Segment, " ", e.Sequence, " ", e.Cause))
	}
	want := []string{"entered buyer 1 event", "exited buyer 2 erasure", "erased  0 erasure", "entered buyer 1 event"}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	last := map[string][]byte{}
	for _, r := range g.Read(rig.App + ".changelog")[0] {
		last[string(r.Key)] = r.Value
	}
	if len(last) != 3 { // anna, position, versions
		t.Errorf("%d keys in the changelog", len(last))
	}
	g.verifyFromNothing(fixture.Rules, nil)
}

// What can't be produced ends as one dead letter; what stands around it is folded.
func TestUnproducible(t *testing.T) {
	g := newFleet(t, 1)
	var records []*kgo.Record
	for i := range 60 {
		records = append(records, g.Event(plan.Purchase, fmt.Sprintf("c%d", i), g.Now(), nil))
	}
	g.Produce(records...)
	if err := g.Broker.CreateTopic("changes", 1, nil); err != nil {
		t.Fatal(err)
	}
	id := g.Broker.TopicInfo("changes").TopicID
	// Every transaction that holds a change of c37 is refused.
	g.Broker.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: "changes", Err: kerr.InvalidRecord, Count: -1,
		When: func(r kmsg.Request) bool {
			for _, t := range r.(*kmsg.ProduceRequest).Topics {
				for _, p := range t.Partitions {
					if t.TopicID == id && strings.Contains(string(p.Records), `"c37"`) {
						return true
					}
				}
			}
			return false
		},
	})
	in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) {
		c.Compression = kgo.NoCompression()
	})
	in.caughtUp()
	in.stop()
	if got := len(g.Members()); got != 59 {
		t.Errorf("%d buyers, want 59", got)
	}
	if l := g.Read(rig.App + ".dlq")[0]; len(l) != 1 || string(l[0].Key) != "c37" {
		t.Errorf("dead letters: %v", l)
	}
	g.Positions()
}

// A registry that does not answer holds its topic, and nothing becomes a dead
// letter.
func TestRegistryDown(t *testing.T) {
	g := newFleet(t, 1)
	answers := make(chan struct{})
	in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) {
		read := c.Read
		c.Read = func(r *schemas.Record, ev *engine.Event) (schemas.Result, error) {
			select {
			case <-answers:
			default:
				if r.Topic == "web" {
					return 0, fmt.Errorf("id 7: %w", schemas.ErrRegistry)
				}
			}
			return read(r, ev)
		}
		c.Time.MaxMergeWait = 200 * time.Millisecond
	})
	in.ready()
	now := g.Now()
	g.Produce(g.Event(plan.Web, "anna", now, nil), g.Event(plan.Purchase, "anna", now.Add(time.Millisecond), nil))
	g.Eventually("the other topic goes on", func() bool { return slices.Equal(g.Members(), []string{"anna buyer"}) })
	close(answers)
	g.Eventually("the registry is back", func() bool { return slices.Equal(g.Members(), []string{"anna browsing", "anna buyer"}) })
	in.stop()
	if n := len(g.Read(rig.App + ".dlq")); n != 0 {
		t.Errorf("%d partitions with dead letters", n)
	}
}
