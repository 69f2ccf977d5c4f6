package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/segmill/segmill/consumer/inspect"
	"github.com/segmill/segmill/internal/notes"
	"github.com/segmill/segmill/schemas"
)

// Online is what was found in a cluster.
type Online struct {
	Errors, Warnings []inspect.Finding
	Summary          string
}

// Failed lists the errors as a check of rules does.
func (o *Online) Failed() string { return listed(o.Errors) }

// Warned lists the warnings.
func (o *Online) Warned() string { return listed(o.Warnings) }

func listed(findings []inspect.Finding) string {
	var lines []string
	for _, f := range findings {
		line := f.Message
		if !f.Error {
			line = "warning: " + line
		}
		if f.Topic != "" {
			line = f.Topic + ": " + line
		}
		if lines = append(lines, line); f.Remedy != "" {
			lines = append(lines, "    ^ "+f.Remedy)
		}
	}
	return strings.Join(lines, "\n")
}

// sampledRecords is how many of the newest records of each partition are read.
const sampledRecords = 1000

// CheckOnline asks the brokers and the registry of a configuration whether it can
// run on them. It changes nothing. An error means that they could not be asked.
func CheckOnline(ctx context.Context, conf *Config, rules *Rules, opt RunOptions) (*Online, error) {
	var noted notes.Tally
	opt.noted = noted.Take
	cfg, x, err := conf.reading(rules, opt)
	if err != nil {
		return nil, err
	}
	if err := reachable(ctx, &conf.Kafka, cfg.Kafka); err != nil {
		return nil, err
	}
	var found []inspect.Finding
	if registry := x.registry; registry != nil {
		asking, cancel := context.WithTimeout(ctx, awaitTimeout)
		found = conf.checkRegistry(asking, registry, cfg.Inputs)
		cancel()
	}
	for _, n := range cfg.NotRead {
		found = append(found, inspect.Finding{Topic: n.Topic, Message: n.Message, Remedy: n.Remedy})
	}
	seen, err := inspect.Inspect(ctx, cfg, sampledRecords)
	if err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	o := &Online{Summary: fmt.Sprintf("%s, %s", Plural(seen.Inputs, "input"), Plural(int(seen.Partitions), "task"))}
	if len(seen.Create) > 0 {
		o.Summary += "; a start will create " + strings.Join(seen.Create, ", ")
	}
	o.Summary += "; " + Plural(seen.Sampled, "record") + " sampled"
	for _, l := range noted.Lines() {
		found = append(found, inspect.Finding{
			Topic: l.Topic, Remedy: "docs/formats.md says how fields are read; such records are events all the same",
			Message: fmt.Sprintf("in %s of %d sampled records: %s", inspect.Percent(min(l.N, seen.Records[l.Topic]), seen.Records[l.Topic]), seen.Records[l.Topic], l.Text),
		})
	}
	for _, f := range append(found, seen.Findings...) {
		if f.Error {
			o.Errors = append(o.Errors, f)
		} else {
			o.Warnings = append(o.Warnings, f)
		}
	}
	return o, nil
}

// Reach returns how clients reach the brokers, with further options, once one of them has
// answered.
func (k *KafkaConfig) Reach(ctx context.Context, more ...kgo.Opt) ([]kgo.Opt, error) {
	opts, err := k.options()
	if err != nil {
		return nil, err
	}
	opts = append(opts, more...)
	return opts, reachable(ctx, k, opts)
}

// reachable makes sure that a broker answers, without waiting for long.
func reachable(ctx context.Context, k *KafkaConfig, opts []kgo.Opt) error {
	cl, err := kgo.NewClient(append(slices.Clone(opts), kgo.RequestRetries(0))...)
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, awaitTimeout)
	defer cancel()
	if err := cl.Ping(ctx); err != nil {
		if err := refusal(k, err); err != nil {
			return err
		}
		return fmt.Errorf("no broker answers; see kafka.brokers: %w", err)
	}
	return nil
}

// checkRegistry makes sure that the registry answers, and that outputs can be
// written under their subjects. read are the topics that are read.
func (c *Config) checkRegistry(ctx context.Context, cl *sr.Client, read []string) []inspect.Finding {
	where := "registry " + address(c.Registry.URL)
	fail := func(remedy string, err error) inspect.Finding {
		return inspect.Finding{Topic: where, Error: true, Message: err.Error(), Remedy: remedy}
	}
	subjects, err := cl.Subjects(ctx)
	if err != nil {
		return []inspect.Finding{fail("see registry", err)}
	}
	var found []inspect.Finding
	var missing []string
	for topic := range c.InputTopics() {
		subject := schemas.Subject(topic)
		if !slices.Contains(read, topic) {
			continue
		}
		if !slices.Contains(subjects, subject) {
			missing = append(missing, subject)
		} else if _, err := cl.SchemaByVersion(ctx, subject, -1); err != nil {
			found = append(found, fail("grant the engine the right to read "+subject, err))
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		found = append(found, inspect.Finding{
			Topic: where, Message: "no schema is registered under " + strings.Join(missing, ", "),
			Remedy: "Avro records of these topics are refused until a producer registers a schema; JSON needs none",
		})
	}
	if c.Output.Format != "avro" {
		return found
	}
	for topic, name := range map[string]string{c.Topics.Changes: schemas.MembershipChange, c.Topics.Triggers: schemas.TriggerFired} {
		subject := schemas.Subject(topic)
		if !slices.Contains(subjects, subject) {
			continue // a start registers it
		}
		text, err := schemas.Text(name)
		if err != nil {
			return append(found, fail("", err))
		}
		got, err := cl.CheckCompatibility(ctx, subject, -1, sr.Schema{Schema: text, Type: sr.TypeAvro})
		var answer *sr.ResponseError
		switch {
		case errors.As(err, &answer): // not every registry knows how
		case err != nil:
			found = append(found, fail("", err))
		case !got.Is:
			found = append(found, fail("choose another output topic, or delete the subject", fmt.Errorf("the schema under %s is not compatible with the engine's", subject)))
		}
	}
	return found
}
