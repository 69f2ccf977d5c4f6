package app

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/segmill/segmill/engine/plan"
	"go.yaml.in/yaml/v4"
)

// Config is the configuration of `segmill run`, read from one YAML file.
type Config struct {
	// App names the application: the consumer group, the transactional ids, the
	// internal topics, and part of every change_id. It never changes.
	App string `yaml:"app"`
	// Rules are rule files and directories, relative to the configuration file.
	Rules []string `yaml:"rules"`
	// State is the directory of the local copy of the state.
	State string `yaml:"state"`
	// Kafka says how to reach the brokers.
	Kafka KafkaConfig `yaml:"kafka"`
	// Registry is the schema registry; without one, inputs must be JSON and
	// outputs are.
	Registry RegistryConfig `yaml:"registry"`
	// Topics names the topics.
	Topics TopicsConfig `yaml:"topics"`
	// Output is how changes and triggers are written.
	Output OutputConfig `yaml:"output"`
	// CommitInterval is the longest time between an event and its committed
	// effects. Default 100ms.
	CommitInterval Duration `yaml:"commit_interval"`
	// Grace is how long the clock waits for events that are on their way before
	// it judges silence. Default 2s.
	Grace Duration `yaml:"grace"`
	// Clock is wall, or events for runs over history.
	Clock string `yaml:"clock"`
	// MaxFutureSkew is how far ahead of the wall clock an event may be; beyond,
	// it is a dead letter. Default 5m.
	MaxFutureSkew Duration `yaml:"max_future_skew"`
	// MaxMergeWait is how long a partition without data in hand holds up the
	// others. Default 10s.
	MaxMergeWait Duration `yaml:"max_merge_wait"`
	// MaxClockJump is the greatest jump of the wall clock that timers believe.
	// Default 1h.
	MaxClockJump Duration `yaml:"max_clock_jump"`
	// DeadLetter says what dead letters carry.
	DeadLetter DeadLetterConfig `yaml:"dead_letter"`
	// HTTP is the address of /metrics, /healthz and /readyz. Default
	// 127.0.0.1:9600; empty turns it off.
	HTTP *string `yaml:"http"`
	// Log is debug, info, warn or error. Default info.
	Log string `yaml:"log"`
}

// KafkaConfig says how to reach the brokers.
type KafkaConfig struct {
	Brokers []string `yaml:"brokers"`
	// TLS encrypts the connections. Without it the link is plain text.
	TLS *TLSConfig `yaml:"tls"`
	// SASL authenticates.
	SASL *SASLConfig `yaml:"sasl"`
	// SessionTimeout is how long a dead instance keeps its partitions. Default
	// 10s.
	SessionTimeout Duration `yaml:"session_timeout"`
}

// TLSConfig names files in PEM.
type TLSConfig struct {
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// SASLConfig is a user and a password.
type SASLConfig struct {
	// Mechanism is plain, scram-sha-256 or scram-sha-512.
	Mechanism string `yaml:"mechanism"`
	User      string `yaml:"user"`
	Password  Secret `yaml:"password"`
}

// RegistryConfig is a Confluent schema registry.
type RegistryConfig struct {
	URL      string `yaml:"url"`
	User     string `yaml:"user"`
	Password Secret `yaml:"password"`
}

// Inputs returns the input topics with their streams.
func (t *TopicsConfig) Inputs() map[string]plan.Stream {
	m := map[string]plan.Stream{}
	for s, name := range map[plan.Stream]string{
		plan.Web: t.Web, plan.Email: t.Email, plan.Purchase: t.Purchase, plan.Profile: t.Profile, plan.Consent: t.Consent,
	} {
		if name != "" {
			m[name] = s
		}
	}
	return m
}

// TopicsConfig names the topics. An input that is empty is not read.
type TopicsConfig struct {
	Web      string `yaml:"web"`
	Email    string `yaml:"email"`
	Purchase string `yaml:"purchase"`
	Profile  string `yaml:"profile"`
	Consent  string `yaml:"consent"`
	Changes  string `yaml:"changes"`
	Triggers string `yaml:"triggers"`
	// Create creates the inputs and outputs that are missing. The engine's own
	// topics (<app>.changelog, .repartition, .dlq) are created in any case.
	Create *CreateConfig `yaml:"create"`
}

// CreateConfig is how missing topics are created.
type CreateConfig struct {
	Partitions  int32 `yaml:"partitions"`
	Replication int16 `yaml:"replication"`
}

// OutputConfig is how changes and triggers are written.
type OutputConfig struct {
	// Format is avro (needs a registry) or json. Default: avro with a registry,
	// json without.
	Format string `yaml:"format"`
}

// DeadLetterConfig says what dead letters carry.
type DeadLetterConfig struct {
	// Payload is original, or hash to keep personal data out of the topic.
	Payload string `yaml:"payload"`
}

// Duration is a length of time such as 100ms, 1h30m or 45d.
type Duration time.Duration

// UnmarshalYAML reads a duration.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := model.ParseDuration(n.Value)
	if err != nil {
		return fmt.Errorf("line %d: %q is not a duration such as 100ms, 30m or 45d", n.Line, n.Value)
	}
	*d = Duration(v)
	return nil
}

// Secret is a text that is never printed.
type Secret string

// String hides the secret.
func (Secret) String() string { return "***" }

