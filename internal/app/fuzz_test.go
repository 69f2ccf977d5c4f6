package app

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzConfig: whatever the file holds and the environment says, ParseConfig ends
// soon, and what is wrong has a place in the file.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(least), "x")
	f.Add([]byte("app: ${A}\nrules: &r [a, \"${A}/b\"]\nkafka:\n  brokers: *r\n  tls: {ca: x}\n  sasl: {mechanism: plain, user: u, password: ${A}}\ncommit_interval: 1h30m\n"), "7d")
	f.Add([]byte("a: &a [1,1]\nb: &b [*a,*a]\nc: &c [*b,*b]\nrules: [*c,*c]\n"), "")
	f.Add([]byte("&a app: *a\n<<: {grace: 1s}\n? [x]\n: y\ntopics: {create: {partitions: 99999999999}}\n"), "")
	f.Fuzz(func(t *testing.T, b []byte, value string) {
		start := time.Now()
		c, err := ParseConfig(b, func(string) (string, bool) { return value, value != "" })
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%d bytes took %v", len(b), took)
		}
		if err == nil {
			if c.App == "" || len(c.Rules) == 0 || len(c.Kafka.Brokers) == 0 {
				t.Errorf("incomplete: %+v", c)
			}
			return
		}
		var l ConfigErrors
		if !errors.As(err, &l) || len(l) == 0 {
			t.Fatalf("error is a %T", err)
		}
		for _, e := range l {
			if e.Line < 0 || e.Line > strings.Count(string(b), "\n")+strings.Count(string(b), "\r")+1 {
				t.Errorf("no such line: %v in %q", e, b)
			}
		}
		if utf8.Valid(b) && utf8.ValidString(value) && !utf8.ValidString(err.Error()) {
			t.Errorf("message %q", err)
		}
	})
}
