package app

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// everyKey sets every key of the configuration to something that is not its default.
const everyKey = `
app: shop
rules: [rules]
state: elsewhere
kafka:
  brokers: [b]
  tls: {ca: ca.pem, cert: cert.pem, key: key.pem}
  sasl: {mechanism: plain, user: u, password: p}
  session_timeout: 11s
registry: {url: "http://r", user: u, password: p}
topics:
  web: w
  email: e
  purchase: p
  profile: r
  consent: c
  changes: ch
  triggers: tr
  create: {partitions: 3, replication: 2}
inputs: [{topic: till, stream: purchase}]
output: {format: json, compression: lz4, headers: ids}
commit_interval: 200ms
grace: 3s
silence_grace: 30s
clock: events
max_future_skew: 6m
max_merge_wait: 11s
max_open_transaction: 20m
max_clock_jump: 2h
skip_deleted: true
delivery: at_least_once
standby: 1
dead_letter: {payload: hash, key_file: dlq.key}
http: ""
log: debug
`

const (
	oneValue = "must be a single value, not a list or keys"
	aNumber  = "bit integer"
	aLength  = "is not a duration such as 100ms, 30m or 45d"
)

// wrongValues holds, for every key, a value that it can't have, and what is said of
// it.
var wrongValues = map[string]struct{ value, want string }{
	"inputs":                    {"x", "must be a list, such as [a, b]"},
	"app":                       {"a b", "a name of letters, digits"},
	"rules":                     {"rules", "must be a list, such as [a, b]"},
	"state":                     {`""`, "required: a directory"},
	"kafka.brokers":             {"b", "must be a list, such as [a, b]"},
	"kafka.tls.ca":              {"[x]", oneValue},
	"kafka.tls.cert":            {"{x: y}", oneValue},
	"kafka.tls.key":             {"[x]", oneValue},
	"kafka.sasl.mechanism":      {"x", "must be plain, scram-sha-256 or scram-sha-512"},
	"kafka.sasl.user":           {`""`, "required with kafka.sasl"},
	"kafka.sasl.password":       {`""`, "required with kafka.sasl"},
	"kafka.session_timeout":     {"10", aLength},
	"registry.url":              {"r", "must be an address such as http://localhost:8081"},
	"registry.user":             {"[x]", oneValue},
	"registry.password":         {"[x]", oneValue},
	"topics.web":                {"[x]", oneValue},
	"topics.email":              {"w", "w is already used by topics.web"},
	"topics.purchase":           {"w", "w is already used by topics.web"},
	"topics.profile":            {"w", "w is already used by topics.web"},
	"topics.consent":            {"w", "w is already used by topics.web"},
	"topics.changes":            {`""`, "an output needs a topic"},
	"topics.triggers":           {`""`, "an output needs a topic"},
	"topics.create.partitions":  {"2.5", aNumber},
	"topics.create.replication": {"40000", aNumber},
	"output.format":             {"xml", "must be avro or json"},
	"output.compression":        {"brotli", "must be none, gzip, snappy, lz4 or zstd"},
	"output.headers":            {"all", "must be cloudevents, ids or none"},
	"commit_interval":           {"6s", "6s is not between 1ms and 5s"},
	"grace":                     {"soon", aLength},
	"silence_grace":             {"1s", "1s is shorter than grace (3s)"},
	"clock":                     {"moon", "must be wall or events"},
	"max_future_skew":           {"-1m", aLength},
	"max_merge_wait":            {"1", aLength},
	"max_open_transaction":      {"1", aLength},
	"max_clock_jump":            {"true", aLength},
	"skip_deleted":              {"yes", `"yes" is neither true nor false`},
	"delivery":                  {"once", "must be exactly_once or at_least_once"},
	"standby":                   {"one", aNumber},
	"dead_letter.payload":       {"none", "must be original or hash"},
	"dead_letter.key_file":      {"[x]", oneValue},
	"http":                      {"[x]", oneValue},
	"log":                       {"loud", "must be debug, info, warn or error"},
}

