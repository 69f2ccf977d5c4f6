package promise

import (
	"embed"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/internal/leash"
)

// Kafka is where the brokers are.
type Kafka struct {
	Addresses []string
	// Options are what the suite's own clients need, apart from addresses.
	Options []kgo.Opt
	// Login is what the program needs under kafka: in its configuration, as YAML
	// that follows "brokers: [...]", such as ", tls: {ca: x}".
	Login string
	// Replication of topics; 0 is the brokers' default.
	Replication int16
}

// Rules of the suite, by name.
const (
	Days    = "days"    // windows of days, for histories
	Seconds = "seconds" // windows of seconds, for the wall clock
)

//go:embed testdata
var testdata embed.FS

// inputs are the streams that jobs read.
var inputs = []string{"web", "purchase", "email", "profile"}

// Job is an app that nobody else uses: its topics, rules, load and instances.
type Job struct {
	*testing.T
	Kafka    Kafka
	App      string
	Delivery string // exactly_once or at_least_once
	Clock    string // wall or events
	Rules    string // path of the rule file
	// Until is the end of a run over history.
	Until time.Time
	// Compacted says that the changelog was compacted.
	Compacted bool
	// Was are the former ids of segments that were renamed, by their ids now.
	Was map[string]string
	// Before is the job whose state this one took over, if any.
	Before *Job

	Load  *Load
	Admin *kadm.Client

	inputs    string // app whose inputs are read
	tasks     int32  // topics.create.partitions, 0 if the inputs say it
	client    *kgo.Client
	leash     *leash.Leash
	instances []*Instance
}

// Setup says what a job is.
type Setup struct {
	Rules      string // Days unless given
	Delivery   string // exactly_once unless given
	Clock      string // wall unless given
	Partitions int32  // 4 unless given
	// Sizes are numbers of partitions of inputs that have others; there are then
	// Partitions tasks all the same.
	Sizes map[string]int32
	// Producer are further options of the load's producer.
	Producer []kgo.Opt
}

// New makes the topics of a new job, which end with the test.
func New(t *testing.T, k Kafka, s Setup) *Job {
	t.Helper()
	j := &Job{
		T: t, Kafka: k, App: fmt.Sprintf("t%x", rand.Uint64()),
		Delivery: or(s.Delivery, "exactly_once"), Clock: or(s.Clock, "wall"),
	}
	j.inputs = j.App
	j.open(or(s.Rules, Days))
	partitions := or(s.Partitions, 4)
	for _, name := range inputs {
		j.CreateTopic(j.Topic(name), or(s.Sizes[name], partitions))
	}
	if s.Sizes != nil {
		j.tasks = partitions
	}
	j.AwaitTopics()
	j.Load = newLoad(j, s.Producer)
	return j
}

// Over returns another job over the inputs of j, with the same rules: a run over
// history up to an instant.
func (j *Job) Over(until time.Time) *Job {
	j.Helper()
	over := &Job{
		T: j.T, Kafka: j.Kafka, App: fmt.Sprintf("t%x", rand.Uint64()), Delivery: j.Delivery, Clock: "events",
		Until: until, Load: j.Load, inputs: j.inputs, tasks: j.tasks,
	}
	over.open("")
	over.Rules = j.Rules
	return over
}

func (j *Job) open(rules string) {
	j.Helper()
	var err error
	if j.leash, err = leash.New("segmill-" + j.App); err != nil {
		j.Fatal(err)
	}
	j.Cleanup(func() {
		if j.Failed() {
			j.keep()
		}
		if err := j.leash.Close(); err != nil {
			j.Error(err)
		}
	})
	if j.client, err = kgo.NewClient(j.Options(kgo.UnknownTopicRetries(-1))...); err != nil {
		j.Fatal(err)
	}
	j.Cleanup(j.client.Close)
	j.Admin = kadm.NewClient(j.client)
	if rules != "" {
		j.Rules = j.RuleFile(rules)
	}
}

// RuleFile writes the rules of a name, with texts replaced in pairs, and returns
// the path.
func (j *Job) RuleFile(name string, replace ...string) string {
	j.Helper()
	b, err := testdata.ReadFile("testdata/" + name + ".yaml")
	if err != nil {
		j.Fatal(err)
	}
	path := filepath.Join(j.leash.Dir(), fmt.Sprintf("%s-%d.yaml", name, len(replace)))
	if err := os.WriteFile(path, []byte(strings.NewReplacer(replace...).Replace(string(b))), 0o600); err != nil {
		j.Fatal(err)
	}
	return path
}

