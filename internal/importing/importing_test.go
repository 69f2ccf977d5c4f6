package importing

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/imports"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/failpoint"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/schemas"
)

const (
	start  engine.Millis = 1_767_225_600_000
	latest               = start + 365*24*3_600_000
)

const rules = `version: 1
segments:
  - {id: bought, objective: o, owner: w, review_by: 2099-01-01, when: did(purchase)}
mappings:
  orders:
    stream: purchase
    each: msg.lines
    map: {event_id: 'id(record.id, it.id)', customer_id: msg.who, occurred_at: it.at, revenue: it.price}
`

// isInput knows the topics of the tests.
func isInput(topic string) bool {
	return topic == "purchases" || topic == "visits" || topic == "orders"
}

// options are those of an import in memory-sized steps that are small.
func options(t testing.TB) Options {
	t.Helper()
	e := fixture.NewEngine(t, rules)
	spec := e.Plan().Spec
	var mappings []*plan.Mapping
	for i := range spec.Mappings {
		mappings = append(mappings, &spec.Mappings[i])
	}
	r, err := schemas.NewReader(schemas.Config{
		Catalog: e.Catalog(), Layouts: e.Layout, Reading: spec.Reading,
		Topics:   map[string]plan.Stream{"purchases": plan.Purchase, "visits": plan.Web},
		Mappings: map[string][]*plan.Mapping{"orders": mappings},
	})
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		App: "shop", Partitions: 3, Reader: r, Streams: spec.Streams(), Latest: latest, Dir: t.TempDir(),
		Refused: func(r *Refused) error { return fmt.Errorf("%s:%d: %s", r.File, r.Line, r.Reason) },
	}
}

func purchase(id, customer string, at engine.Millis) string {
	return fmt.Sprintf(`{"event_id":%q,"customer_id":%q,"occurred_at":%q,"revenue":"1"}`, id, customer, at)
}

func file(topic string, lines ...string) File {
	return File{Name: topic + ".jsonl", Topic: topic, In: strings.NewReader(strings.Join(lines, "\n") + "\n")}
}

