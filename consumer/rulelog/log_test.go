package rulelog_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/rulelog"
	"github.com/segmill/segmill/internal/fixture"
)

const topic = "shop.rules"

// open returns a log on a broker of its own.
func open(t *testing.T, opts ...kfake.Opt) (*kfake.Cluster, *rulelog.Log) {
	t.Helper()
	fake, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	return fake, beside(t, fake)
}

// beside returns the log of another reader or writer.
func beside(t *testing.T, fake *kfake.Cluster) *rulelog.Log {
	t.Helper()
	c, err := broker.Connect(broker.Settings{Client: []kgo.Opt{kgo.SeedBrokers(fake.ListenAddrs()...)}, Now: time.Now, Log: fixture.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &rulelog.Log{Cluster: c, Topic: topic}
}

func draft(base uint64, who string, texts ...string) rulelog.Draft {
	d := rulelog.Draft{Base: base, Who: who, At: 1_767_225_600_000}
	for i, text := range texts {
		d.Files = append(d.Files, rulelog.File{Name: fmt.Sprintf("rules/%d.yaml", i), Text: []byte(text)})
	}
	return d
}

func numbers(v *rulelog.View) (l []string) {
	for i := range v.Entries {
		l = append(l, fmt.Sprint(v.Entries[i].Number, " ", v.Entries[i].Who))
	}
	return l
}

// A set that is written is read as it was, and replaces the one before.
func TestAppendAndRead(t *testing.T) {
	_, l := open(t, kfake.SeedTopics(1, topic))
	ctx := t.Context()
	if v, err := l.Read(ctx); err != nil || v.Newest() != nil || v.Number() != 0 {
		t.Fatal(v, err)
	}
	first := draft(0, "anna@laptop", "version: 1\n", "version: 1 # more\n")
	first.Why, first.Versions, first.AcceptLoss = "the first rules", [16]byte{1, 2, 3}, true
	e, err := l.Append(ctx, first)
	if err != nil || e.Number != 1 || e.Base != 0 {
		t.Fatal(e, err)
	}
	if _, err := l.Append(ctx, draft(1, "ben", "version: 1 # less\n")); err != nil {
		t.Fatal(err)
	}
	v, err := l.Read(ctx)
	if err != nil || v.Number() != 2 || v.Newest().Number != 2 || v.Newest().Who != "ben" || v.Newest().AcceptLoss || !v.Set(1).AcceptLoss {
		t.Fatal(v, err)
	}
	got := v.Set(1)
	if files, err := got.Files(); err != nil || !slices.EqualFunc(files, first.Files, func(a, b rulelog.File) bool {
		return a.Name == b.Name && string(a.Text) == string(b.Text)
	}) {
		t.Error(files, err)
	}
	if text := got.String(); text != "set 1 by anna@laptop at 2026-01-01T00:00:00.000Z (the first rules)" {
		t.Error(text)
	}
	if v.WithVersions(first.Versions) != got || v.WithContent(rulelog.Content(first.Files)) != got || v.WithContent([16]byte{}) != nil || v.Set(3) != nil || v.Set(0) != nil {
		t.Error("sets are found by number, content and versions")
	}
}

// The content does not depend on what files are called, nor on their order.
func TestContent(t *testing.T) {
	a, b := rulelog.File{Name: "a", Text: []byte("1")}, rulelog.File{Name: "b", Text: []byte("2")}
	moved := rulelog.File{Name: "etc/a", Text: []byte("1")}
	if rulelog.Content([]rulelog.File{a, b}) != rulelog.Content([]rulelog.File{b, moved}) {
		t.Error("moved files have another content")
	}
	if rulelog.Content([]rulelog.File{a}) == rulelog.Content([]rulelog.File{a, a}) || rulelog.Content([]rulelog.File{a}) == rulelog.Content([]rulelog.File{b}) {
		t.Error("other files have the same content")
	}
}

// A set replaces the one in force, or is refused with the name of who was faster.
func TestBase(t *testing.T) {
	_, l := open(t, kfake.SeedTopics(1, topic))
	ctx := t.Context()
	if _, err := l.Append(ctx, draft(1, "anna", "1")); !errors.Is(err, rulelog.ErrBase) || !strings.Contains(err.Error(), "shop.rules has no set 1") {
		t.Error(err)
	}
	for n := range uint64(2) {
		if _, err := l.Append(ctx, draft(n, "anna", "1")); err != nil {
			t.Fatal(err)
		}
	}
	_, err := l.Append(ctx, draft(1, "ben", "2"))
	if !errors.Is(err, rulelog.ErrBase) || !strings.Contains(err.Error(), "in force is set 2 by anna at 2026-01-01T00:00:00.000Z") {
		t.Error(err)
	}
}

// Texts that fill several records are one set, and no record is larger than brokers take.
func TestParts(t *testing.T) {
	fake, l := open(t, kfake.SeedTopics(1, topic))
	ctx := t.Context()
	rnd := rand.NewChaCha8([32]byte{1})
	noise := make([]byte, 2_500_000) // does not compress
	_, _ = rnd.Read(noise)
	d := draft(0, "anna", string(noise), strings.Repeat("x", 1<<20))
	if _, err := l.Append(ctx, d); err != nil {
		t.Fatal(err)
	}
	records := read(t, fake)
	if len(records) != 3 {
		t.Errorf("%d records", len(records))
	}
	for _, r := range records {
		if n := len(r.Key) + len(r.Value); n > 900_000 {
			t.Errorf("a record of %d bytes", n)
		}
	}
	v, err := l.Read(ctx)
	if err != nil || v.Number() != 1 {
		t.Fatal(v, err)
	}
	if files, err := v.Newest().Files(); err != nil || string(files[0].Text) != string(noise) {
		t.Error(err)
	}
}

func read(t *testing.T, fake *kfake.Cluster) (l []*kgo.Record) {
	t.Helper()
	c := beside(t, fake).Cluster
	end, err := c.ListOne(t.Context(), broker.LastStable, []string{topic}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadRange(t.Context(), topic, 0, 0, end[topic], func(r *kgo.Record) error { l = append(l, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return l
}

func produce(t *testing.T, fake *kfake.Cluster, values ...[]byte) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(fake.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for _, v := range values {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: v}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// A set of which a part is missing is void for ever, and does not hold up others.
func TestGaps(t *testing.T) {
	noise := make([]byte, 2_500_000)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(noise)
	whole, l := open(t, kfake.SeedTopics(1, topic))
	if _, err := l.Append(t.Context(), draft(0, "anna", string(noise))); err != nil {
		t.Fatal(err)
	}
	parts := read(t, whole)
	for _, left := range [][]int{{0, 1}, {1, 2}, {0, 2}, {0, 2, 1}, {2, 1, 0}} {
		fake, l := open(t, kfake.SeedTopics(1, topic))
		for _, i := range left {
			produce(t, fake, parts[i].Value)
		}
		e, err := l.Append(t.Context(), draft(0, "ben", "1"))
		if err != nil || e.Number != 1 || e.Who != "ben" {
			t.Fatal(left, e, err)
		}
		produce(t, fake, parts[0].Value, parts[1].Value, parts[2].Value) // too late
		if v, err := l.Read(t.Context()); err != nil || v.Number() != 1 {
			t.Error(left, v, err)
		}
	}
	fake, l := open(t, kfake.SeedTopics(1, topic))
	for _, i := range []int{0, 0, 1, 1, 0, 2, 2} { // copied twice
		produce(t, fake, parts[i].Value)
	}
	if v, err := l.Read(t.Context()); err != nil || v.Number() != 1 {
		t.Error(v, err)
	}
}

// Of writers who replace the same set at once, one is successful and the others hear of it.
// Whoever reads meanwhile sees the beginning of what all see in the end.
func TestConcurrentWriters(t *testing.T) {
	fake, l := open(t, kfake.SeedTopics(1, topic))
	ctx := t.Context()
	const writers, rounds = 8, 5
	logs := make([]*rulelog.Log, writers)
	for w := range logs {
		logs[w] = beside(t, fake)
	}
	noise := make([]byte, 1_000_000) // of two parts, which mingle
	_, _ = rand.NewChaCha8([32]byte{3}).Read(noise)

	followed := make(chan string, rounds)
	following, stop := context.WithCancel(ctx)
	var readers sync.WaitGroup
	readers.Go(func() {
		if err := l.Follow(following, &rulelog.View{}, func(e *rulelog.Entry) { followed <- fmt.Sprint(e.Number, " ", e.Who) }); err != nil {
			t.Error(err)
		}
	})
	var seen [][]string
	readers.Go(func() {
		reader := beside(t, fake)
		for following.Err() == nil {
			v, err := reader.Read(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			seen = append(seen, numbers(v))
		}
	})
	for base := range uint64(rounds) {
		var won, lost sync.Map
		var all sync.WaitGroup
		for w, l := range logs {
			all.Go(func() {
				switch e, err := l.Append(ctx, draft(base, fmt.Sprint("w", w), string(noise))); {
				case err == nil && e.Number == base+1 && e.Who == fmt.Sprint("w", w):
					won.Store(w, true)
				case errors.Is(err, rulelog.ErrBase):
					lost.Store(w, err.Error())
				default:
					t.Error(w, e, err)
				}
			})
		}
		all.Wait()
		if n, m := size(&won), size(&lost); n != 1 || m != writers-1 {
			t.Fatalf("set %d: %d won, %d lost", base+1, n, m)
		}
		won.Range(func(w, _ any) bool {
			lost.Range(func(_, text any) bool {
				if want := fmt.Sprintf("in force is set %d by w%d at ", base+1, w); !strings.Contains(text.(string), want) {
					t.Errorf("%s: not %s", text, want)
				}
				return true
			})
			return true
		})
	}
	v, err := l.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	final := numbers(v)
	for _, want := range final {
		if got := <-followed; got != want {
			t.Errorf("followed %s, not %s", got, want)
		}
	}
	stop()
	readers.Wait()
	for _, s := range seen {
		if !slices.Equal(s, final[:len(s)]) {
			t.Errorf("%v is not the beginning of %v", s, final)
		}
	}
}

func size(m *sync.Map) (n int) {
	m.Range(func(any, any) bool { n++; return true })
	return n
}

// Whoever follows goes on from what was read, and hears of nothing twice.
func TestFollow(t *testing.T) {
	_, l := open(t, kfake.SeedTopics(1, topic))
	if _, err := l.Append(t.Context(), draft(0, "anna", "1")); err != nil {
		t.Fatal(err)
	}
	v, err := l.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), draft(1, "ben", "2")); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var got []string
	err = l.Follow(ctx, v, func(e *rulelog.Entry) {
		if got = append(got, e.Who); e.Number == 2 {
			stop()
		}
	})
	if err != nil || !slices.Equal(got, []string{"ben"}) || v.Number() != 2 {
		t.Error(got, v, err)
	}
}

// What can't be read is an error that names the place and what to do about it, for those who
// read and for those who follow.
func TestUnreadable(t *testing.T) {
	for _, tt := range []struct {
		value []byte
		want  string
	}{
		{[]byte{9, 1}, "shop.rules, offset 1: it was written by another version of segmill: its format is 9, and this version reads 1: use the version that wrote it, or a later one"},
		{[]byte{1, 2}, "shop.rules, offset 1: the record is not readable. Restore the topic from a copy; or stop all instances, delete it, "},
		{nil, "shop.rules, offset 1: the record is not readable. "},
		{append(append([]byte{1}, make([]byte, 16)...), 1, 0, 1, 0, 7), "shop.rules, offset 1: the rule set in it is not readable. "},
		{append(append([]byte{1}, make([]byte, 16)...), 1, 0, 1, 2), "shop.rules, offset 1: it was written by another version of segmill: its flags are 0x2: use the version that wrote it, or a later one"},
	} {
		fake, l := open(t, kfake.SeedTopics(1, topic))
		if _, err := l.Append(t.Context(), draft(0, "anna", "1")); err != nil {
			t.Fatal(err)
		}
		produce(t, fake, tt.value)
		if _, err := l.Read(t.Context()); err == nil || !strings.HasPrefix(err.Error(), tt.want) || !fault.IsFatal(err) {
			t.Error(err)
		}
		if err := l.Follow(t.Context(), &rulelog.View{}, nil); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Error(err)
		}
		if _, err := l.Append(t.Context(), draft(1, "anna", "1")); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Error(err)
		}
	}
}

// A topic that is missing, has several partitions, or may not be read is said to be so.
func TestTopic(t *testing.T) {
	_, l := open(t)
	if _, err := l.Read(t.Context()); !errors.Is(err, rulelog.ErrAbsent) {
		t.Error(err)
	}
	_, l = open(t, kfake.SeedTopics(2, topic))
	if _, err := l.Read(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "shop.rules has 2 partitions, and a log of rules has one: ") {
		t.Error(err)
	}
	fake, l := open(t, kfake.SeedTopics(1, topic))
	fake.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		st := kmsg.NewMetadataResponseTopic()
		st.Topic, st.ErrorCode = kmsg.StringPtr(topic), kerr.TopicAuthorizationFailed.Code
		resp.Topics = append(resp.Topics, st)
		return resp, nil, true
	})
	if _, err := l.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "needs READ and DESCRIBE on this topic") {
		t.Error(err)
	}
}

// A set that the brokers refuse is an error that says which right is missing, and nothing is
// in force because of it.
func TestMayNotWrite(t *testing.T) {
	fake, l := open(t, kfake.SeedTopics(1, topic))
	fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	_, err := l.Append(t.Context(), draft(0, "anna", "1"))
	if err == nil || !strings.HasPrefix(err.Error(), "set 1 was not written: shop.rules: TOPIC_AUTHORIZATION_FAILED") || !strings.HasSuffix(err.Error(), "and WRITE to change the rules") {
		t.Error(err)
	}
	if v, err := l.Read(t.Context()); err != nil || v.Number() != 0 {
		t.Error(v, err)
	}
}

// What is too long to be read again is not written.
func TestLimits(t *testing.T) {
	_, l := open(t, kfake.SeedTopics(1, topic))
	for want, d := range map[string]rulelog.Draft{
		"the name of who changes the rules has 257 bytes, and may have 256": {Who: strings.Repeat("x", 257)},
		"the reason has 4097 bytes, and may have 4096":                      {Why: strings.Repeat("x", 4097)},
		"a file has a name of 4097 bytes, which may have 4096":              {Files: []rulelog.File{{Name: strings.Repeat("x", 4097)}}},
		"and a rule set may have 67108864":                                  {Files: []rulelog.File{{Text: make([]byte, 64<<20)}}},
	} {
		if _, err := l.Append(t.Context(), d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: not %s", err, want)
		}
	}
	if v, err := l.Read(t.Context()); err != nil || v.Next != 0 {
		t.Error(v, err)
	}
}
