package app

import (
	"fmt"
	"time"

	"github.com/prometheus/common/model"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/internal/bounded"
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
	// Inputs are further input topics. If there are any, a stream has a topic by
	// Topics only where that is written.
	Inputs []InputConfig `yaml:"inputs"`
	// Output is how changes and triggers are written.
	Output OutputConfig `yaml:"output"`
	// CommitInterval is the longest time between an event and its committed
	// effects. Default 100ms.
	CommitInterval Duration `yaml:"commit_interval"`
	// Grace is how long the clock waits for events that are on their way before
	// it judges silence. Default 2s.
	Grace Duration `yaml:"grace"`
	// SilenceGrace is grace for exits and triggers that come from time alone: a
	// duration, or auto, which waits for producers when a partition has lost its
	// leader. Default: grace.
	SilenceGrace string `yaml:"silence_grace"`
	// Clock is wall, or events for runs over history.
	Clock string `yaml:"clock"`
	// MaxFutureSkew is how far ahead of the wall clock an event may be; beyond,
	// it is a dead letter. Default 5m.
	MaxFutureSkew Duration `yaml:"max_future_skew"`
	// MaxMergeWait is how long a partition without data in hand holds up the
	// others. Default 10s.
	MaxMergeWait Duration `yaml:"max_merge_wait"`
	// MaxOpenTransaction is how long timers wait for a transaction that stays open on
	// an input. Default 15m, the longest that brokers allow unless configured.
	MaxOpenTransaction Duration `yaml:"max_open_transaction"`
	// MaxClockJump is the greatest jump of the wall clock that timers believe.
	// Default 1h.
	MaxClockJump Duration `yaml:"max_clock_jump"`
	// SkipDeleted lets a partition go on at the earliest record that is left when
	// retention has deleted records that were not read yet. Without it the
	// partition stops and says so.
	SkipDeleted bool `yaml:"skip_deleted"`
	// Delivery is "exactly_once" or, without transactions, "at_least_once".
	Delivery string `yaml:"delivery"`
	// Standby is how many instances keep a copy of each partition beside its
	// owner. Default 0.
	Standby int `yaml:"standby"`
	// DeadLetter says what dead letters carry.
	DeadLetter DeadLetterConfig `yaml:"dead_letter"`
	// HTTP is the address of /metrics, /healthz and /readyz. Default
	// 127.0.0.1:9600; empty turns it off.
	HTTP *string `yaml:"http"`
	// Log is debug, info, warn or error. Default info.
	Log string `yaml:"log"`

	lines map[string]int // of the keys that were read, such as inputs[0].stream
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

// TopicsConfig names the topics. An input that is empty is not read.
type TopicsConfig struct {
	Web      string `yaml:"web"`
	Email    string `yaml:"email"`
	Purchase string `yaml:"purchase"`
	Profile  string `yaml:"profile"`
	Consent  string `yaml:"consent"`
	Changes  string `yaml:"changes"`
	Triggers string `yaml:"triggers"`
	// Create creates the inputs that are missing. The outputs and the engine's own
	// topics (<app>.changelog, .repartition, .dlq, .rules) are created in any case.
	Create *CreateConfig `yaml:"create"`
}

// InputConfig is a topic that is read: its records are events of a stream, or a mapping of
// the rule files says what they are. A stream can have several topics, and a topic several
// mappings.
type InputConfig struct {
	Topic  string `yaml:"topic"`
	Stream string `yaml:"stream"`
	Map    string `yaml:"map"`
	// From says where a task begins to read a topic that it meets for the first time:
	// earliest, which is the default, or now.
	From string `yaml:"from"`
}

// CreateConfig is how missing topics are created.
type CreateConfig struct {
	// Partitions is how many the inputs get. 0: inputs are not created.
	Partitions int32 `yaml:"partitions"`
	// Replication is how many copies. 0: the broker's default.
	Replication int16 `yaml:"replication"`
}

// OutputConfig is how changes and triggers are written.
type OutputConfig struct {
	// Format is avro (needs a registry) or json. Default: avro with a registry,
	// json without.
	Format string `yaml:"format"`
	// Compression is none, gzip, snappy, lz4 or zstd. Every reader must know it.
	Compression string `yaml:"compression"`
	// Headers are cloudevents, ids (the change_id or trigger_id) or none.
	Headers string `yaml:"headers"`
}

// DeadLetterConfig says what dead letters carry.
type DeadLetterConfig struct {
	// Payload is original, or hash to keep personal data out of the topic.
	Payload string `yaml:"payload"`
	// KeyFile holds the key of the HMAC that then replaces the value.
	KeyFile string `yaml:"key_file"`
}

// maxKeyFile is the longest key in bytes.
const maxKeyFile = 64 << 10

// key returns the content of the key file, all of it; nil if none is configured.
func (d *DeadLetterConfig) key() ([]byte, error) {
	if d.KeyFile == "" {
		return nil, nil
	}
	b, err := bounded.ReadFile(d.KeyFile, maxKeyFile)
	if err == nil && len(b) == 0 {
		err = fmt.Errorf("%s is empty; create a key: head -c 32 /dev/urandom > %s", d.KeyFile, d.KeyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("dead_letter.key_file: %w", err)
	}
	return b, nil
}

// Duration is a length of time such as 100ms, 1h30m or 45d.
type Duration time.Duration

// String returns the duration as it is written in a configuration.
func (d Duration) String() string { return model.Duration(d).String() }

// MarshalText returns the duration as it is written in a configuration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

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
	http, edge := DefaultHTTP, config.Default()
	return Config{
		State: "state",
		Topics: TopicsConfig{
			Web: "events.web", Email: "events.email", Purchase: "events.purchase", Profile: "events.profile",
			Consent: "events.consent", Changes: "segments.changes", Triggers: "triggers.fired",
		},
		Output:         OutputConfig{Compression: "none", Headers: "cloudevents"},
		CommitInterval: Duration(edge.Batch.Interval),
		Grace:          Duration(edge.Time.Grace),
		Clock:          "wall",
		MaxFutureSkew:  Duration(edge.Time.MaxFutureSkew),
		MaxMergeWait:   Duration(edge.Time.MaxMergeWait),
		MaxClockJump:   Duration(edge.Time.MaxClockJump),

		MaxOpenTransaction: Duration(edge.Time.MaxOpenTransaction),
		Delivery:           "exactly_once",
		DeadLetter:         DeadLetterConfig{Payload: "original"},
		Kafka:              KafkaConfig{SessionTimeout: Duration(edge.Group.SessionTimeout)},
		HTTP:               &http,
		Log:                "info",
	}
}
