package schemas

import (
	"strings"
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/encode"
)

// A tombstone whose key holds an id in something, as change data capture and
// spreadsheets write it, erases nobody; it is a dead letter. With the header, the
// key is an id however it looks.
func TestTombstoneKeys(t *testing.T) {
	r := readerOf(t, nil, nil)
	read := func(key string, h ...Header) (string, error) {
		var ev engine.Event
		res, err := r.Read(&Record{Topic: "events.profile", Key: []byte(key), Time: 99, Headers: h}, &ev)
		if err == nil && res != IsTombstone {
			t.Errorf("%q: result %v", key, res)
		}
		return ev.Customer, err
	}
	always := []Header{{HeaderErase, []byte(EraseLiteral)}}
	for _, key := range []string{
		`{"id":"c1"}`, `{"schema":{"type":"struct"},"payload":{"customer_id":"c1"}}`, `["c1"]`, `"c1"`, `"c1`, `c1"`, `'c1'`, `Struct{id=c1}`, `{}`,
		"\ufeffc1", "c1 ", " c1", "c1\t", "c1\r", "c1\n", "\u00a0c1", "c\x1b1", "c\n1", " ",
	} {
		_, err := read(key)
		wantBad(t, err, bad.Identity, "key")
		if err != nil && strings.Contains(err.Error(), "c1") {
			t.Errorf("%q: the error has the key: %v", key, err)
		}
		if got, err := read(key, always...); err != nil || got != key {
			t.Errorf("%q, literally: %q, %v", key, got, err)
		}
		if _, err := read(key, Header{HeaderErase, []byte("yes")}); err == nil {
			t.Errorf("%q is taken with another header", key)
		}
	}
	// Avro and numbers in bytes.
	for _, key := range []string{"\x00\x00\x00\x00\x07\x04c1", "\xc3\x01abcdefgh\x04c1", "\x00\x00\x00\x00\x00\x00\x00\x2a", "\xff\xfec\x001\x00"} {
		for _, h := range [][]Header{nil, always} {
			_, err := read(key, h...)
			wantBad(t, err, bad.Identity, "key")
		}
	}
	for _, key := range []string{
		"c1", "42", "anon:x y", "O'Brien", "a,b", `a"b`, "cn=Anna,dc=example", "{x", "x}", "c1'", "日本", "anna@example.com", "f47ac10b-58cc-4372-a567-0e02b2c3d479",
	} {
		if got, err := read(key); err != nil || got != key {
			t.Errorf("%q: %q, %v", key, got, err)
		}
	}
}

// A receipt says in either format whether the customer was known; one of version
// 0.1.0 says nothing.
func TestReceipts(t *testing.T) {
	r, err := NewReceipts()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []encode.Format{encode.Avro, encode.JSON} {
		enc := encoderOf(t, f)
		for _, known := range []bool{true, false} {
			b := outputOf(enc, &engine.Effect{Action: engine.Erased, Customer: "c1", At: 5, Cause: engine.CauseErasure, Known: known})
			if got, said := r.Known(b); got != known || !said {
				t.Errorf("format %d: %v, %v, want %v", f, got, said, known)
			}
			old := b[:len(b)-2] // without the last field
			if f == encode.JSON {
				old = []byte(`{"action":"erased"}`)
			}
			if _, said := r.Known(old); said {
				t.Errorf("format %d: an old receipt says something", f)
			}
		}
		if _, said := r.Known(outputOf(enc, &engine.Effect{Action: engine.Exited, Customer: "c1"})); said {
			t.Errorf("format %d: an exit says something", f)
		}
	}
}

// outputOf returns the value of an effect's record.
func outputOf(enc *encode.Encoder, e *engine.Effect) []byte {
	var o encode.Output
	enc.Append(nil, &o, e, 7)
	return o.Value
}
