package jsontext

import (
	"bytes"
	"encoding/json"
	"math/rand"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// scanAny reads a value with the scanner as encoding/json would with UseNumber.
func scanAny(s *Scanner) (any, error) {
	switch s.Peek() {
	case '{':
		m := map[string]any{}
		o, err := s.Object()
		for err == nil {
			var k []byte
			var ok bool
			if k, ok, err = s.Key(&o); err != nil || !ok {
				return m, err
			}
			key := string(k)
			m[key], err = scanAny(s)
		}
		return nil, err
	case '[':
		l := []any{}
		a, err := s.Array()
		for err == nil {
			var ok bool
			if ok, err = s.Elem(&a); err != nil || !ok {
				return l, err
			}
			var v any
			v, err = scanAny(s)
			l = append(l, v)
		}
		return nil, err
	case '"':
		b, err := s.Text()
		return string(b), err
	case 't':
		return true, s.Skip()
	case 'f':
		return false, s.Skip()
	case 'n':
		return nil, s.Skip()
	}
	b, err := s.Number()
	return json.Number(b), err
}

// hasTwins reports whether an object in valid JSON has a key twice.
func hasTwins(d *json.Decoder) bool {
	tok, err := d.Token()
	if err != nil {
		return false
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return false
	}
	twins, seen := false, map[string]bool{}
	for d.More() {
		if delim == '{' {
			k, _ := d.Token()
			twins = twins || seen[k.(string)]
			seen[k.(string)] = true
		}
		twins = hasTwins(d) || twins
	}
	_, _ = d.Token()
	return twins
}

// checkAgainstStdlib fails if the scanner and encoding/json differ in anything but
// what the scanner refuses on purpose.
func checkAgainstStdlib(t *testing.T, b []byte) {
	t.Helper()
	checkExact(t, b)
	s := Scanner{b: b, maxDepth: 64}
	err := s.Skip()
	if err == nil {
		err = s.End()
	}
	switch {
	case !json.Valid(b):
		if err == nil {
			t.Errorf("accepted, and is not JSON: %q", b)
		}
	case err != nil:
		if !strings.Contains(err.Error(), "nested") {
			t.Errorf("refused with %v: %q", err, b)
		}
	case (s.Doubled() > 0) != hasTwins(json.NewDecoder(bytes.NewReader(b))):
		t.Errorf("%d objects with a key twice: %q", s.Doubled(), b)
	case utf8.Valid(b):
		checkValue(t, b)
	}
}

// checkExact is checkAgainstStdlib for a text that must be exact.
func checkExact(t *testing.T, b []byte) {
	t.Helper()
	err := Check(b, 64)
	if !json.Valid(b) {
		if err == nil {
			t.Errorf("accepted, and is not JSON: %q", b)
		}
		return
	}
	twins := hasTwins(json.NewDecoder(bytes.NewReader(b)))
	if err != nil {
		if utf8.Valid(b) && !twins && !strings.Contains(err.Error(), "surrogate") && !strings.Contains(err.Error(), "nested") {
			t.Errorf("refused with %v: %q", err, b)
		}
	} else if twins {
		t.Errorf("accepted with a key twice: %q", b)
	}
}

// checkValue fails if the values that are read differ.
func checkValue(t *testing.T, b []byte) {
	t.Helper()
	s := Scanner{b: b, maxDepth: 64}
	got, err := scanAny(&s)
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var want any
	if derr := d.Decode(&want); err != nil || derr != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q: got %#v, %v; want %#v, %v", b, got, err, want, derr)
	}
}

var jsonSeeds = []string{
	`{}`, `[]`, `""`, `0`, `-0.5e+10`, `true`, `null`, ` { "a" : [ 1 , "x" , { } ] } `, `"\ud83d\ude00\u00e9\n\/"`,
	`"\ud83d"`, `"\ud83d\ud83d\ude00x\ude00\n"`, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `[1,]`, `{"a":1,}`, `01`, `1.`, `+1`, `nul`, "\"\x01\"", "\"\xff\"", `"é"`, `{"items":[{"price":"1.50","quantity":2}],"kind":null}`,
}

func TestScannerAgainstStdlib(t *testing.T) {
	for _, s := range jsonSeeds {
		checkAgainstStdlib(t, []byte(s))
	}
	const alphabet = `{}[]",:\ud830truefalsn0123456789.eE+- ` + "\n\xc3\xa9"
	for seed := range int64(20_000) {
		g := rand.New(rand.NewSource(seed))
		b := []byte(jsonSeeds[g.Intn(len(jsonSeeds))])
		for range 1 + g.Intn(3) {
			c := alphabet[g.Intn(len(alphabet))]
			switch i := g.Intn(len(b) + 1); {
			case i == len(b) || g.Intn(3) == 0:
				b = append(b[:i:i], append([]byte{c}, b[i:]...)...)
			case g.Intn(2) == 0:
				b = append(b[:i:i], b[i+1:]...)
			default:
				b[i] = c
			}
		}
		if checkAgainstStdlib(t, b); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func TestAsIs(t *testing.T) {
	for seed := range int64(20_000) {
		g := rand.New(rand.NewSource(seed))
		b := make([]byte, g.Intn(30))
		for i := range b {
			b[i] = "aaaaaaaaaaaa !#[]^\x7f\x80\xa2\xdc\xff\x1f\x00\n\"\\"[g.Intn(27)]
		}
		want := 0
		for want < len(b) && b[want] != '"' && b[want] != '\\' && b[want] >= ' ' {
			want++
		}
		if got := asIs(b); got != want {
			t.Fatalf("seed %d: %q: %d, want %d", seed, b, got, want)
		}
	}
}

// FuzzScanner: the scanner agrees with encoding/json on what is JSON.
func FuzzScanner(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkAgainstStdlib(t, b) })
}