// Options returns the options of a client.
func (j *Job) Options(more ...kgo.Opt) []kgo.Opt {
	return slices.Concat([]kgo.Opt{kgo.SeedBrokers(j.Kafka.Addresses...), kgo.MetadataMinAge(100 * time.Millisecond)}, j.Kafka.Options, more)
}

// Topic returns the name of a topic: an input, or another one of the app.
func (j *Job) Topic(name string) string {
	if slices.Contains(inputs, name) {
		return j.inputs + "." + name
	}
	return j.App + "." + name
}

// CreateTopic creates a topic that keeps its records, however old. The brokers may
// just have lost one of them.
func (j *Job) CreateTopic(name string, partitions int32) {
	j.Helper()
	replication := j.Kafka.Replication
	if replication == 0 {
		replication = -1
	}
	j.Await("topic "+name, func() error {
		_, err := j.Admin.CreateTopic(j.Context(), partitions, replication, map[string]*string{"retention.ms": kadm.StringPtr("-1")}, name)
		if errors.Is(err, kerr.TopicAlreadyExists) {
			return nil
		}
		return err
	})
}

// Grow gives an input more partitions.
func (j *Job) Grow(name string, partitions int) {
	j.Helper()
	got, err := j.Admin.UpdatePartitions(j.Context(), partitions, j.Topic(name))
	if err == nil {
		err = got.Error()
	}
	if err != nil {
		j.Fatal(err)
	}
}

// AwaitTopics waits until every broker that answers knows the inputs: each learns
// of new topics by itself. kadm would answer from the client's cache.
func (j *Job) AwaitTopics() {
	j.Helper()
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range inputs {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(j.Topic(name))
		req.Topics = append(req.Topics, t)
	}
	j.Await("all brokers know the inputs", func() error {
		for _, b := range j.client.DiscoveredBrokers() {
			m, err := req.RequestWith(j.Context(), b)
			if err != nil {
				continue // it may be dead
			}
			for _, t := range m.Topics {
				if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
					return fmt.Errorf("%s: %w", *t.Topic, err)
				}
			}
		}
		return nil
	})
}

// patience is how long something may take that ought to happen.
const patience = 3 * time.Minute

// Await asks until the answer is nil.
func (j *Job) Await(what string, ask func() error) {
	j.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			j.Fatalf("%s: not within %s: %v", what, patience, err)
		}
	}
}

// Written returns how many records a topic has got, committed or not, markers
// included; -1 if a broker does not answer.
func (j *Job) Written(topic string) int64 {
	ends, err := j.Admin.ListEndOffsets(j.Context(), j.Topic(topic))
	if err != nil || ends.Error() != nil {
		return -1
	}
	n := int64(0)
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}

// AwaitCommit waits until something more is written to the changelog, or one of
// the processes has ended.
func (j *Job) AwaitCommit(ps ...*Process) {
	j.Helper()
	before := int64(-1)
	j.Await("a commit", func() error {
		for _, p := range ps {
			if !p.Running() {
				return nil
			}
		}
		now := j.Written("changelog")
		if before < 0 {
			before = now
		}
		if now > before {
			return nil
		}
		return fmt.Errorf("%d records in the changelog", now)
	})
}

// AwaitRead waits until all instances have read what was acknowledged: until the
// group's progress is at the end of every input.
func (j *Job) AwaitRead() {
	j.Helper()
	j.Await("everything is read", func() error {
		lag, err := j.Admin.Lag(j.Context(), j.App+"-progress")
		if err != nil {
			return err
		}
		l := lag[j.App+"-progress"]
		if err := l.Error(); err != nil {
			return err
		}
		if n := l.Lag.Total(); n != 0 || len(l.Lag) == 0 {
			return fmt.Errorf("a lag of %d in %v", n, slices.Collect(maps.Keys(l.Lag)))
		}
		return nil
	})
}

func or[T comparable](value, otherwise T) T {
	var none T
	if value == none {
		return otherwise
	}
	return value
}

// SeedOf returns the random numbers of a test, from SEED or by chance, and logs the
// seed.
func SeedOf(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64N(1 << 40)
	if s := os.Getenv("SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("SEED=%s: %v", s, err)
		}
	}
	t.Logf("SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
