//go:build hostile

package hostile

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas"
)

// The attributes of fat customers that rules keep.
const fatAttributes = 50

// rules read what the corpus has faults in, and keep much of a customer.
func rules() string {
	var b strings.Builder
	b.WriteString("version: 1\ndefaults: {timezone: UTC}\nsegments:\n")
	segment := func(id, when string) {
		fmt.Fprintf(&b, "  - {id: %s, objective: o, owner: w, review_by: 2099-01-01, when: %q}\n", id, when)
	}
	segment("canary", `count(purchase) >= 1`)
	segment("browsing", `count(web) >= 1`)
	segment("viewer", `count(web.name == "page_viewed") >= 1`)
	segment("pro", `last(web.attributes["plan"]) == "pro"`)
	segment("rich", `sum(purchase.revenue, days(30)) > 1000000`)
	segment("holder", `count(purchase.currency == "EUR") > 5 && count(purchase.kind == "refunded") > 5`)
	segment("runner", `did(purchase.items.exists(i, i.category == "shoes"))`)
	segment("reader", `count(email.action == "opened" && !email.machine_open) >= 1`)
	segment("known", `has(profile.signed_up_at) || profile.traits["card"] == "gold" || profile.time_zone == "UTC"`)
	segment("young", `age(profile.birth_date) < 30`)
	segment("agrees", `consented("email")`)
	for i := range fatAttributes {
		segment(fmt.Sprint("fat", i), fmt.Sprintf(`last(web.attributes["a%d"]) == "x"`, i))
	}
	b.WriteString("triggers:\n  - {id: cart, kind: abandoned_cart, after: 6s}\n")
	return b.String()
}

// sent is a record and what must come of it: a dead letter of a cause, or that its
// customer enters a segment.
type sent struct {
	*kgo.Record
	cause   string
	segment string
}

// row is a class of bad or odd input.
type row struct {
	name string
	send func() []sent
}

// dead is a row of a record that must be a dead letter, on each partition.
func dead(name, cause, topic string, value []byte, more ...func(*kgo.Record)) row {
	return row{name, func() (l []sent) {
		for p := range int32(partitions) {
			r := &kgo.Record{Topic: topic, Partition: p, Key: []byte("k"), Value: value}
			for _, m := range more {
				m(r)
			}
			l = append(l, sent{Record: r, cause: cause})
		}
		return l
	}}
}

// nobody takes the key away, which names a customer that the value does not.
func nobody(r *kgo.Record) { r.Key = nil }

// fine is a row of an odd record that counts.
func fine(name, topic, segment, more string, change ...func(*kgo.Record)) row {
	return row{name, func() (l []sent) {
		for p := range int32(partitions) {
			r := event(topic, p, customer("odd", p), more)
			for _, c := range change {
				c(r)
			}
			l = append(l, sent{Record: r, segment: segment})
		}
		return l
	}}
}

// onlyKfake are rows of timestamps that Kafka refuses, and with them the batch that
// they are in.
var onlyKfake = map[string]bool{"around/a time of 1970": true, "around/a time of 2099": true}

// TestRecords sends every row to one process, several at a time, each with canaries
// behind it.
func TestRecords(t *testing.T) {
	s := newSite(t, "records", "")
	s.reg.haveAll(t)
	s.start(t)
	rows := slices.Concat(corpus(t), cutOff(), jsonRows(), aroundRows(), framings(t), envelopes(), tombstones())
	t.Run("rows", func(t *testing.T) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				if onlyKfake[row.name] && cluster == nil {
					leftOut.Add(1)
					t.Skip("the broker does not take it")
				}
				t.Parallel()
				s.try(t, row)
			})
		}
		t.Run("fat customer", func(t *testing.T) {
			t.Parallel()
			s.tryFat(t)
		})
	})
	for _, b := range batches(t) {
		t.Run("batch/"+b.name, func(t *testing.T) { s.tryBatch(t, b) })
	}
	t.Run("batch/20,000 ordinary events", s.tryLarge)
	s.end(t)
	classes.Add(int64(len(rows) + len(batches(t)) + 2))
}

