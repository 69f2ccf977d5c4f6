// Command limit is the yardstick of the benchmarks: the job of the ten rules as a
// loop over franz-go and Pebble, exactly once, with nothing in between. It reads the
// topic that bench/throughput fills, writes to topics of its own, and ends at the end
// that its input has at the start.
//
//	limit buckets   windows of whole days, 380 bytes a customer: the bridge to figures
//	                of other engines
//	limit exact     the engine's meaning: the same changes to the millisecond
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/bench/internal/job"
	"github.com/segmill/segmill/bench/internal/side"
)

func main() {
	var f side.Flags
	set := flag.NewFlagSet("limit", flag.ExitOnError)
	until := set.String("until", time.UnixMilli(job.End).UTC().Format(time.RFC3339), "exact: turn the clock to this instant at the end (RFC 3339)")
	brokers := set.String("brokers", "127.0.0.1:9092", "address of the broker")
	state := set.String("state", "", "directory of the state; empty makes one and removes it at the end")
	f.Register(set)
	set.Usage = func() {
		fmt.Fprintln(set.Output(), "usage: limit buckets|exact [flags]")
		set.PrintDefaults()
	}
	if len(os.Args) < 2 || os.Args[1] != "buckets" && os.Args[1] != "exact" {
		set.Usage()
		os.Exit(2)
	}
	name := os.Args[1]
	_ = set.Parse(os.Args[2:]) // ExitOnError
	side.Main("limit "+name, &f, func(ctx context.Context) (side.Result, error) {
		end, err := time.Parse(time.RFC3339Nano, *until)
		if err != nil {
			return side.Result{}, err
		}
		dir := *state
		if dir == "" {
			if dir, err = os.MkdirTemp("", "segmill-bench-"); err != nil {
				return side.Result{}, err
			}
			defer os.RemoveAll(dir)
		}
		return run(ctx, *brokers, dir, name, end.UnixMilli())
	})
}

func run(ctx context.Context, brokers, dir, name string, until int64) (r side.Result, err error) {
	db, err := pebble.Open(dir, options())
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(brokers),
		kgo.TransactionalID("limit"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MaxBufferedRecords(1<<20), // a transaction is sent while it is made, and never waits
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
	)
	if err != nil {
		return r, err
	}
	defer cl.Close()
	l, err := newLoop(ctx, cl, db)
	if err != nil {
		return r, err
	}
	if name == "exact" {
		l.mode, l.topic = newExact(l, until), side.Changes
	} else {
		l.mode, l.topic = newBuckets(l), side.Bits
	}
	err = l.run()
	return l.result, err
}

// options are Pebble's settings: what the job needs, and no more.
func options() *pebble.Options {
	o := &pebble.Options{
		FormatMajorVersion: pebble.FormatNewest,
		MemTableSize:       64 << 20,
		CacheSize:          512 << 20,
		Logger:             quiet{},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

// quiet is a logger that speaks only of what is fatal.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "pebble: "+format+"\n", args...)
	os.Exit(1)
}
