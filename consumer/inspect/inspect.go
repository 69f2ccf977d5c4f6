package inspect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/consumer/topics"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// Finding is something in a cluster that an engine would stumble over, or that
// costs it something.
type Finding struct {
	Topic   string // or topics; "" if it is of the cluster
	Error   bool   // the engine would not start; else a warning
	Message string
	Remedy  string // "" if the message says it
}

// Inspection is what Inspect has seen.
type Inspection struct {
	Inputs     int
	Partitions int32          // that topics have or will have, 0 if they differ
	Sampled    int            // records
	Records    map[string]int // the same by topic
	Create     []string       // topics that are missing and that a start creates
	Findings   []Finding
	customers  map[string]customers // by topic
}

func (i *Inspection) fail(topic, remedy, format string, args ...any) {
	i.Findings = append(i.Findings, Finding{topic, true, fmt.Sprintf(format, args...), remedy})
}

func (i *Inspection) warn(topic, remedy, format string, args ...any) {
	i.Findings = append(i.Findings, Finding{topic, false, fmt.Sprintf(format, args...), remedy})
}

// Inspect looks at the topics of an application without changing anything, and
// reads the newest records of every input, at most so many per partition. Of cfg
// it needs no Engine, Encoder or Store. An error means that the cluster could not
// be asked.
func Inspect(ctx context.Context, cfg config.Config, perPartition int) (*Inspection, error) {
	in, err := task.NewTool(cfg)
	if err != nil {
		return nil, err
	}
	defer in.Cluster.Close()
	i := &Inspection{Inputs: len(in.Config.Inputs), Records: map[string]int{}, customers: map[string]customers{}}
	own := slices.Sorted(maps.Keys(topics.Own(&in.Config)))
	infos, err := in.Cluster.Describe(ctx, slices.Concat(own, in.Config.Inputs, []string{in.Config.RuleLog()})...)
	if err != nil {
		return nil, err
	}
	if err := in.Topics().CheckDelivery(ctx); fault.IsFatal(err) {
		i.fail("", "", "%v", err)
	} else if err != nil {
		return nil, err
	}
	i.counts(in, infos, own)
	maps.DeleteFunc(infos, func(_ string, t broker.Topic) bool { return t.Err != nil })
	if _, message := in.Topics().WeakTransactions(ctx); message != "" {
		i.warn("", "", "%s", message)
	}
	configs := in.Cluster.TopicConfigs(ctx, slices.Sorted(maps.Keys(infos)))
	if err := in.Topics().CheckChangelog(configs); err != nil {
		i.fail(in.Config.Changelog(), "", "%v", err)
	}
	if err := in.Topics().CheckRules(configs); err != nil {
		i.fail(in.Config.RuleLog(), "", "%v", err)
	}
	for _, w := range in.Topics().Weaknesses(infos, configs) {
		i.warn(strings.Join(w.Topics, ", "), "", "%s", w.Message)
	}
	for _, topic := range in.Config.Inputs {
		if t, ok := infos[topic]; ok {
			if err := i.sample(ctx, in, topic, t.Partitions, perPartition); err != nil {
				return nil, err
			}
		}
	}
	i.compare(in.Config.Inputs, i.customers)
	return i, nil
}

// counts looks at which topics there are and at their numbers of partitions: the topics
// that the engine writes have one for each task, and the inputs any number.
func (i *Inspection) counts(in *task.Instance, infos map[string]broker.Topic, own []string) {
	look := func(name string, create bool) bool {
		t := infos[name]
		switch {
		case errors.Is(t.Err, kerr.UnknownTopicOrPartition) && create:
			i.Create = append(i.Create, name)
		case errors.Is(t.Err, kerr.UnknownTopicOrPartition):
			i.fail(name, "create it, or set topics.create; a stream that has no topic gets an empty name in topics", "the topic does not exist")
		case t.Err != nil:
			i.fail(name, "", "%v", t.Err)
		default:
			return true
		}
		return false
	}
	for _, name := range in.Config.Inputs {
		look(name, in.Config.Create.Partitions > 0)
	}
	count := in.Topics().CountOf(infos)
	i.Partitions = count.Tasks
	for _, name := range own {
		if look(name, in.Config.Create.Topics) && infos[name].Partitions != i.Partitions {
			i.fail(name, count.Remedy(),
				"it has %d partitions and there are %d tasks: each task writes to the partition of its own number", infos[name].Partitions, i.Partitions)
		}
	}
	log := in.Config.RuleLog()
	if look(log, in.Config.Create.Topics) && infos[log].Partitions != topics.RulePartitions {
		i.fail(log, "give it one partition, in whose order the sets are", "it has %d partitions and a log of rules has one", infos[log].Partitions)
	}
}