func (s *site) try(t *testing.T, row row) {
	l := row.send()
	rs := make([]*kgo.Record, len(l))
	for i := range l {
		rs[i] = l[i].Record
	}
	s.produce(t, rs...)
	heard := s.sing(t)
	for _, m := range l {
		if m.cause != "" {
			s.dead(t, m.Record, m.cause)
		} else {
			s.entered(t, string(m.Key), m.segment, 2*soon)
		}
	}
	heard()
}

// tryFat sends more of a customer than a record can hold: dead letters, each for
// itself, and nobody waits.
func (s *site) tryFat(t *testing.T) {
	large := strings.Repeat("y", 30<<10)
	for p := range int32(partitions) {
		id := customer("fat", p)
		for i := range fatAttributes {
			s.produce(t, event("web", p, id, fmt.Sprintf(`,"name":"n","attributes":{"a%d":%q}`, i, large)))
		}
		s.produce(t, event("web", p, id, `,"name":"n","attributes":{"a0":"x"}`)) // makes room
		heard := s.sing(t)
		s.entered(t, id, "fat0", 2*soon)
		heard()
	}
	eventually(t, soon, "dead letters of fat customers", func() bool {
		s.out.mu.Lock()
		defer s.out.mu.Unlock()
		for _, h := range s.out.dead {
			if h["dlq.cause"] == "customer_size" {
				return true
			}
		}
		return false
	})
}

// corpus are the records of schemas/testdata/bad.txtar.
func corpus(t *testing.T) (l []row) {
	t.Helper()
	a, err := txtar.ParseFile("../../schemas/testdata/bad.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range a.Files {
		parts := strings.Fields(strings.SplitN(f.Name, ":", 2)[0])
		value := bytes.TrimSuffix(f.Data, []byte("\n"))
		if h, ok := bytes.CutPrefix(value, []byte("hex ")); ok {
			if value, err = hex.DecodeString(strings.ReplaceAll(string(h), " ", "")); err != nil {
				t.Fatal(err)
			}
		}
		l = append(l, dead("corpus/"+f.Name, parts[1], parts[0], value, nobody))
	}
	return l
}

// cutOff is one class: an event cut off at each byte.
func cutOff() []row {
	return []row{{"cut off at every byte", func() (l []sent) {
		good := event("web", 0, customer("cut", 0), `,"name":"page_viewed"`)
		for i := range len(good.Value) {
			l = append(l, sent{Record: &kgo.Record{Topic: "web", Partition: int32(i % partitions), Key: []byte("k"), Value: good.Value[:i]}, cause: "format"})
		}
		return l
	}}, {"a bit flipped in every byte", func() (l []sent) {
		// Whatever is flipped, it is a dead letter or another event; a brace is neither.
		good := event("web", 0, "x", "")
		for _, i := range []int{0, len(good.Value) - 1} {
			for bit := range 8 {
				v := slices.Clone(good.Value)
				v[i] ^= 1 << bit
				l = append(l, sent{Record: &kgo.Record{Topic: "web", Partition: int32(bit % partitions), Key: []byte("k"), Value: v}, cause: "format"})
			}
		}
		return l
	}}}
}