func sorted(t testing.TB, opt Options, files ...File) *Sorted {
	t.Helper()
	s, err := Sort(t.Context(), files, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // a second time, in some tests
	return s
}

// shop is a broker with the topic of an application.
func shop(t testing.TB, partitions int32) *broker.Cluster {
	t.Helper()
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	if err := fake.CreateTopic("shop.history", partitions, map[string]string{"max.message.bytes": "4194304"}); err != nil {
		t.Fatal(err)
	}
	c, err := broker.Connect(broker.Settings{Client: []kgo.Opt{kgo.SeedBrokers(fake.ListenAddrs()...)}, Now: time.Now, Log: fixture.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func target(c *broker.Cluster) Target {
	return Target{Cluster: c, Topic: "shop.history", IsInput: isInput, Now: time.Now}
}

// event is a record of the topic as a reader of it sees it.
type event struct {
	customer, value, topic, mapped string
	at                             engine.Millis
	number                         int64
}

// history reads a partition up to what is committed: its events, and its last mark.
func history(t testing.TB, c *broker.Cluster, partition int32) (l []event, last *imports.Last) {
	t.Helper()
	last, err := imports.LastOf(t.Context(), c, "shop.history", partition)
	if err != nil {
		t.Fatal(err)
	}
	end, err := c.ListOne(t.Context(), broker.LastStable, []string{"shop.history"}, partition)
	if err != nil {
		t.Fatal(err)
	}
	route := broker.NewRouter(3)
	if _, err = c.ReadRange(t.Context(), "shop.history", partition, 0, end["shop.history"], func(r *kgo.Record) error {
		if m, err := imports.MarkOf(r); m != nil || err != nil {
			return err
		}
		o, bad := feed.OriginOf(r, isInput)
		if bad != nil {
			return bad
		}
		mapped := ""
		if m := o.Mapped; m != nil {
			mapped = fmt.Sprintf("%s %s %d", m.Mapping, m.Stream, m.Number)
		}
		if r.Headers[0].Key != imports.HeaderImport || o.Partition != 0 || o.At != engine.Millis(r.Timestamp.UnixMilli()) || route.Partition(string(r.Key)) != partition {
			t.Errorf("%+v is not in the form of an import", r)
		}
		l = append(l, event{string(r.Key), string(r.Value), o.Topic, mapped, o.At, o.Offset})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return l, last
}

// random returns files of random events, the same for the same seed, and how many lines they have.
func random(seed uint64) (files []File, lines int) {
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range 3 {
		var l []string
		for n := range r.IntN(400) {
			at := start + engine.Millis(r.IntN(200)) // many have the same time
			l = append(l, purchase(fmt.Sprintf("e%d-%d", i, n), fmt.Sprintf("c%d", r.IntN(20)), at))
		}
		lines += len(l)
		f := file([]string{"purchases", "visits", "purchases"}[i], l...)
		f.Name = fmt.Sprint("f", i)
		files = append(files, f)
	}
	return files, lines
}

// Events come in the order of time, and of those of one time in the order of the files,
// however small the runs are, and their numbers and marks say how many there are.
func TestOrder(t *testing.T) {
	for _, small := range []Options{{}, {memory: 1, fanIn: 2}, {memory: 4_000, fanIn: 3}} {
		opt := options(t)
		opt.memory, opt.fanIn = small.memory, small.fanIn
		files, lines := random(1)
		s := sorted(t, opt, files...)
		c := shop(t, 3)
		w, err := s.Write(t.Context(), target(c))
		if err != nil || w.Already || w.Records != int64(lines) || s.Counts.Events != w.Records {
			t.Fatalf("%+v, %v; %d lines", w, err, lines)
		}
		var want [3][]event
		files, _ = random(1)
		route := broker.NewRouter(3)
		for _, f := range files {
			var b bytes.Buffer
			_, _ = b.ReadFrom(f.In)
			for line := range strings.Lines(b.String()) {
				var e struct {
					Customer string    `json:"customer_id"`
					At       time.Time `json:"occurred_at"`
				}
				if err := json.Unmarshal([]byte(line), &e); err != nil {
					t.Fatal(err)
				}
				p := route.Partition(e.Customer)
				want[p] = append(want[p], event{customer: e.Customer, value: strings.TrimSpace(line), topic: f.Topic, at: engine.Millis(e.At.UnixMilli())})
			}
		}
		for p := range want {
			slices.SortStableFunc(want[p], func(a, b event) int { return cmp.Compare(a.at, b.at) })
			topics := map[string]imports.Range{}
			for i := range want[p] {
				want[p][i].number = int64(i)
				add(topics, want[p][i].topic, want[p][i].at)
			}
			got, last := history(t, c, int32(p))
			if !slices.Equal(got, want[p]) {
				t.Errorf("partition %d: %d events, want %d:\n%v\n%v", p, len(got), len(want[p]), got, want[p])
			}
			if m := last.Mark; m == nil || m.Import != s.ID || m.Records != int64(len(want[p])) || fmt.Sprint(m.Topics) != fmt.Sprint(topics) || last.Open != nil {
				t.Errorf("partition %d: the mark is %+v, want %v", p, m, topics)
			}
		}
	}
}

// An import that dies between its transactions, or in one, is continued where the last one
// that was committed ended: what comes out is what comes out of one that never died. Complete
// ones are known again, also if others came after them.
func TestResume(t *testing.T) {
	if !failpoint.Enabled {
		t.Skip("points need -tags segmill_invariants")
	}
	files, _ := random(2)
	whole := shop(t, 3)
	s := sorted(t, options(t), files...)
	if _, err := s.Write(t.Context(), target(whole)); err != nil {
		t.Fatal(err)
	}
	crash := errors.New("crash")
	c := shop(t, 3)
	for dies := 1; ; dies++ {
		files, _ := random(2)
		s := sorted(t, options(t), files...)
		to := target(c)
		to.records = 50
		points, point := 0, []string{"begun", "produced"}[dies%2]
		to.Points.Attach(func(_ int32, at string) error {
			if at == point {
				points++
			}
			if points == 2+dies%3 {
				return crash
			}
			return nil
		})
		w, err := s.Write(t.Context(), to)
		if err == nil {
			if dies < 4 || w.Before == 0 {
				t.Errorf("died %d times, %+v", dies-1, w)
			}
			break
		}
		if !errors.Is(err, crash) {
			t.Fatal(err)
		}
		if _, last := history(t, c, 0); last.Mark != nil {
			t.Fatal("an import that is not complete has a mark")
		}
	}
	for p := range int32(3) {
		got, last := history(t, c, p)
		want, before := history(t, whole, p)
		if !slices.Equal(got, want) {
			t.Errorf("partition %d: %d events, want %d", p, len(got), len(want))
		}
		last.Mark.At = before.Mark.At
		if fmt.Sprint(last.Mark) != fmt.Sprint(before.Mark) {
			t.Errorf("partition %d: %+v, want %+v", p, last.Mark, before.Mark)
		}
	}
	other := sorted(t, options(t), file("purchases", purchase("x", "c1", start)))
	if w, err := other.Write(t.Context(), target(c)); err != nil || w.Already || w.Before != 0 || w.Records != 1 {
		t.Fatalf("%+v, %v", w, err)
	}
	for _, again := range []*Sorted{s, other} {
		if w, err := again.Write(t.Context(), target(c)); err != nil || !w.Already {
			t.Errorf("%+v, %v", w, err)
		}
	}
}

// While an import is not complete, no other one begins, and the one that is at work is not
// disturbed by it. Of two that have both begun, one ends.
func TestOthers(t *testing.T) {
	if !failpoint.Enabled {
		t.Skip("points need -tags segmill_invariants")
	}
	c := shop(t, 3)
	files, lines := random(3)
	s := sorted(t, options(t), files...)
	other := sorted(t, options(t), file("purchases", purchase("x", "c1", start)))
	to := target(c)
	to.records = 50
	points := 0
	to.Points.Attach(func(_ int32, at string) error {
		if at != "begun" {
			return nil
		}
		if points++; points == 3 {
			if _, err := other.Write(t.Context(), target(c)); err == nil || !strings.Contains(err.Error(), "an import, "+s.ID+", that was interrupted, and this is another one, "+other.ID) {
				t.Errorf("the other one: %v", err)
			}
		}
		return nil
	})
	if w, err := s.Write(t.Context(), to); err != nil || w.Records != int64(lines) {
		t.Fatalf("%+v, %v", w, err)
	}
	// Before the first one has committed anything, the other one can't know of it.
	files, _ = random(4)
	s = sorted(t, options(t), files...)
	points = 0
	to.Points = failpoint.Points{}
	to.Points.Attach(func(_ int32, at string) error {
		if points++; points == 2 {
			if w, err := other.Write(t.Context(), target(c)); err != nil || w.Records != 1 {
				t.Errorf("the other one: %+v, %v", w, err)
			}
		}
		return nil
	})
	if _, err := s.Write(t.Context(), to); !errors.Is(err, ErrFenced) {
		t.Fatalf("%v", err)
	}
	for p := range int32(3) {
		if _, last := history(t, c, p); last.Open != nil || last.Mark.Import != other.ID {
			t.Errorf("partition %d: %+v", p, last)
		}
	}
}

// Compression changes nothing; another order of the files makes another import.
func TestCompressed(t *testing.T) {
	id := func(wrap func([]byte) []byte, order ...int) string {
		t.Helper()
		files, _ := random(5)
		var l []File
		for _, i := range order {
			var b bytes.Buffer
			_, _ = b.ReadFrom(files[i].In)
			files[i].In = bytes.NewReader(wrap(b.Bytes()))
			l = append(l, files[i])
		}
		return sorted(t, options(t), l...).ID
	}
	plain := func(b []byte) []byte { return b }
	want := id(plain, 0, 1, 2)
	for name, wrap := range map[string]func([]byte) []byte{
		"gzip": func(b []byte) []byte {
			var to bytes.Buffer
			z := gzip.NewWriter(&to)
			_, _ = z.Write(b)
			_ = z.Close()
			return to.Bytes()
		},
		"zstd": func(b []byte) []byte {
			z, err := zstd.NewWriter(nil)
			if err != nil {
				t.Fatal(err)
			}
			return z.EncodeAll(b, nil)
		},
	} {
		if got := id(wrap, 0, 1, 2); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if id(plain, 2, 1, 0) == want {
		t.Error("another order is the same import")
	}
	if _, err := Sort(t.Context(), []File{{Name: "f", Topic: "purchases", In: strings.NewReader("\x1f\x8b\x00")}}, options(t)); err == nil || !strings.HasPrefix(err.Error(), "f: gzip: ") {
		t.Errorf("a file that is cut off: %v", err)
	}
}

// What can't be imported is refused with its place and cause, in order, and the rest is
// imported.
func TestRefused(t *testing.T) {
	opt := options(t)
	opt.KeepRest = true
	var got []string
	opt.Refused = func(r *Refused) error {
		got = append(got, fmt.Sprintf("%s:%d %s %d %.40s", r.File, r.Line, r.Cause, r.Imported, r.Reason))
		return nil
	}
	s := sorted(t, opt,
		file("purchases",
			purchase("e1", "c1", start), "", "null", "{", purchase("e2", "c1", latest+1),
			`{"event_id":"e3","occurred_at":"2026-01-01T00:00:00Z"}`,
			`{"stream":"web","event_id":"e4","customer_id":"c1","occurred_at":"2026-01-01T00:00:00Z"}`,
			`{"stream":"purchase","event_id":"e5","customer_id":"c1","occurred_at":"2026-01-01T00:00:00Z"}`,
			strings.Repeat("x", 2<<20)),
		file("orders", `{"who":"c2","lines":[{"id":1,"at":"2026-01-01T00:00:00Z"},{"id":2,"at":"never"},{"id":3,"at":"2099-01-01T00:00:00Z"}]}`))
	want := []string{
		"purchases.jsonl:3 line 0 a file has no erasures: a tombstone need",
		"purchases.jsonl:4 format 0 bad input (format): byte 1: the JSON end",
		"purchases.jsonl:5 future 0 the event is dated 2027-01-01T00:00:00.0",
		"purchases.jsonl:6 identity 0 bad input (identity): customer_id: no cu",
		"purchases.jsonl:7 stream 0 the line says that it is of the stream w",
		"purchases.jsonl:9 line 0 2097153 bytes long, more than 1048576",
		"orders.jsonl:1 future 1 the event is dated 2099-01-01T00:00:00.0",
		"orders.jsonl:1 type 1 bad input (type): occurred_at: byte 0: \"",
	}
	if len(got) != len(want) {
		t.Fatalf("%d refused:\n%s", len(got), strings.Join(got, "\n"))
	}
	for i := range want {
		place, _, _ := strings.Cut(want[i], " bad input")
		if !strings.HasPrefix(got[i], place) {
			t.Errorf("%s, want %s", got[i], want[i])
		}
	}
	if c := s.Counts; c.Lines != 9 || c.Events != 3 || c.Bad() != 8 || c.Refused["future"] != 2 {
		t.Errorf("%+v", c)
	}
	if k := s.Kinds[Kind{"orders", "purchase"}]; k.Records != 1 || k.First != start {
		t.Errorf("%+v", s.Kinds)
	}
	stop := errors.New("the disk is full")
	opt.Refused = func(*Refused) error { return stop }
	if _, err := Sort(t.Context(), []File{file("purchases", "{")}, opt); !errors.Is(err, stop) {
		t.Error(err)
	}
}

// A line of several events is as many records, each with what its mapping has made; ids that
// are made of a record's place differ between files.
func TestMapped(t *testing.T) {
	opt := options(t)
	line := `{"who":"c%d","lines":[{"id":1,"at":"2026-01-02T00:00:00Z","price":"2"},{"id":2,"at":"2026-01-01T00:00:00Z","price":"1"}]}`
	s := sorted(t, opt, file("orders", fmt.Sprintf(line, 1)), file("orders", fmt.Sprintf(line, 1)+" "), file("orders", `{"who":"c3","lines":[]}`),
		file("purchases", `{"batch":[{"event_id":"b1","customer_id":"c1","occurred_at":"2026-01-03T00:00:00Z"},{"event_id":"b2","customer_id":"c1","occurred_at":"2026-01-04T00:00:00Z"}]}`))
	c := shop(t, 3)
	if w, err := s.Write(t.Context(), target(c)); err != nil || w.Records != 6 {
		t.Fatalf("%+v, %v", w, err)
	}
	got, _ := history(t, c, broker.NewRouter(3).Partition("c1"))
	if len(got) != 6 {
		t.Fatalf("%v", got)
	}
	ids := map[string]bool{}
	for i, mapped := range []string{"orders purchase 1", "orders purchase 1", "orders purchase 0", "orders purchase 0", " purchase 0", " purchase 1"} {
		var v struct {
			ID string `json:"event_id"`
		}
		if err := json.Unmarshal([]byte(got[i].value), &v); err != nil || got[i].mapped != mapped {
			t.Errorf("%+v, want %q: %v", got[i], mapped, err)
		}
		ids[v.ID] = true
	}
	if len(ids) != 6 {
		t.Errorf("of different events, ids are equal: %v", got)
	}
	// A reader of the topic takes the texts for what they are.
	for _, e := range got {
		r := schemas.Record{Topic: e.topic, Key: []byte(e.customer), Value: []byte(e.value), Time: e.at}
		mapping, rest, _ := strings.Cut(e.mapped, " ")
		stream, _, _ := strings.Cut(rest, " ")
		r.Mapped = &schemas.MappedAs{Mapping: mapping, Stream: stream}
		var ev engine.Event
		if what, err := opt.Reader.Read(&r, &ev); err != nil || what != schemas.IsEvent || ev.Customer != "c1" || ev.At != e.at {
			t.Errorf("%+v is read as %+v, %v", e, ev, err)
		}
	}
}

// An import that is told to stop ends.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	files, _ := random(6)
	if _, err := Sort(ctx, files, options(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	files, _ = random(6)
	s := sorted(t, options(t), files...)
	if _, err := s.Write(ctx, target(shop(t, 3))); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// BenchmarkSort reads and sorts lines of purchases.
func BenchmarkSort(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	var text strings.Builder
	for n := range 200_000 {
		fmt.Fprintf(&text, `{"event_id":"order-%d","customer_id":"customer-%d","occurred_at":%q,"order_id":"o-%d","revenue":"129.90","currency":"EUR","status":"completed","channel":"web","items":[{"product_id":"p-%d","category":"shoes","quantity":1,"price":"129.90"}]}`+"\n",
			n, r.IntN(100_000), start+engine.Millis(n*1000), n, r.IntN(5000))
	}
	opt := options(b)
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		s, err := Sort(b.Context(), []File{{Name: "f", Topic: "purchases", In: strings.NewReader(text.String())}}, opt)
		if err != nil {
			b.Fatal(err)
		}
		_ = s.Close()
	}
	b.ReportMetric(float64(b.N)*200_000/b.Elapsed().Seconds(), "lines/s")
}
