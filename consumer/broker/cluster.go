package broker

import (
	"context"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// RequestTimeout bounds each request that a partition waits for while it is
// acquired. Initialising a transactional id waits for the transaction of the former
// owner to be decided.
const RequestTimeout = 30 * time.Second

// metadataAge is the age from which cluster metadata is requested again.
const metadataAge = 500 * time.Millisecond

// Settings are how a cluster is reached.
type Settings struct {
	Client []kgo.Opt  // seeds, TLS, SASL, logger
	Hooks  []kgo.Hook // of every client
	Now    func() time.Time
	Log    *slog.Logger
}

// Cluster is the brokers, and a client to ask them questions.
type Cluster struct {
	Admin *kgo.Client
	Settings
}

// Connect returns a Cluster, which has asked nothing yet. Close closes it. It is an
// error if the settings of the client do not fit together.
func Connect(s Settings) (*Cluster, error) {
	c := &Cluster{Settings: s}
	var err error
	c.Admin, err = kgo.NewClient(c.Options()...)
	return c, err
}

// Close closes the client.
func (c *Cluster) Close() { c.Admin.Close() }

// Options returns the settings of every client.
func (c *Cluster) Options() []kgo.Opt {
	// After an error that says that what is known of the cluster is old, it is asked
	// again no sooner than this. The client's own 5 s would be a stop of 5 s.
	opts := append([]kgo.Opt{kgo.MetadataMinAge(metadataAge)}, c.Client...)
	if len(c.Hooks) > 0 {
		opts = append(opts, kgo.WithHooks(c.Hooks...))
	}
	return append(opts, kgo.DisableClientMetrics())
}

// brokerRetry is how long to wait before brokers are asked again.
const brokerRetry = time.Second

// Await asks again while brokers do not answer. It returns any other error, and nil or
// the last error when ctx ends.
func (c *Cluster) Await(ctx context.Context, ask func() error) error {
	err := ask()
	for err != nil && IsUnreachable(err) && ctx.Err() == nil {
		c.Log.Warn("brokers do not answer; waiting for them", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(brokerRetry):
		}
		err = ask()
	}
	return err
}

// APIVersions asks a broker what it knows.
func (c *Cluster) APIVersions(ctx context.Context) (*kmsg.ApiVersionsResponse, error) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "segmill", "0"
	return req.RequestWith(ctx, c.Admin)
}

// TransactionVersion returns the cluster's finalized transaction.version (KIP-890), 0
// if it has none.
func (c *Cluster) TransactionVersion(ctx context.Context) (int16, error) {
	resp, err := c.APIVersions(ctx)
	if err != nil {
		return 0, err
	}
	for _, f := range resp.FinalizedFeatures {
		if f.Name == "transaction.version" {
			return f.MaxVersionLevel, nil
		}
	}
	return 0, nil
}
