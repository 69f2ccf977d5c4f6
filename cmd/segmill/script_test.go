package main

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/internal/bounded"
	"github.com/segmill/segmill/internal/crash"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"segmill": main,
		"panics":  func() { defer crash.OnPanic(); panic("the sky is falling") },
		"panics-within": func() {
			_, _ = bounded.Within(context.Background(), func() (int, error) { panic("the sky is falling") })
		},
	})
}

// TestScripts runs testdata/*.txtar. UPDATE=1 rewrites what they expect; read the
// difference before committing it.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       os.Getenv("UPDATE") != "",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":   cmdCode,
			"stable": cmdStable,
			"ids":    cmdIDs,

			"broker":  cmdBroker,
			"produce": cmdProduce,
			"publish": cmdPublish,
			"consume": cmdConsume,
		},
	})
}

// cmdCode runs segmill and checks its exit code: code N args...
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N args...")
	}
	got := "0"
	if err := ts.Exec("segmill", args[1:]...); err != nil {
		m := regexp.MustCompile(`exit status (\d+)`).FindStringSubmatch(err.Error())
		if m == nil {
			ts.Fatalf("segmill: %v", err)
		}
		got = m[1]
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// fleeting is what differs from run to run, and what rules hash to.
var fleeting = regexp.MustCompile(`"(change_id|trigger_id|emitted_at|rule_version)":"[^"]*",?`)

// cmdStable writes the last output to a file without what is fleeting: stable
// FILE.
func cmdStable(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: stable FILE")
	}
	out := fleeting.ReplaceAllString(ts.ReadFile("stdout"), "")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(out), 0o600))
}

// cmdBroker starts a broker in this process, whose address is then in $BROKER:
// broker [TOPIC:PARTITIONS...]. Called again, it only makes the topics.
func cmdBroker(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: broker [TOPIC:PARTITIONS...]")
	}
	if ts.Getenv("BROKER") == "" {
		broker, err := kfake.NewCluster(kfake.NumBrokers(1))
		ts.Check(err)
		ts.Defer(broker.Close)
		ts.Setenv("BROKER", broker.ListenAddrs()[0])
	}
	cl := client(ts)
	defer cl.Close()
	for _, arg := range args {
		topic, count, _ := strings.Cut(arg, ":")
		n, err := strconv.Atoi(count)
		ts.Check(err)
		_, err = kadm.NewClient(cl).CreateTopic(context.Background(), int32(n), 1, nil, topic)
		ts.Check(err)
	}
}

// cmdProduce writes a record: produce TOPIC PARTITION KEY VALUE.
func cmdProduce(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: produce TOPIC PARTITION KEY VALUE")
	}
	p, err := strconv.Atoi(args[1])
	ts.Check(err)
	cl := client(ts)
	defer cl.Close()
	r := &kgo.Record{Topic: args[0], Partition: int32(p), Key: []byte(args[2]), Value: []byte(args[3])}
	ts.Check(cl.ProduceSync(context.Background(), r).FirstErr())
}

// cmdPublish writes each line of a file as a record: publish TOPIC FILE.
func cmdPublish(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: publish TOPIC FILE")
	}
	cl := client(ts)
	defer cl.Close()
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		ts.Check(cl.ProduceSync(context.Background(), &kgo.Record{Topic: args[0], Value: []byte(strings.TrimSpace(line))}).FirstErr())
	}
}

// cmdConsume writes the values of a topic to a file, sorted: consume TOPIC FILE.
func cmdConsume(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: consume TOPIC FILE")
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(ts.Getenv("BROKER")), kgo.ConsumeTopics(args[0]), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	ts.Check(err)
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListCommittedOffsets(context.Background(), args[0])
	ts.Check(err)
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	var values []string
	for len(left) > 0 {
		cl.PollFetches(context.Background()).EachRecord(func(r *kgo.Record) {
			values = append(values, string(r.Value)+"\n")
			if r.Offset+2 >= left[r.Partition] { // a commit marker follows the last record
				delete(left, r.Partition)
			}
		})
	}
	slices.Sort(values)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Join(values, "")), 0o600))
}

func client(ts *testscript.TestScript) *kgo.Client {
	cl, err := kgo.NewClient(kgo.SeedBrokers(ts.Getenv("BROKER")), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	ts.Check(err)
	return cl
}

var ids = regexp.MustCompile(`"(?:change_id|trigger_id)":"[^"]*"`)

// cmdIDs writes the ids of the last output to a file: ids FILE.
func cmdIDs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ids FILE")
	}
	l := ids.FindAllString(ts.ReadFile("stdout"), -1)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(l, "\n")+"\n"), 0o600))
}
