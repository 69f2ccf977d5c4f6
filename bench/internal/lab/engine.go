package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/segmill/segmill/bench/internal/job"
	"github.com/segmill/segmill/bench/internal/side"
)

// EngineConfig is a configuration of the engine, for one instance.
type EngineConfig struct {
	Broker *Broker
	Rules  []job.Rule
	// Inputs are the topics by stream ("purchase", "web", …).
	Inputs map[string]string
	// Mapping is job.Mapping, by which purchases are read then, or empty.
	Mapping string
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
	fmt.Fprintf(&b, "app: %s\nrules: [rules]\nstate: state\nkafka:\n  brokers: [%q]\nregistry:\n  url: %q\n",
		side.App, c.Broker.Kafka, c.Broker.Registry)
	fmt.Fprintf(&b, "output:\n  format: avro\n  compression: %s\nhttp: \"\"\nlog: warn\ntopics:\n  changes: %s\n  triggers: bench.triggers\n",
		l.Compression, side.Changes)
	for _, s := range []string{"web", "email", "purchase", "profile", "consent"} {
		fmt.Fprintf(&b, "  %s: %q\n", s, c.Inputs[s])
	}
	if c.Mapping != "" {
		fmt.Fprintf(&b, "inputs:\n  - {topic: %s, map: %s}\n", side.Input, job.MappingName)
	}
	for _, line := range c.More {
		b.WriteString(line + "\n")
	}
	config = filepath.Join(dir, "segmill.yaml")
	err = errors.Join(os.WriteFile(config, []byte(b.String()), 0o600), os.Mkdir(filepath.Join(dir, "rules"), 0o700))
	if c.Mapping != "" {
		file := filepath.Join(dir, "rules", "mapping.yaml")
		err = errors.Join(err, os.WriteFile(file, []byte("version: 1\n"+c.Mapping), 0o600))
	}
	n := 0
	for part := range slices.Chunk(c.Rules, rulesInFile) {
		n++
		file := filepath.Join(dir, "rules", fmt.Sprintf("%d.yaml", n))
		err = errors.Join(err, os.WriteFile(file, []byte(job.RuleFile(part)), 0o600))
	}
	return config, err
}

// rulesInFile keeps rule files below the size that the engine reads.
const rulesInFile = 2000
