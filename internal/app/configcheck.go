package app

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine/plan"
)

var appName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}$`)

// maxCommitInterval keeps a transaction well within the time after which a broker
// aborts it.
const maxCommitInterval = 5 * time.Second

// validate fills in what follows from other settings, and reports to r everything
// that is missing or inconsistent.
func (c *Config) validate(r *configReader) {
	need := func(ok bool, path, format string, args ...any) {
		if !ok && !r.failed(path) {
			r.fail(r.lineOf(path), path, format, args...)
		}
	}
	oneOf := func(path, value string, values ...string) {
		need(slices.Contains(values, value), path, "must be %s, not %q", either(values), value)
	}
	need(appName.MatchString(c.App), "app", "required: a name of letters, digits, '.', '_' and '-', such as `app: shop`; it cannot be changed later")
	need(len(c.Rules) > 0, "rules", "name at least one rule file or directory, such as `rules: [rules]`")
	need(c.State != "", "state", "required: a directory")
	oneOf("clock", c.Clock, "wall", "events")
	oneOf("delivery", c.Delivery, "exactly_once", "at_least_once")
	oneOf("dead_letter.payload", c.DeadLetter.Payload, "original", "hash")
	need(c.DeadLetter.KeyFile == "" || c.DeadLetter.Payload == "hash", "dead_letter.key_file", "requires `payload: hash`")
	oneOf("log", c.Log, "debug", "info", "warn", "error")
	interval := time.Duration(c.CommitInterval)
	need(interval > 0 && interval <= maxCommitInterval, "commit_interval", "%s is not between 1ms and %s", c.CommitInterval, maxCommitInterval)
	need(c.Standby >= 0 && c.Standby <= config.MaxStandby, "standby", "%d is not between 0 and %d, the number of other instances that keep a copy of each partition", c.Standby, config.MaxStandby)
	if c.HTTP != nil {
		need(isListenable(*c.HTTP), "http", "%q is no address with a port: write 127.0.0.1:9600, :9600 for all interfaces, or \"\" for none", *c.HTTP)
	}
	c.Kafka.validate(need, oneOf)
	c.validateTopics(need)
	c.validateOutput(need, oneOf)
	c.validateSilence(need)
}

// isListenable reports whether an address is one to listen on, or none at all; what comes
// from the environment is not known here if it is not set.
func isListenable(address string) bool {
	if address == "" || variable.MatchString(address) {
		return true
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

type (
	needFunc  func(ok bool, path, format string, args ...any)
	oneOfFunc func(path, value string, values ...string)
)

func (k *KafkaConfig) validate(need needFunc, oneOf oneOfFunc) {
	need(len(k.Brokers) > 0 && !slices.Contains(k.Brokers, ""), "kafka.brokers", "name at least one broker, such as `brokers: [localhost:9092]`")
	for i, b := range k.Brokers {
		scheme, address, is := strings.Cut(b, "://")
		address = address[strings.LastIndexByte(address, '@')+1:] // what is before may be a password
		need(!is, fmt.Sprintf("kafka.brokers[%d]", i), "a broker is a host and a port, without %s://: write %s", scheme, address)
	}
	need(time.Duration(k.SessionTimeout) >= time.Second, "kafka.session_timeout", "%s is too short: brokers accept 6s or more unless configured otherwise", k.SessionTimeout)
	if s := k.SASL; s != nil {
		oneOf("kafka.sasl.mechanism", s.Mechanism, "plain", "scram-sha-256", "scram-sha-512")
		need(s.User != "", "kafka.sasl.user", "required with kafka.sasl")
		need(s.Password != "", "kafka.sasl.password", "required with kafka.sasl; take it from the environment: \"${KAFKA_PASSWORD}\"")
	}
	if t := k.TLS; t != nil {
		need((t.Cert == "") == (t.Key == ""), "kafka.tls", "set both cert and key, or neither")
	}
}

// Words of InputConfig.From.
const (
	fromEarliest = "earliest"
	fromNow      = "now"
)

func (c *Config) validateTopics(need needFunc) {
	var streams []string
	for s := range plan.NumBuiltin {
		streams = append(streams, s.String())
	}
	last := len(streams) - 1
	t := &c.Topics
	need(len(c.Inputs) > 0 || len(c.InputTopics()) > 0, "topics", "name at least one input: %s or %s", strings.Join(streams[:last], ", "), streams[last])
	seen := map[string]string{}
	alone := func(path, name string) {
		need(seen[name] == "", path, "%s is already used by %s: each needs a topic of its own", name, seen[name])
		seen[name] = path
	}
	for s, name := range t.byStream() {
		if name != "" {
			alone("topics."+streams[s], name)
		}
	}
	for _, x := range [...][2]string{{"topics.changes", t.Changes}, {"topics.triggers", t.Triggers}} {
		if need(x[1] != "", x[0], "an output needs a topic"); x[1] != "" {
			alone(x[0], x[1])
		}
	}
	for i, in := range c.Inputs {
		path := fmt.Sprintf("inputs[%d]", i)
		again := slices.ContainsFunc(c.Inputs[:i], func(o InputConfig) bool { return o.Topic == in.Topic && o.Map != "" && in.Map != "" })
		if need(in.Topic != "", path+".topic", "required: the topic that is read"); in.Topic != "" && !again {
			alone(path+".topic", in.Topic)
		}
		if in.Map == "" {
			need(plan.StreamForm.MatchString(in.Stream), path+".stream", "must be %s, or a stream that a rule file declares, not %q", strings.Join(streams, ", "), in.Stream)
		}
		need(in.Map == "" || in.Stream == "", path+".map", "its records are mapped, or events of a stream: remove map or stream")
		twice := func(o InputConfig) bool { return o.Topic == in.Topic && o.Map == in.Map }
		need(!again || !slices.ContainsFunc(c.Inputs[:i], twice), path, "%s is read by %s already", in.Topic, in.Map)
		need(in.From == "" || in.From == fromEarliest || in.From == fromNow, path+".from", "must be %s or %s, not %q", fromEarliest, fromNow, in.From)
		other := func(o InputConfig) bool { return o.Topic == in.Topic && (o.From == fromNow) != (in.From == fromNow) }
		need(!again || !slices.ContainsFunc(c.Inputs[:i], other), path+".from", "%s is read once, whatever maps it: write the same from everywhere", in.Topic)
	}
	if c := t.Create; c != nil {
		need(c.Partitions >= 0, "topics.create.partitions", "must not be negative")
		need(c.Replication >= 0, "topics.create.replication", "must not be negative")
	}
}

func (c *Config) validateOutput(need needFunc, oneOf oneOfFunc) {
	if c.Output.Format == "" {
		if c.Output.Format = "json"; c.Registry.URL != "" {
			c.Output.Format = "avro"
		}
	}
	oneOf("output.format", c.Output.Format, "avro", "json")
	oneOf("output.compression", c.Output.Compression, "none", "gzip", "snappy", "lz4", "zstd")
	oneOf("output.headers", c.Output.Headers, "cloudevents", "ids", "none")
	need(c.Output.Format != "avro" || c.Registry.URL != "", "output.format", "avro needs a schema registry: set registry.url, or format: json")
	if c.Registry.URL == "" {
		return
	}
	u, err := url.Parse(c.Registry.URL)
	need(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "", "registry.url", "must be an address such as http://localhost:8081")
	need(err != nil || u.User == nil, "registry.url", "must not hold a user or password, since errors print it: set registry.user and registry.password")
}

// silenceAuto is silence_grace: auto.
const silenceAuto = "auto"

// silence returns what silence_grace says: how long silence waits, 0 if it does not
// say, and whether it waits for producers that have lost a leader.
func (c *Config) silence() (grace time.Duration, hold bool, err error) {
	switch c.SilenceGrace {
	case "":
		return 0, false, nil
	case silenceAuto:
		return 0, true, nil
	}
	d, err := model.ParseDuration(c.SilenceGrace)
	return time.Duration(d), false, err
}

func (c *Config) validateSilence(need needFunc) {
	d, hold, err := c.silence()
	need(err == nil, "silence_grace", "%q is neither auto nor a duration such as 30s", c.SilenceGrace)
	need(err != nil || hold || c.SilenceGrace == "" || d >= time.Duration(c.Grace), "silence_grace", "%s is shorter than grace (%s): timers cannot fire before the order of events is certain", c.SilenceGrace, c.Grace)
}

// either writes a list as a sentence does.
func either(l []string) string {
	last := len(l) - 1
	return strings.Join(l[:last], ", ") + " or " + l[last]
}
