package group

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/consumer/topics"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
	"github.com/segmill/segmill/schemas"
)

// badRecord is a record that must become a dead letter.
type badRecord struct {
	*kgo.Record
	cause string
}

// badRecords returns the corpus of bad values, and records that are bad by what
// is around the value.
func (g *fleet) badRecords() []badRecord {
	g.Helper()
	a, err := txtar.ParseFile("../../schemas/testdata/bad.txtar")
	if err != nil {
		g.Fatal(err)
	}
	reader, err := schemas.NewReader(schemas.Config{
		Layouts: fixture.NewEngine(g, fixture.Rules).Layout,
		Topics:  map[string]plan.Stream{"web": plan.Web, "purchase": plan.Purchase, "profile": plan.Profile},
	})
	if err != nil {
		g.Fatal(err)
	}
	var bad []badRecord
	add := func(r *kgo.Record, cause string) {
		rec := schemas.Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Time: engine.Millis(r.Timestamp.UnixMilli())}
		for _, h := range r.Headers {
			rec.Headers = append(rec.Headers, schemas.Header(h))
		}
		var ev engine.Event
		if _, err := reader.Read(&rec, &ev); err == nil {
			return // a field that these rules do not read
		} else if got := string(schemas.CauseOf(err)); cause == "" {
			cause = got // by itself, as there is no registry here
		} else if got != cause {
			g.Errorf("%.80q is refused as %s, want %s", r.Value, got, cause)
		}
		bad = append(bad, badRecord{r, cause})
	}
	for _, f := range a.Files {
		parts := strings.Fields(f.Name)
		r := &kgo.Record{Topic: parts[0], Key: []byte("k"), Value: bytes.TrimSuffix(f.Data, []byte("\n"))}
		if r.Topic == "email" || r.Topic == "consent" {
			continue // not inputs here
		}
		cause := parts[1]
		if h, ok := bytes.CutPrefix(r.Value, []byte("hex ")); ok {
			cause = ""
			if r.Value, err = hex.DecodeString(strings.ReplaceAll(string(h), " ", "")); err != nil {
				g.Fatal(err)
			}
		}
		add(r, cause)
	}
	good := string(g.Event(plan.Web, "anna", time.Unix(1_700_000_000, 0), nil).Value)
	for i := range len(good) {
		add(&kgo.Record{Topic: "web", Key: []byte("anna"), Value: []byte(good[:i])}, "format")
	}
	headers := make([]kgo.RecordHeader, 5_000)
	for i := range headers {
		headers[i] = kgo.RecordHeader{Key: fmt.Sprintf("h%d", i), Value: []byte{byte(i), 0xff, 0}}
	}
	large := bytes.Repeat([]byte("x"), 950<<10)
	utf8 := kgo.RecordHeader{Key: "\xff\xfe", Value: nil}
	for _, b := range []badRecord{
		{&kgo.Record{Topic: "web"}, "format"},                              // neither key nor value
		{&kgo.Record{Topic: "web", Key: []byte("k")}, "format"},            // no value, and not of profiles
		{&kgo.Record{Topic: "profile"}, "identity"},                        // nobody's tombstone
		{&kgo.Record{Topic: "profile", Key: []byte("a\x00b")}, "identity"}, // of no customer
		{&kgo.Record{Topic: "profile", Key: large}, "identity"},
		{&kgo.Record{Topic: "web", Value: []byte(good + good)}, "format"},
		{&kgo.Record{Topic: "web", Value: []byte(strings.Replace(good, "anna", string(large[:1<<19]), 1))}, "identity"},
		{&kgo.Record{Topic: "web", Value: []byte(strings.Replace(good, "anna", "a\xc3\x28", 1))}, "identity"},
		{&kgo.Record{Topic: "web", Key: []byte("k"), Value: large}, "format"},
		{&kgo.Record{Topic: "web", Key: large, Value: []byte("{")}, "format"},
		{&kgo.Record{Topic: "web", Value: []byte("{"), Headers: headers}, "format"},
		{&kgo.Record{Topic: "web", Value: []byte("{"), Headers: []kgo.RecordHeader{utf8, utf8, {Key: "dlq.cause", Value: []byte("mine")}}}, "format"},
		{&kgo.Record{Topic: "web", Value: []byte("{"), Headers: []kgo.RecordHeader{{Key: "large", Value: large}, {Key: string(large[:1000])}}}, "format"},
		{&kgo.Record{Topic: "web", Value: []byte("{"), Headers: []kgo.RecordHeader{{Key: feed.HeaderTopic, Value: []byte("web")}, {Key: feed.HeaderOffset, Value: []byte("-1")}}}, "format"},
	} {
		add(b.Record, b.cause)
	}
	return bad
}

