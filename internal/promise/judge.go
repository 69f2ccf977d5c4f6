package promise

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/checker"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/state"
)

// Judge lets the checker say whether the promise was kept; the test fails if it
// was not, or if nothing was judged. All instances must have ended. mend changes
// what the checker needs to know; nil if nothing.
func (j *Job) Judge(mend func(*checker.Config)) *checker.Report {
	j.Helper()
	cfg := j.judged()
	if mend != nil {
		mend(&cfg)
	}
	for _, in := range j.instances {
		if _, err := os.Stat(in.State); err != nil {
			continue // it has no local copies
		}
		s, err := state.Open(in.State, state.Options{Wake: engine.WakeOf})
		if err != nil {
			j.Fatal(err)
		}
		defer s.Close() // only read
		cfg.Stores = append(cfg.Stores, s)
	}
	var report *checker.Report
	j.Await("the checker has read everything", func() (err error) { // other tests kill brokers
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		report, err = checker.Check(ctx, cfg)
		return err
	})
	j.Logf("%d records acknowledged, the slowest after %s; %v", len(j.Load.Acked()), j.Load.Longest(), report)
	if report.Count() > 0 {
		j.Error("the checker found violations")
	}
	if report.Events == 0 || report.Changes == 0 || report.Triggers == 0 {
		j.Error("nothing was judged")
	}
	return report
}

// judged returns what the checker has to know.
func (j *Job) judged() checker.Config {
	j.Helper()
	loaded, err := app.LoadRules([]string{j.Rules})
	if err != nil {
		j.Fatal(err)
	}
	zones := app.Zones()
	topics := map[string]plan.Stream{j.Topic("web"): plan.Web, j.Topic("purchase"): plan.Purchase, j.Topic("email"): plan.Email, j.Topic("profile"): plan.Profile}
	cfg := checker.Config{
		Kafka: j.Options(), App: j.App, Changes: j.Topic("changes"), Triggers: j.Topic("triggers"),
		Spec: loaded.Set.Spec, Engine: loaded.Engine, Zones: zones, Grace: app.DefaultGrace,
		AtLeastOnce: j.Delivery == "at_least_once", Compacted: j.Compacted,
	}
	for topic := range topics {
		cfg.Inputs = append(cfg.Inputs, topic)
	}
	reader, err := schemas.NewReader(schemas.Config{
		Catalog: loaded.Engine.Catalog(), Layouts: loaded.Engine.Layout, Topics: topics,
		Zones: func(name string) bool { _, ok := zones(name); return ok },
	})
	if err != nil {
		j.Fatal(err)
	}
	cfg.Read = reader.Read
	if j.Clock == "events" {
		cfg.Clock, cfg.Until = config.EventsClock, engine.Millis(j.Until.UnixMilli())
	} else {
		cfg.Exact = j.Load.Exact
	}
	return cfg
}

// acked is an acknowledged record, as another judge reads it.
type acked struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Offset    int64   `json:"offset"`
	Timestamp int64   `json:"timestamp_ms"`
	Key       string  `json:"key"`
	Value     *string `json:"value"` // null is a tombstone
}

// WriteAcked writes the acknowledged records, one a line, for a judge that shares
// no code with the checker, and returns the path of the file.
func (j *Job) WriteAcked() string {
	j.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, r := range j.Load.Acked() {
		if err := enc.Encode(line(r)); err != nil {
			j.Fatal(err)
		}
	}
	path := filepath.Join(j.leash.Dir(), "acked.jsonl")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		j.Fatal(err)
	}
	return path
}

func line(r *kgo.Record) acked {
	a := acked{r.Topic, r.Partition, r.Offset, r.Timestamp.UnixMilli(), string(r.Key), nil}
	if r.Value != nil {
		v := string(r.Value)
		a.Value = &v
	}
	return a
}

// Silence returns the longest time in which a partition of the outputs got nothing
// between its first record and its last one.
func (j *Job) Silence() time.Duration {
	j.Helper()
	stamps := map[int32][]time.Time{}
	for _, r := range j.Records(j.Topic("changes"), j.Topic("triggers")) {
		stamps[r.Partition] = append(stamps[r.Partition], r.Timestamp)
	}
	longest := time.Duration(0)
	for _, l := range stamps {
		slices.SortFunc(l, time.Time.Compare)
		for i := 1; i < len(l); i++ {
			longest = max(longest, l[i].Sub(l[i-1]))
		}
	}
	return longest.Round(time.Millisecond)
}

// Records reads topics to the end that they have now, committed records only.
func (j *Job) Records(topics ...string) []*kgo.Record {
	j.Helper()
	ends, err := j.Admin.ListCommittedOffsets(j.Context(), topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		j.Fatal(err)
	}
	cl, err := kgo.NewClient(j.Options(kgo.ConsumeTopics(topics...), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		j.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(j.Context(), patience)
	defer cancel()
	left := map[string]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[fmt.Sprint(o.Topic, o.Partition)] = o.Offset
		}
	})
	starts, err := j.Admin.ListStartOffsets(ctx, topics...)
	if err != nil {
		j.Fatal(err)
	}
	starts.Each(func(o kadm.ListedOffset) {
		if k := fmt.Sprint(o.Topic, o.Partition); o.Offset >= left[k] {
			delete(left, k)
		}
	})
	var l []*kgo.Record
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			j.Fatalf("read %v: not to the end within %s: %v", topics, patience, left)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			k := fmt.Sprint(r.Topic, r.Partition)
			if r.Offset+1 >= left[k] {
				delete(left, k)
			}
			if !r.Attrs.IsControl() {
				l = append(l, r)
			}
		})
	}
	return l
}