// GoString hides the secret.
func (Secret) GoString() string { return "***" }

// MarshalYAML hides the secret.
func (Secret) MarshalYAML() (any, error) { return "***", nil }

// MarshalText hides the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// DefaultHTTP is where the HTTP endpoints listen unless configured.
const DefaultHTTP = "127.0.0.1:9600"

// DefaultConfig returns the configuration with every default.
func DefaultConfig() Config {
	http := DefaultHTTP
	return Config{
		State: "state",
		Topics: TopicsConfig{
			Web: "events.web", Email: "events.email", Purchase: "events.purchase", Profile: "events.profile",
			Consent: "events.consent", Changes: "segments.changes", Triggers: "triggers.fired",
		},
		CommitInterval: Duration(100 * time.Millisecond),
		Grace:          Duration(time.Duration(DefaultGrace) * time.Millisecond),
		Clock:          "wall",
		MaxFutureSkew:  Duration(time.Duration(DefaultFutureSkew) * time.Millisecond),
		MaxMergeWait:   Duration(10 * time.Second),
		MaxClockJump:   Duration(time.Hour),
		DeadLetter:     DeadLetterConfig{Payload: "original"},
		Kafka:          KafkaConfig{SessionTimeout: Duration(10 * time.Second)},
		HTTP:           &http,
		Log:            "info",
	}
}

// ReadConfig reads a configuration file. ${NAME} in a value stands for the
// environment variable NAME, which must be set. Relative paths count from the
// file's directory.
func ReadConfig(path string) (*Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := ParseConfig(b, os.LookupEnv)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	dir := filepath.Dir(path)
	rel := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	for i := range c.Rules {
		rel(&c.Rules[i])
	}
	rel(&c.State)
	if t := c.Kafka.TLS; t != nil {
		rel(&t.CA)
		rel(&t.Cert)
		rel(&t.Key)
	}
	return c, nil
}

// ParseConfig reads a configuration. lookup finds environment variables.
func ParseConfig(b []byte, lookup func(string) (string, bool)) (*Config, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(b, &root); err != nil {
		return nil, err
	}
	c := DefaultConfig()
	if root.Kind != 0 {
		if err := expand(&root, lookup); err != nil {
			return nil, err
		}
		// Known fields are checked on the text; values come from the tree, in
		// which variables are expanded.
		strict := DefaultConfig()
		dec := yaml.NewDecoder(bytes.NewReader(b))
		dec.KnownFields(true)
		if err := dec.Decode(&strict); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if err := root.Decode(&c); err != nil {
			return nil, err
		}
	}
	return &c, c.validate()
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expand replaces ${NAME} in every scalar value.
func expand(n *yaml.Node, lookup func(string) (string, bool)) error {
	var errs []error
	if n.Kind == yaml.ScalarNode {
		n.Value = variable.ReplaceAllStringFunc(n.Value, func(m string) string {
			name := m[2 : len(m)-1]
			v, ok := lookup(name)
			if !ok {
				errs = append(errs, fmt.Errorf("line %d: the environment variable %s is not set", n.Line, name))
			}
			return v
		})
	}
	for _, c := range n.Content {
		errs = append(errs, expand(c, lookup))
	}
	return errors.Join(errs...)
}

var appName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}$`)

// validate checks what YAML cannot, all at once.
func (c *Config) validate() error {
	var errs []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	need(appName.MatchString(c.App), "app: a name of letters, digits, '.', '_' and '-' is required, such as `app: shop`; it never changes afterwards")
	need(len(c.Rules) > 0, "rules: name at least one rule file or directory, such as `rules: [rules/]`")
	need(c.State != "", "state: a directory is required")
	need(len(c.Kafka.Brokers) > 0, "kafka.brokers: name at least one broker, such as `brokers: [localhost:9092]`")
	need(c.Clock == "wall" || c.Clock == "events", "clock: it is wall or events, not %q", c.Clock)
	need(c.DeadLetter.Payload == "original" || c.DeadLetter.Payload == "hash", "dead_letter.payload: it is original or hash, not %q", c.DeadLetter.Payload)
	need(c.CommitInterval > 0, "commit_interval: it must be longer than 0")
	switch c.Output.Format {
	case "":
		if c.Output.Format = "json"; c.Registry.URL != "" {
			c.Output.Format = "avro"
		}
	case "json":
	case "avro":
		need(c.Registry.URL != "", "output.format: avro needs a schema registry: set registry.url, or format: json")
	default:
		need(false, "output.format: it is avro or json, not %q", c.Output.Format)
	}
	if s := c.Kafka.SASL; s != nil {
		need(s.Mechanism == "plain" || s.Mechanism == "scram-sha-256" || s.Mechanism == "scram-sha-512",
			"kafka.sasl.mechanism: it is plain, scram-sha-256 or scram-sha-512, not %q", s.Mechanism)
		need(s.User != "" && s.Password != "", "kafka.sasl: user and password are required")
	}
	if t := c.Topics.Create; t != nil {
		need(t.Partitions > 0 && t.Replication > 0, "topics.create: partitions and replication must be at least 1")
	}
	need(len(c.Topics.Inputs()) > 0, "topics: name at least one input")
	need(slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log), "log: it is debug, info, warn or error, not %q", c.Log)
	return errors.Join(errs...)
}