// sampled is what was seen of the records of a topic.
type sampled struct {
	records, wrong, bad, unknown int
	causes                       map[string]int
	customers                    customers
	tasks                        int32
}

// sample reads the newest records of an input.
func (i *Inspection) sample(ctx context.Context, in *task.Instance, topic string, partitions int32, perPartition int) error {
	seen := sampled{causes: map[string]int{}, customers: customers{}, tasks: i.Partitions}
	reader, horizon := &feed.Reader{Config: &in.Config}, feed.Horizon(&in.Config)
	route := broker.NewRouter(i.Partitions)
	for p := range partitions {
		first, err := in.Cluster.ListOne(ctx, broker.Start, []string{topic}, p)
		if err != nil {
			return err
		}
		end, err := in.Cluster.ListOne(ctx, broker.LastStable, []string{topic}, p)
		if err != nil {
			return err
		}
		from := max(first[topic], end[topic]-int64(perPartition))
		if _, err := in.Cluster.ReadRange(ctx, topic, p, from, end[topic], func(r *kgo.Record) error { return seen.record(reader, horizon, route, r) }); err != nil {
			return err
		}
	}
	i.Sampled += seen.records
	i.Records[topic], i.customers[topic] = seen.records, seen.customers
	if seen.wrong > 0 {
		i.warn(topic, "produce with the customer id as key and murmur2 (librdkafka: partitioner=murmur2_random)",
			"%s of %d sampled records are on another partition than their customer's; each is forwarded: written and read a second time, kept for good in %s, and taken later than others",
			Percent(seen.wrong, seen.records), seen.records, in.Config.Repartition())
	}
	if seen.bad > 0 {
		var causes []string
		for _, c := range slices.Sorted(maps.Keys(seen.causes)) {
			causes = append(causes, fmt.Sprintf("%s %d", c, seen.causes[c]))
		}
		i.warn(topic, "docs/formats.md says what the causes mean; run writes such records to "+in.Config.DeadLetters(),
			"%s of %d sampled records are bad input: %s", Percent(seen.bad, seen.records), seen.records, strings.Join(causes, ", "))
	}
	if seen.unknown > 0 {
		i.fail(topic, "see registry.url", "%s of %d sampled records can't be read: the schema registry does not answer",
			Percent(seen.unknown, seen.records), seen.records)
	}
	return nil
}

// record looks at one record as a task would.
func (seen *sampled) record(reader *feed.Reader, horizon engine.Millis, route broker.Router, r *kgo.Record) error {
	seen.records++
	h, err := reader.One(r)
	if err != nil {
		seen.unknown++
		return nil
	}
	cause := ""
	for n := range h.Parts() {
		part := h.Part(n)
		switch {
		case part.Bad():
			cause = string(part.Err.Cause)
		case part.Result == schemas.IsSkipped:
		case part.Result == schemas.IsEvent && part.Ev.At > horizon:
			cause = "future"
		default:
			if part.Result == schemas.IsEvent {
				seen.customers[part.Ev.Customer]++
			}
			if n == 0 && len(part.More.Texts) == 0 && route.Partition(part.Ev.Customer) != r.Partition%seen.tasks {
				seen.wrong++ // nobody expects it of records that are mapped
			}
		}
	}
	if cause != "" {
		seen.bad++
		seen.causes[cause]++
	}
	return nil
}

// Percent writes a share.
func Percent(n, of int) string {
	share := 100 * float64(n) / float64(of)
	if share < 1 {
		return fmt.Sprintf("%.2g %%", share)
	}
	return fmt.Sprintf("%.0f %%", share)
}