// Bad records stop nothing, however many of them there are: each is one dead
// letter with its reason and as it was, and the effects are those of a run
// without them.
func TestBadTraffic(t *testing.T) {
	seed := fixture.Seeds(t, 1)[0]
	t.Logf("SEED=%d", seed)
	run := func(t *testing.T, every int) map[string]string {
		g := newFleet(t, 1)
		rng := rand.New(rand.NewPCG(seed, 0))
		valid := g.day(rng, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), 400)
		all := g.badRecords()
		if len(all) < 200 {
			t.Fatalf("only %d bad records", len(all))
		}
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		var bad []badRecord
		for i, r := range valid {
			if every == 0 { // nothing but bad ones
				break
			}
			g.Produce(r)
			if every > 0 && i%every == 0 {
				bad = append(bad, all[len(bad)%len(all)])
				r := *bad[len(bad)-1].Record
				bad[len(bad)-1].Record = &r
				g.Produce(&r)
			}
		}
		if every == 0 {
			bad = all
			for _, b := range bad {
				g.Produce(b.Record)
			}
		}
		in := g.start(fixture.Rules, vfs.NewMem(), rig.OverHistory)
		if err := in.wait(); err != nil {
			t.Fatal(err)
		}
		g.wantDeadLetters(bad)
		g.Positions()
		return g.byCustomer()
	}
	want := run(t, -1)
	if len(want) != 4 {
		t.Errorf("%d customers", len(want))
	}
	for name, every := range map[string]int{"1 in 100": 100, "half": 1} {
		t.Run(name, func(t *testing.T) {
			if diff := gocmp.Diff(want, run(t, every)); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("all", func(t *testing.T) {
		if got := run(t, 0); len(got) > 0 {
			t.Errorf("emitted %v", got)
		}
	})
}

// wantDeadLetters wants one dead letter of each record, which has been produced.
func (g *fleet) wantDeadLetters(bad []badRecord) {
	g.Helper()
	type place struct{ topic, offset string }
	got := map[place]*kgo.Record{}
	header := func(r *kgo.Record, key string) (v string) {
		for _, h := range r.Headers { // the last one is the engine's
			if h.Key == key {
				v = string(h.Value)
			}
		}
		return v
	}
	for _, r := range g.Read(rig.App + ".dlq")[0] {
		p := place{header(r, "dlq.topic"), header(r, "dlq.offset")}
		if got[p] != nil {
			g.Errorf("two dead letters of %v", p)
		}
		got[p] = r
	}
	if len(got) != len(bad) {
		g.Errorf("%d dead letters of %d records", len(got), len(bad))
	}
	for _, b := range bad {
		p := place{b.Topic, fmt.Sprint(b.Offset)}
		r := got[p]
		if r == nil {
			g.Errorf("no dead letter of %v: %.80q", p, b.Value)
			continue
		}
		if cause := header(r, "dlq.cause"); cause != b.cause {
			g.Errorf("%v has cause %s, want %s: %.80q", p, cause, b.cause, b.Value)
		}
		if broker.Size(b.Record) > topics.CopiedBytes-task.CopyMargin { // as the engine counts
			if sum := sha256.Sum256(b.Value); header(r, "dlq.sha256") != hex.EncodeToString(sum[:]) || r.Value != nil {
				g.Errorf("%v: of %d bytes, the hash is wrong", p, broker.Size(b.Record))
			}
			continue
		}
		if !bytes.Equal(r.Key, b.Key) || !bytes.Equal(r.Value, b.Value) || len(r.Headers) < len(b.Headers) {
			g.Errorf("%v is not as it was: %v", p, r)
			continue
		}
		for i, h := range b.Headers {
			if r.Headers[i].Key != h.Key || !bytes.Equal(r.Headers[i].Value, h.Value) {
				g.Errorf("%v: header %d is not as it was", p, i)
			}
		}
	}
}

// Very many small headers compress to little, and are large again in a copy: what
// is too large to be copied, also by its headers, is hashed, and nothing stops.
func TestVeryManyHeaders(t *testing.T) {
	g := newFleet(t, 2)
	in := g.start(fixture.Rules, vfs.NewMem(), nil)
	in.ready()
	headers := make([]kgo.RecordHeader, 400_000)
	for i := range headers {
		headers[i].Key = "h"
	}
	anna := g.CustomersOf(1, 1)[0]
	good := g.Event(plan.Web, anna, g.Now(), nil)
	astray := g.Event(plan.Web, anna, g.Now(), nil)
	astray.Partition = 0
	bad := &kgo.Record{Topic: "web", Key: []byte("k"), Value: []byte("{")}
	cl := g.NewClient(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(8<<20), kgo.BrokerMaxWriteBytes(16<<20),
		kgo.ProducerBatchCompression(kgo.GzipCompression()))
	for _, r := range []*kgo.Record{bad, astray, good} {
		r.Headers = headers
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	in.caughtUp()
	in.stop()
	if folded, dead, forwarded := g.Totals(); folded != 1 || dead != 2 || forwarded != 0 {
		t.Errorf("folded %d, dead letters %d, forwarded %d", folded, dead, forwarded)
	}
	g.wantDeadLetters([]badRecord{{bad, "format"}, {astray, "size"}})
}

// FuzzOrigin: whatever the headers of a record on the repartition topic say, it is
// of an input or bad input.
func FuzzOrigin(f *testing.F) {
	f.Add(feed.HeaderTopic, "web", feed.HeaderPartition, "0", feed.HeaderOffset, "7", feed.HeaderTime, "1700000000000")
	f.Add(feed.HeaderTopic, "nosuch", feed.HeaderPartition, "99999999999", feed.HeaderOffset, "-1", feed.HeaderTime, "")
	f.Add(feed.HeaderTopic, "web", feed.HeaderTopic, "purchase", feed.HeaderOffset, "1", feed.HeaderTime, "1")
	inputs := []string{"purchase", "web"}
	f.Fuzz(func(t *testing.T, k0, v0, k1, v1, k2, v2, k3, v3 string) {
		r := &kgo.Record{Topic: "shop.repartition", Partition: 3, Offset: 9, Headers: []kgo.RecordHeader{
			{Key: k0, Value: []byte(v0)}, {Key: k1, Value: []byte(v1)}, {Key: k2, Value: []byte(v2)}, {Key: k3, Value: []byte(v3)},
		}}
		from, err := feed.OriginOf(r, func(topic string) bool { return slices.Contains(inputs, topic) })
		if err != nil && (from != feed.Origin{Topic: r.Topic, Partition: 3, Offset: 9} || schemas.CauseOf(err) == "") {
			t.Errorf("%+v: %v", from, err)
		}
		if err == nil && (!slices.Contains(inputs, from.Topic) || from.Partition < 0 || from.Offset < 0) {
			t.Errorf("a record is from %+v", from)
		}
	})
}
