package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/segmill/segmill/internal/console"
)

// least is the shortest configuration that is valid.
const least = "app: shop\nrules: [rules]\nkafka: {brokers: [b]}\n"

func env(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func TestConfigDefaults(t *testing.T) {
	c, err := ParseConfig([]byte(least), env())
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	want.App, want.Rules, want.Kafka.Brokers, want.Output.Format = "shop", []string{"rules"}, []string{"b"}, "json"
	c.lines = nil
	if got, want := fmt.Sprintf("%+v", *c), fmt.Sprintf("%+v", want); cut(got) != cut(want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if *c.HTTP != "127.0.0.1:9600" || time.Duration(c.Grace) != 2*time.Second || c.Clock != "wall" {
		t.Errorf("%+v", c)
	}
}

// cut removes the address of the pointer HTTP.
func cut(s string) string {
	before, after, _ := strings.Cut(s, "HTTP:")
	_, after, _ = strings.Cut(after, " ")
	return before + after
}

func TestConfigValues(t *testing.T) {
	c, err := ParseConfig([]byte(`
app: ${APP}-1
rules: &r [a, "${DIR}/b"]
state: x
kafka:
  brokers: *r
  session_timeout: ${TIMEOUT}
  tls: {}
  sasl: {mechanism: plain, user: 12, password: "${PASSWORD}"}
registry: {url: "https://registry:8081"}
topics: {web: "", create: {partitions: "${PARTITIONS}"}}
grace: 1h30m
http: ""
`), env("APP", "shop", "DIR", "/r", "TIMEOUT", "45s", "PASSWORD", "p: #{$", "PARTITIONS", "32"))
	if err != nil {
		t.Fatal(err)
	}
	for name, ok := range map[string]bool{
		"app": c.App == "shop-1", "rules": c.Rules[1] == "/r/b", "brokers": c.Kafka.Brokers[0] == "a",
		"session_timeout": time.Duration(c.Kafka.SessionTimeout) == 45*time.Second,
		"tls":             c.Kafka.TLS != nil, "user": c.Kafka.SASL.User == "12", "password": c.Kafka.SASL.Password == "p: #{$",
		"format": c.Output.Format == "avro", "web": len(c.InputTopics()) == 4, "create": *c.Topics.Create == CreateConfig{Partitions: 32},
		"grace": time.Duration(c.Grace) == 90*time.Minute, "http": *c.HTTP == "",
	} {
		if !ok {
			t.Errorf("%s is wrong in %+v", name, *c)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for _, x := range []struct{ yaml, want string }{
		{"[]", "1: the configuration: must have keys with values, such as app: …"},
		{"app: [", "yaml: line 2: did not find expected node content"},
		{"", "rules: name at least one rule file or directory, such as `rules: [rules]`"},
		{least + "grase: 2s", "4: grase: unknown key; did you mean grace?"},
		{least + "frobnicate: 2s", "4: frobnicate: unknown key; known here: app, rules, state,"},
		{least + "brokers: [b]", "4: brokers: unknown key; did you mean kafka.brokers?"},
		{least + "output: {grace: 1s}", "4: output.grace: unknown key here: grace belongs at the top level"},
		{least + "grace: 2s\ngrace: 3s", "5: grace: duplicate key"},
		{least + "grace:", "4: grace: no value: set one ({} for defaults only), or remove the key"},
		{least + "grace: 2", `4: grace: "2" is not a duration such as 100ms, 30m or 45d`},
		{least + "grace: [2s]", "4: grace: must be a single value, not a list or keys"},
		{least + "output: avro", "4: output: must have keys with values, such as format: …"},
		{least + "output: {format: avro}", "4: output.format: avro needs a schema registry: set registry.url, or format: json"},
		{least + "output: {format: xml}", `4: output.format: must be avro or json, not "xml"`},
		{least + "topics: {create: {partitions: x}}", `4: topics.create.partitions: "x" is not a 32-bit integer`},
		{least + "topics: {create: {replication: 70000}}", `4: topics.create.replication: "70000" is not a 16-bit integer`},
		{least + "topics: {create: {partitions: -1}}", "4: topics.create.partitions: must not be negative"},
		{least + "topics: {web: x, email: x}", "4: topics.email: x is already used by topics.web: each needs a topic of its own"},
		{least + "topics: {changes: \"\"}", "4: topics.changes: an output needs a topic"},
		{least + `topics: {web: "", email: "", purchase: "", profile: "", consent: ""}`, "4: topics: name at least one input: web, email, purchase, profile or consent"},
		{least + "http: 9600", `4: http: "9600" is no address with a port: write 127.0.0.1:9600`},
		{least + "http: 'localhost:http'", `4: http: "localhost:http" is no address with a port`},
		{"app: a\nrules: [r]\nkafka:\n  brokers:\n    - b\n    - http://localhost:9092", "6: kafka.brokers[1]: a broker is a host and a port, without http://: write localhost:9092"},
		{"app: a\nrules: [r]\nkafka: {brokers: ['sasl://me:s3cret@k:9092']}", "3: kafka.brokers[0]: a broker is a host and a port, without sasl://: write k:9092"},
		{least + "state: ''", "4: state: required: a directory"},
		{least + "clock: moon", `4: clock: must be wall or events, not "moon"`},
		{least + "log: loud", `4: log: must be debug, info, warn or error, not "loud"`},
		{least + "dead_letter: {payload: none}", `4: dead_letter.payload: must be original or hash, not "none"`},
		{least + "standby: 4", "4: standby: 4 is not between 0 and 3, the number"},
		{least + "standby: -1", "4: standby: -1 is not between 0 and 3, the number"},
		{least + "commit_interval: 0s", "4: commit_interval: 0s is not between 1ms and 5s"},
		{least + "registry: {url: 'localhost:8081'}", "4: registry.url: must be an address such as http://localhost:8081"},
		{least + "registry: {url: 'http://me:s3cret@r'}", "4: registry.url: must not hold a user or password, since errors print it: set registry.user and registry.password"},
		{least + "registry: {password: \"${NO}\"}", "4: registry.password: the environment variable NO is not set"},
		{"app: a b\nrules: [r]\nkafka: {brokers: [b]}", "1: app: required: a name of letters, digits"},
		{"app: a\nrules: r\nkafka: {brokers: [b]}", "2: rules: must be a list, such as [a, b]"},
		{"app: a\nrules: [r]\nkafka: {session_timeout: 1ms, brokers: [b]}", "3: kafka.session_timeout: 1ms is too short"},
		{"app: a\nrules: [r]\nkafka: {session_timeout: 9s}", "3: kafka.brokers: name at least one broker"},
		{"app: a\nrules: [r]\nkafka: {brokers: [b], tls: {cert: c}}", "3: kafka.tls: set both cert and key"},
		{"app: a\nrules: [r]\nkafka: {brokers: [b], sasl: {mechanism: x}}", `3: kafka.sasl.mechanism: must be plain, scram-sha-256 or scram-sha-512, not "x"`},
		{"app: a\nrules: [r]\nkafka: {brokers: [b], sasl: {mechanism: plain, user: u}}", "3: kafka.sasl.password: required with kafka.sasl; take it from"},
		{"app: a\nrules: [r]\nkafka: {brokers: [b], sasl: {mechanism: plain, password: p}}", "3: kafka.sasl.user: required with kafka.sasl"},
	} {
		_, err := ParseConfig([]byte(x.yaml), env())
		var l ConfigErrors
		if !errors.As(err, &l) {
			t.Errorf("%q: error %v", x.yaml, err)
			continue
		}
		found := false
		for _, e := range l {
			e.File = "f"
			found = found || strings.HasPrefix(strings.TrimPrefix(strings.TrimPrefix(e.Error(), "f:"), " "), x.want)
		}
		if !found || x.yaml != "" && len(l) > 1 && strings.HasPrefix(x.yaml, least) && !strings.Contains(x.yaml, "url") {
			t.Errorf("%q: got\n%v\nwant %s", x.yaml, err, x.want)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	const secret = "correct horse"
	c := DefaultConfig()
	c.Kafka.SASL = &SASLConfig{Mechanism: "plain", User: "u", Password: secret}
	c.Registry.Password = secret
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	console.NewLogger(&logged, "info", false).Info("config", "config", c, "sasl", *c.Kafka.SASL, "password", c.Registry.Password)
	console.NewLogger(&logged, "info", true).Info("config", "config", c, "sasl", *c.Kafka.SASL, "password", c.Registry.Password)
	for _, s := range []string{
		string(asJSON), string(asYAML), logged.String(),
		fmt.Sprintf("%v %+v %#v %s %q", *c.Kafka.SASL, c.Registry, c.Registry, c.Registry.Password, c.Registry.Password),
	} {
		if strings.Contains(s, secret) || !strings.Contains(s, "***") {
			t.Errorf("printed: %s", s)
		}
	}
}

func TestReadConfig(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "segmill.yaml")
	write(t, path, "app: a\nrules: [r, /abs]\nkafka: {brokers: [b], tls: {ca: ca.pem, cert: c.pem, key: /k.pem}}\n")
	c, err := ReadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{c.Rules[0], c.Rules[1], c.State, c.Kafka.TLS.CA, c.Kafka.TLS.Cert, c.Kafka.TLS.Key}
	want := []string{filepath.Join(dir, "r"), "/abs", filepath.Join(dir, "state"), filepath.Join(dir, "ca.pem"), filepath.Join(dir, "c.pem"), "/k.pem"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	write(t, filepath.Join(dir, "r"), "")
	write(t, path, "app: a\nrules:\n  - r\n  - rulez\nhttp: 9600\nkafka: {brokers: [b]}\n")
	var l ConfigErrors
	if _, err := ReadConfigToRun(path); !errors.As(err, &l) || len(l) != 2 || !strings.HasPrefix(l[0].Error(), path+":4: rules[1]: there is no rulez") {
		t.Errorf("error %v", err)
	}
	write(t, path, least+"grase: 2s")
	if _, err := ReadConfig(path); err == nil || !strings.HasPrefix(err.Error(), path+":4: grase: ") {
		t.Errorf("error %v", err)
	}
	if _, err := ReadConfig(filepath.Join(dir, "no")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// write writes a file and the directories above it.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A stream can have several topics; where inputs are listed, only the topics that are
// written are read.
func TestInputs(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"inputs: [{topic: till, stream: purchase}]":                               {"till": "purchase"},
		"inputs: [{topic: a, stream: purchase}, {topic: b, stream: purchase}]":    {"a": "purchase", "b": "purchase"},
		"topics: {profile: people}\ninputs: [{topic: till, stream: purchase}]":    {"people": "profile", "till": "purchase"},
		"topics: {web: '', changes: c}\ninputs: [{topic: v, stream: web}]":        {"v": "web"},
		"topics: {web: '', email: '', consent: '', profile: p, purchase: orders}": {"p": "profile", "orders": "purchase"},
	} {
		c, err := ParseConfig([]byte(least+text), env())
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := c.InputTopics(); !maps.Equal(got, want) {
			t.Errorf("%s: %v", text, got)
		}
	}
	for text, want := range map[string]string{
		"inputs: [{topic: x, stream: web}, {topic: x, stream: email}]":         "inputs[1].topic: x is already used by inputs[0].topic",
		"topics: {web: x}\ninputs: [{topic: x, stream: web}]":                  "inputs[0].topic: x is already used by topics.web",
		"inputs: [{topic: segments.changes, stream: web}]":                     "inputs[0].topic: segments.changes is already used by topics.changes",
		"inputs: [{stream: web}]":                                              "inputs[0].topic: required",
		"inputs: [{topic: x}]":                                                 `inputs[0].stream: must be web, email, purchase, profile, consent, or a stream that a rule file declares, not ""`,
		"inputs: [{topic: x, stream: web, map: m}]":                            "inputs[0].map: its records are mapped, or events of a stream",
		"inputs: [{topic: x, map: m}, {topic: x, map: m}]":                     "inputs[1]: x is read by m already",
		"inputs: [{topic: x, stream: web, from: latest}]":                      "inputs[0].from: must be earliest or now, not \"latest\"",
		"inputs: [{topic: x, map: m}, {topic: x, map: n, from: now}]":          "inputs[1].from: x is read once, whatever maps it: write the same from everywhere",
		"inputs: [{topic: x, map: m}, {topic: x, stream: web}]":                "inputs[1].topic: x is already used by inputs[0].topic",
		"inputs: [{topic: x, steam: web}]":                                     "did you mean stream?",
		"topics: {web: '', email: '', consent: '', profile: '', purchase: ''}": "name at least one input",
	} {
		if _, err := ParseConfig([]byte(least+text), env()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestSuccessors(t *testing.T) {
	type topics = map[string]string
	for _, c := range []struct {
		from, to topics
		want     map[string]string
		err      string
	}{
		{topics{"web": "web", "mail": "email"}, topics{"web2": "web", "mail": "email"}, map[string]string{"web": "web2", "mail": "mail"}, ""},
		{topics{"a": "web", "b": "web"}, topics{"a": "web", "c": "web"}, map[string]string{"a": "a", "b": "c"}, ""},
		{topics{"a": "web"}, topics{"b": "email"}, map[string]string{}, ""},
		{topics{"a": "web", "b": "web"}, topics{"c": "web", "d": "web"}, nil, "web: it cannot be determined which of the new topics c, d"},
	} {
		got, err := successors(c.from, c.to)
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) || c.err == "" && (err != nil || !maps.Equal(got, c.want)) {
			t.Errorf("%v, %v: %v, %v", c.from, c.to, got, err)
		}
	}
}

// A topic that is mapped carries on with the one of the same mappings.
func TestKinds(t *testing.T) {
	c := Config{Topics: TopicsConfig{Web: "w"}, Inputs: []InputConfig{{Topic: "a", Map: "x"}, {Topic: "a", Map: "y"}, {Topic: "b", Stream: "profile"}}}
	if got := c.kinds(); !maps.Equal(got, map[string]string{"w": "web", "a": "mapping x, mapping y", "b": "profile"}) {
		t.Error(got)
	}
}
