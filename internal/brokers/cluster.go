package brokers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/segmill/segmill/internal/leash"
)

// Who may do everything on a secure cluster. Others are added with kadm.
const (
	Admin     = "admin"
	Password  = "admin-secret" //nolint:gosec // of a cluster that lives for one test
	mechanism = "SCRAM-SHA-256"
)

// Options say what is started. The zero value is one node of the newest version.
type Options struct {
	// Version is one of Versions, or another one that Maven Central has.
	Version string
	// Nodes is 1 or 3; 0 means 1. With 3, every topic has three replicas, and two
	// must have what is acknowledged.
	Nodes int
	// TransactionVersion is that of the transaction protocol: "0", "1" or "2"; ""
	// is what the version of Kafka uses by itself.
	TransactionVersion string
	// Properties are added to every node's configuration, and take precedence.
	Properties map[string]string
	// Secure demands TLS and a login by SCRAM-SHA-256 of clients, and gives rights by
	// ACLs. Admin has them all.
	Secure bool
}

// Cluster is a running cluster. Its methods may be called from one goroutine at a
// time.
type Cluster struct {
	options   Options
	leash     *leash.Leash
	java      string
	classpath string
	id        string
	ca        *authority // nil if not secure
	nodes     []*node
	cl        *kgo.Client
	adm       *kadm.Client
}

// startTimeout bounds the start of a node, on a busy machine.
const startTimeout = 3 * time.Minute

// Start starts a cluster and waits until all nodes are in service. The caller
// closes it.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if o.Version == "" {
		o.Version = Newest
	}
	if o.Nodes == 0 {
		o.Nodes = 1
	}
	if o.Nodes != 1 && o.Nodes != 3 {
		return nil, fmt.Errorf("%d nodes: 1 or 3", o.Nodes)
	}
	c := &Cluster{options: o}
	if err := c.prepare(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err := c.startAll(ctx); err != nil {
		kept, keepErr := c.KeepLogs()
		return nil, errors.Join(fmt.Errorf("start Kafka %s: %w; logs: %s", o.Version, err, kept), keepErr, c.Close())
	}
	return c, nil
}

// prepare does everything up to the first start of a node.
func (c *Cluster) prepare(ctx context.Context) (err error) {
	if c.java, err = java(ctx); err != nil {
		return err
	}
	folder, err := jars(ctx, c.options.Version)
	if err != nil {
		return err
	}
	c.classpath = filepath.Join(folder, "*")
	c.id = base64.RawURLEncoding.EncodeToString([]byte("segmill-test-000")) // 16 bytes, as Kafka demands
	if c.leash, err = leash.New("segmill-brokers"); err != nil {
		return err
	}
	if c.options.Secure {
		if c.ca, err = newAuthority(); err != nil {
			return err
		}
		if err := os.WriteFile(c.CA(), c.ca.pem, 0o600); err != nil {
			return err
		}
	}
	for id := 1; id <= c.options.Nodes; id++ {
		n := &node{id: id, dir: filepath.Join(c.leash.Dir(), fmt.Sprintf("node-%d", id))}
		for _, p := range []*int{&n.ports.clients, &n.ports.between, &n.ports.controllers} {
			if *p, err = freePort(); err != nil {
				return err
			}
		}
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		if err := c.format(ctx, n); err != nil {
			return err
		}
	}
	if c.cl, err = c.Client(); err != nil {
		return err
	}
	c.adm = kadm.NewClient(c.cl)
	return nil
}

func (c *Cluster) startAll(ctx context.Context) error {
	for _, n := range c.nodes {
		if err := c.launch(n); err != nil {
			return err
		}
	}
	return c.AwaitAll(ctx)
}

// Close ends all nodes and removes their folders.
func (c *Cluster) Close() error {
	if c.cl != nil {
		c.cl.Close()
	}
	if c.leash == nil {
		return nil
	}
	return c.leash.Close()
}

// Version returns Kafka's version.
func (c *Cluster) Version() string { return c.options.Version }

// Nodes returns how many nodes there are. They are numbered from 1.
func (c *Cluster) Nodes() int { return len(c.nodes) }

// Addresses returns where clients find the brokers, host:port each, running or
// not.
func (c *Cluster) Addresses() []string {
	var l []string
	for _, n := range c.nodes {
		l = append(l, address(n.ports.clients))
	}
	return l
}

// CA returns the path of the certificate, in PEM, that clients of a secure cluster
// have to trust.
func (c *Cluster) CA() string { return filepath.Join(c.leash.Dir(), "ca.pem") }

// ClientOptions returns what a client of user needs. User and password are of no
// importance if the cluster is not secure.
func (c *Cluster) ClientOptions(user, password string) []kgo.Opt {
	o := []kgo.Opt{kgo.SeedBrokers(c.Addresses()...), kgo.MetadataMinAge(50 * time.Millisecond)}
	if c.options.Secure {
		pool := x509.NewCertPool()
		pool.AddCert(c.ca.cert)
		o = append(o, kgo.DialTLSConfig(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}),
			kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha256Mechanism()))
	}
	return o
}

// Client returns a client of Admin. The caller closes it.
func (c *Cluster) Client(more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(c.ClientOptions(Admin, Password), more...)...)
}

// AdminClient returns the cluster's own client of Admin.
func (c *Cluster) AdminClient() *kadm.Client { return c.adm }

// Tool returns a command that runs a main class of Kafka's tools, such as
// org.apache.kafka.tools.TransactionsCommand or
// org.apache.kafka.tools.consumer.ConsoleConsumer. Its log goes to standard error.
func (c *Cluster) Tool(ctx context.Context, class string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, c.java, append([]string{
		"-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", c.classpath, class,
	}, args...)...)
}
