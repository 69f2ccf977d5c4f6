package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/segmill/segmill/bench/internal/side"
)

// EngineConfig is a configuration of the engine, for one instance.
type EngineConfig struct {
	Broker *Broker
	Rules  string // contents of the rule file
	// Inputs are the topics by stream ("purchase", "web", …).
	Inputs map[string]string
	// More are further lines, such as "commit_interval: 20ms".
	More []string
}

// WriteEngine writes configuration and rules to a new directory, in which the state
// will be, too. It returns the path of the configuration.
func (l *Lab) WriteEngine(c EngineConfig) (config string, err error) {
	dir, err := os.MkdirTemp(l.Dir, "engine-")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "app: %s\nrules: [rules.yaml]\nstate: state\nkafka:\n  brokers: [%q]\nregistry:\n  url: %q\n",
		side.App, c.Broker.Kafka, c.Broker.Registry)
	fmt.Fprintf(&b, "output:\n  format: avro\nhttp: \"\"\nlog: warn\ntopics:\n  changes: %s\n  triggers: bench.triggers\n", side.Changes)
	for _, s := range []string{"web", "email", "purchase", "profile", "consent"} {
		fmt.Fprintf(&b, "  %s: %q\n", s, c.Inputs[s])
	}
	for _, line := range c.More {
		b.WriteString(line + "\n")
	}
	config = filepath.Join(dir, "segmill.yaml")
	err = os.WriteFile(config, []byte(b.String()), 0o600)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "rules.yaml"), []byte(c.Rules), 0o600)
	}
	return config, err
}