func jsonRows() []row {
	now := time.Now().UnixMilli()
	with := func(more string) []byte {
		return fmt.Appendf(nil, `{"event_id":"e","customer_id":"c","occurred_at":%d,"name":"n"%s}`, now, more)
	}
	deep := func(n int, open, end string) string {
		return `,"z":` + strings.Repeat(open, n) + "1" + strings.Repeat(end, n)
	}
	x := func(n int) string { return strings.Repeat("x", n) }
	keys := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"k%d":0`, i)
		}
		return b.String()
	}
	return []row{
		dead("json/deep arrays", "format", "web", with(deep(100_000, "[", "]"))),
		dead("json/deep objects", "format", "web", with(deep(100_000, `{"a":`, "}"))),
		dead("json/deep and never closed", "format", "web", []byte(strings.Repeat(`{"a":`, 150_000))),
		dead("json/many keys", "format", "web", with(keys(60_000))),
		fine("json/a text of 600 KiB", "web", "browsing", `,"name":"n","referrer":"`+x(10)+`","attributes":{"plan":"`+x(600<<10)+`"}`),
		dead("json/an id of 500 KiB", "identity", "web", fmt.Appendf(nil, `{"event_id":"e","customer_id":%q,"occurred_at":%d,"name":"n"}`, x(500<<10), now)),
		dead("json/larger than a record may be", "size", "web", with(strings.Repeat(" ", 1<<20))),
		dead("json/a mebibyte of blanks", "format", "web", bytes.Repeat([]byte(" "), 1<<20)),
		fine("json/a name of 100,000 bytes", "web", "browsing", `,"name":"`+x(100_000)+`"`),
		dead("json/the byte order mark of UTF-8", "format", "web", append([]byte("\xef\xbb\xbf"), with("")...)),
		dead("json/UTF-16, little", "format", "web", utf16(with(""), binary.LittleEndian)),
		dead("json/UTF-16, big, which begins as Avro does", "schema", "web", utf16(with(""), binary.BigEndian)),
		fine("json/half a surrogate pair", "web", "browsing", `,"name":"n\ud800","z":"\ud800"`),
		fine("json/a surrogate pair the wrong way", "web", "browsing", `,"name":"\udc00\ud800"`),
		dead("json/half a surrogate pair in the customer", "identity", "web", fmt.Appendf(nil, `{"event_id":"e","customer_id":"c\ud800","occurred_at":%d,"name":"n"}`, now)),
		fine("json/a key twice", "web", "viewer", `,"name":"n","name":"page_viewed"`),
		fine("json/a key twice, escaped", "web", "viewer", `,"name":"n","n\u0061me":"page_viewed"`),
		dead("json/the customer twice", "format", "web", with(`,"customer_id":"d"`)),
		dead("json/the customer twice, escaped", "format", "web", with(`,"c\u0075stomer_id":"d"`)),
		dead("json/two values", "format", "web", append(with(""), with("")...)),
		dead("json/lines", "format", "web", append(append(with(""), '\n'), with("")...)),
		fine("json/an amount of 500,000 digits", "purchase", "canary", `,"revenue":1`+strings.Repeat("1", 500_000)),
		fine("json/amount of 1e400", "purchase", "canary", `,"revenue":1e400`),
		fine("json/amount of 1e15", "purchase", "canary", `,"revenue":1e15`),
		dead("json/10,001 elements that nobody reads", "size", "web", with(`,"z":[`+strings.Repeat("0,", 10_000)+`0]`)),
		dead("json/a time of 9e18", "range", "web", []byte(`{"event_id":"e","customer_id":"c","occurred_at":9000000000000000000,"name":"n"}`)),
		dead("json/a time of -1e18", "range", "web", []byte(`{"event_id":"e","customer_id":"c","occurred_at":-1000000000000000000,"name":"n"}`)),
		dead("json/a time a year ahead", "future", "web", fmt.Appendf(nil, `{"event_id":"e","customer_id":"c","occurred_at":%d,"name":"n"}`, now+365*86_400_000)),
		dead("json/0x00 in the customer", "identity", "web", fmt.Appendf(nil, `{"event_id":"e","customer_id":"c\u0000","occurred_at":%d,"name":"n"}`, now)),
		fine("json/escapes in an id", "web", "browsing", `,"name":"\u0070age"`),
		fine("json/unknown fields", "web", "browsing", `,"name":"n","nobody":{"reads":["this",1e9,null]}`),
		fine("json/an amount of many digits", "purchase", "canary", `,"revenue":12.00000000000`),
		fine("json/as deep as may be", "web", "browsing", `,"name":"n","z":`+strings.Repeat("[", 30)+strings.Repeat("]", 30)),
		fine("json/blanks", "web", "browsing", strings.Repeat(" ", 1000)+`,"name" : "n"`),
		fine("json/an emoji in two halves", "web", "browsing", `,"name":"\ud83d\ude00"`),
	}
}

func utf16(b []byte, order binary.ByteOrder) (l []byte) {
	for _, c := range b {
		var two [2]byte
		order.PutUint16(two[:], uint16(c))
		l = append(l, two[:]...)
	}
	return l
}

// aroundRows are records that are odd by what is around their value.
func aroundRows() []row {
	headers := func(n int, key string, value []byte) func(*kgo.Record) {
		return func(r *kgo.Record) {
			for range n {
				r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: value})
			}
		}
	}
	keyed := func(key []byte) func(*kgo.Record) { return func(r *kgo.Record) { r.Key = key } }
	large := bytes.Repeat([]byte("x"), 950<<10)
	odd := `,"name":"page_viewed"`
	return []row{
		dead("around/no key, no value", "format", "web", nil, keyed(nil)),
		dead("around/no value", "format", "web", nil),
		dead("around/an empty value", "format", "web", []byte{}),
		dead("around/a large key", "format", "web", []byte("{"), keyed(large)),
		dead("around/a large value", "format", "web", large),
		dead("around/5,000 headers", "format", "web", []byte("{"), headers(5_000, "h", []byte{0xff, 0})),
		dead("around/100,000 headers", "format", "web", []byte("{"), headers(100_000, "", nil)),
		dead("around/a large header", "format", "web", []byte("{"), headers(1, "h", large)),
		dead("around/headers that are not UTF-8", "format", "web", []byte("{"), headers(2, "\xff\xfe", nil)),
		dead("around/headers of dead letters", "format", "web", []byte("{"), headers(1, "dlq.cause", []byte("mine"))),
		dead("around/headers of forwarding", "format", "web", []byte("{"), headers(1, "segmill.topic", []byte("nosuch"))),
		fine("around/5,000 headers of a good one", "web", "viewer", odd, headers(5_000, "h", []byte{0xff, 0})),
		fine("around/a time of 1970", "web", "viewer", odd, func(r *kgo.Record) { r.Timestamp = time.Unix(1, 0) }),
		fine("around/a time of 2099", "web", "viewer", odd, func(r *kgo.Record) { r.Timestamp = time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC) }),
		{"around/another key than the customer", func() (l []sent) {
			for p := range int32(partitions) {
				r := event("web", (p+1)%partitions, customer("astray", p), odd)
				l = append(l, sent{Record: r, segment: "viewer"})
			}
			return l
		}},
		{"around/the same event ten times", func() (l []sent) {
			r := event("web", 0, customer("ten", 0), odd)
			for range 10 {
				again := *r
				l = append(l, sent{Record: &again, segment: "viewer"})
			}
			return l
		}},
	}
}

// framings are Avro records that are not what their head says.
func framings(t *testing.T) []row {
	good := avro(t, plan.Web, 1, "c")
	var cut, flipped []sent
	for i := range 8 {
		for p := range int32(partitions) {
			cut = append(cut, sent{Record: &kgo.Record{Topic: "web", Partition: p, Key: []byte("k"), Value: good[:5+i]}, cause: "decode"})
		}
	}
	for _, magic := range []byte{1, 2, 0x7f, 0x80, 0xff} {
		v := slices.Clone(good)
		v[0] = magic
		flipped = append(flipped, sent{Record: &kgo.Record{Topic: "web", Partition: int32(magic % partitions), Key: []byte("k"), Value: v}, cause: "format"})
	}
	as := func(id uint32) []byte {
		v := slices.Clone(good)
		binary.BigEndian.PutUint32(v[1:], id)
		return v
	}
	return []row{
		{"avro/cut off", func() []sent { return cut }},
		{"avro/another magic byte", func() []sent { return flipped }},
		dead("avro/bytes behind the end", "decode", "web", append(slices.Clone(good), 1, 2, 3)),
		dead("avro/an unknown id", "schema", "web", as(1<<31-1)),
		dead("avro/an id below 0", "schema", "web", as(1<<31)),
		dead("avro/of another stream", "schema", "web", as(3)),
		dead("avro/a block of 2^62", "decode", "web", append(slices.Clone(good[:5]), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)),
		{"avro/good", func() (l []sent) {
			for p := range int32(partitions) {
				id := customer("avro", p)
				l = append(l, sent{Record: &kgo.Record{Topic: "web", Partition: p, Key: []byte(id), Value: avro(t, plan.Web, 1, id)}, segment: "viewer"})
			}
			return l
		}},
	}
}

// avro returns an event with the schema id.
func avro(t *testing.T, s plan.Stream, id int, customer string) []byte {
	var ids [plan.NumBuiltin]int
	ids[s] = id
	t.Helper()
	b, err := schemas.NewEventEncoder(schemas.Avro, ids).Append(nil, s, map[string]any{
		"event_id": fmt.Sprint("a", customers.Add(1)), "customer_id": customer, "occurred_at": time.Now(), "name": "page_viewed",
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// envelopes are CloudEvents and messages of Segment.
func envelopes() []row {
	now := time.Now().UTC().Format(time.RFC3339)
	cloud := func(data string) []byte {
		return fmt.Appendf(nil, `{"specversion":"1.0","id":"i","source":"/s","type":"t","time":%q,"subject":"c","data":%s}`, now, data)
	}
	segment := func(typ, more string) []byte {
		return fmt.Appendf(nil, `{"type":%q,"messageId":"m","timestamp":%q%s}`, typ, now, more)
	}
	return []row{
		dead("cloudevents/data is a text", "format", "web", cloud(`"e30="`)),
		dead("cloudevents/data is an array", "format", "web", cloud(`[]`)),
		dead("cloudevents/cut off", "format", "web", cloud(`{"name":"n"`)),
		dead("segment/nobody", "identity", "web", segment("track", `,"event":"E"`), nobody),
		dead("segment/no event", "missing", "web", segment("track", `,"userId":"c"`)),
		dead("segment/the user is a list", "identity", "web", segment("page", `,"userId":[7]`)),
	}
}

// tombstones are those that would erase somebody who does not exist.
func tombstones() []row {
	var l []row
	for name, key := range map[string]string{
		"JSON": `{"id":"c1"}`, "Debezium": `{"schema":{"type":"struct"},"payload":{"customer_id":"c1"}}`, "an array": `["c1"]`, "quotes": `"c1"`,
		"single quotes": `'c1'`, "a structure of Connect": `Struct{id=c1}`, "a byte order mark": "\ufeffc1", "blanks": " c1 ", "a line end": "c1\r\n", "a tab": "c1\t",
		"a control character": "c\x1b1", "Avro": "\x00\x00\x00\x00\x07\x04c1", "a long in bytes": "\x00\x00\x00\x00\x00\x00\x00\x2a", "UTF-16": "\xff\xfec\x001\x00",
		"0x00": "a\x00b", "no UTF-8": "a\xff", "2,000 bytes": strings.Repeat("x", 2_000), "none": "",
	} {
		l = append(l, dead("tombstone/"+name, "identity", "profile", nil, func(r *kgo.Record) {
			if r.Key = []byte(key); key == "" {
				r.Key = nil
			}
		}))
	}
	return append(l, row{"tombstone/of a customer", func() (l []sent) {
		for p := range int32(partitions) {
			l = append(l, sent{Record: &kgo.Record{Topic: "profile", Partition: p, Key: []byte(customer("gone", p))}, segment: "erased"})
		}
		return l
	}})
}
