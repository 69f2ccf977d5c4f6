// Command devkafka is a Kafka broker and a schema registry for development, in
// one process and without Java: kfake and srfake on the loopback interface. It
// is no broker for production: nothing is replicated, everything is in memory
// (with --data also in files), and nobody has to log in unless --user is given.
//
// Stop it with SIGTERM or Ctrl-C. A killed kfake can leave a transaction visible
// on some of its partitions only, which no real broker does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/sr/srfake"
)

// options are the command line.
type options struct {
	kafka, registry string // addresses, host:port
	data            string // directory, "" for memory only
	topics          []topic
	minSession      time.Duration // shortest session timeout of consumer groups
	user            string        // name:password of the one user, "" if anyone may connect
}

type topic struct {
	name       string
	partitions int32
}

func main() {
	opt, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "devkafka:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, opt, func(kafka, registry string) {
		fmt.Printf("kafka %s\nregistry http://%s\n", kafka, registry)
	}); err != nil {
		fmt.Fprintln(os.Stderr, "devkafka:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	var topics string
	f := flag.NewFlagSet("devkafka", flag.ContinueOnError)
	f.StringVar(&o.kafka, "kafka", "127.0.0.1:9092", "address of the broker; port 0 picks a free one")
	f.StringVar(&o.registry, "registry", "127.0.0.1:8081", "address of the schema registry; port 0 picks a free one")
	f.StringVar(&o.data, "data", "", "directory that keeps topics and schemas over a restart; empty keeps them in memory")
	f.StringVar(&topics, "topics", "", "topics to create if they do not exist: name:partitions,...")
	f.DurationVar(&o.minSession, "min-session", 6*time.Second, "shortest session timeout that consumer groups may ask for")
	f.StringVar(&o.user, "user", "", "name:password that clients must log in with, by SCRAM-SHA-256; empty lets everybody in")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if name, password, ok := strings.Cut(o.user, ":"); o.user != "" && (!ok || name == "" || password == "") {
		return o, errors.New("--user: name:password is needed")
	}
	for t := range strings.SplitSeq(topics, ",") {
		if t == "" {
			continue
		}
		name, count, _ := strings.Cut(t, ":")
		n, err := strconv.ParseInt(count, 10, 32)
		if err != nil || n < 1 || name == "" {
			return o, fmt.Errorf("--topics: %q is not name:partitions", t)
		}
		o.topics = append(o.topics, topic{name, int32(n)})
	}
	return o, nil
}

// run serves both until ctx ends. It calls ready with their addresses.
func run(ctx context.Context, o options, ready func(kafka, registry string)) error {
	if o.data != "" {
		if err := os.MkdirAll(o.data, 0o700); err != nil {
			return err
		}
	}
	broker, err := startBroker(o)
	if err != nil {
		return err
	}
	defer broker.Close()
	for _, t := range o.topics {
		if err := broker.CreateTopic(t.name, t.partitions, nil); err != nil && broker.TopicInfo(t.name) == nil {
			return fmt.Errorf("create topic %s: %w", t.name, err)
		}
	}
	registry, err := startRegistry(ctx, o)
	if err != nil {
		return err
	}
	ready(strings.Join(broker.ListenAddrs(), ","), registry.Addr)
	<-ctx.Done()
	stopping, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if registry.Shutdown(stopping) != nil {
		return registry.Close() // a client that connected and said nothing
	}
	return nil
}

func startBroker(o options) (*kfake.Cluster, error) {
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.GroupMinSessionTimeout(o.minSession),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) { return net.Listen(network, o.kafka) }),
	}
	if name, password, ok := strings.Cut(o.user, ":"); ok {
		opts = append(opts, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", name, password))
	}
	if o.data != "" {
		opts = append(opts, kfake.DataDir(filepath.Join(o.data, "kafka")))
	}
	broker, err := kfake.NewCluster(opts...)
	if err != nil {
		return nil, fmt.Errorf("broker on %s: %w", o.kafka, err)
	}
	return broker, nil
}

func startRegistry(ctx context.Context, o options) (*http.Server, error) {
	reg := srfake.NewRegistry()
	handler := reg.Handler()
	if o.data != "" {
		file := filepath.Join(o.data, "schemas.json")
		if err := loadSchemas(reg, file); err != nil {
			return nil, err
		}
		handler = saving(handler, file)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.registry)
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	srv := &http.Server{Addr: l.Addr().String(), Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			slog.Error("registry", "error", err)
		}
	}()
	return srv, nil
}

// sortByID puts schemas in the order in which they were registered, so that one
// that refers to others comes after them.
func sortByID(s []saved) {
	slices.SortFunc(s, func(a, b saved) int { return a.ID - b.ID })
}