// leaves calls f with the path of every key that has a value, and where it stands in
// each of l, which are of one type.
func leaves(path string, f func(path string, l []reflect.Value), l ...reflect.Value) {
	t := l[0].Type()
	switch {
	case t.Kind() == reflect.Pointer:
		in := make([]reflect.Value, len(l))
		for i, v := range l {
			if in[i] = v.Elem(); v.IsNil() {
				in[i] = reflect.New(t.Elem()).Elem()
			}
		}
		leaves(path, f, in...)
	case t.Kind() == reflect.Struct:
		for i, key := range keys(t) {
			in := make([]reflect.Value, len(l))
			for j, v := range l {
				in[j] = v.Field(i)
			}
			leaves(strings.TrimPrefix(path+"."+key, "."), f, in...)
		}
	default:
		f(path, l)
	}
}

// with returns everyKey with another value of one key.
func with(t *testing.T, path, value string) []byte {
	t.Helper()
	var root, v yaml.Node
	for text, n := range map[string]*yaml.Node{everyKey: &root, value: &v} {
		if err := yaml.Unmarshal([]byte(text), n); err != nil {
			t.Fatal(err)
		}
	}
	at := root.Content[0]
	for key := range strings.SplitSeq(path, ".") {
		i := slices.IndexFunc(at.Content, func(n *yaml.Node) bool { return n.Value == key })
		if i < 0 {
			t.Fatalf("everyKey does not set %s", path)
		}
		at = at.Content[i+1]
	}
	*at = *v.Content[0]
	b, err := yaml.Marshal(&root)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEveryKey(t *testing.T) {
	c, err := ParseConfig([]byte(everyKey), env())
	if err != nil {
		t.Fatal(err)
	}
	known := maps.Clone(wrongValues)
	defaults := DefaultConfig()
	leaves("", func(path string, l []reflect.Value) {
		if got, without := fmt.Sprintf("%#v", l[0]), fmt.Sprintf("%#v", l[1]); got == without && l[0].Type() != reflect.TypeFor[Secret]() {
			t.Errorf("%s: everyKey does not set it, or it is not read: %s", path, got)
		}
		x, ok := known[path]
		if !ok {
			t.Errorf("%s: a new key needs a line in wrongValues", path)
			return
		}
		delete(known, path)
		_, err := ParseConfig(with(t, path, x.value), env())
		if err == nil || !strings.Contains(err.Error(), path+": ") || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %s\ngot  %v\nwant %s", path, x.value, err, x.want)
		}
		for _, value := range []string{"{a: [b]}", "[[a]]", "null", "'${NO}'", "true", "-9999999999999999999", `"\0"`, "!!binary aGk="} {
			_, err := ParseConfig(with(t, path, value), env()) // whatever comes of it, it is no panic
			if err != nil && strings.Contains(err.Error(), "cannot be set in a file") {
				t.Errorf("%s: %v", path, err)
			}
		}
	}, reflect.ValueOf(*c), reflect.ValueOf(defaults))
	for path := range known {
		t.Errorf("%s: wrongValues names a key that there is not", path)
	}
	if c.Kafka.SASL.Password != "p" || c.Registry.Password != "p" {
		t.Error("a password is not read")
	}
}

func TestTruthValues(t *testing.T) {
	for value, want := range map[string]string{
		"true": "true", "false": "false", `"true"`: "true", "${ON}": "true",
		"yes": "", "on": "", "True": "", "1": "", "0": "", `""`: "", "t": "", "${EMPTY}": "",
	} {
		c, err := ParseConfig([]byte(least+"skip_deleted: "+value+"\n"), env("ON", "true", "EMPTY", ""))
		switch {
		case want == "" && (err == nil || !strings.Contains(err.Error(), "skip_deleted: ") || !strings.Contains(err.Error(), "is neither true nor false")):
			t.Errorf("%s: error %v", value, err)
		case want != "" && (err != nil || fmt.Sprint(c.SkipDeleted) != want):
			t.Errorf("%s: %v, error %v", value, c, err)
		}
	}
}
