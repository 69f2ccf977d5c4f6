package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/internal/bounded"
)

// Waiting for servers: the pause between two attempts, how long one may take, and
// after how many the log says again what is wrong.
const (
	awaitPause   = time.Second
	awaitTimeout = 5 * time.Second
	awaitRemind  = 30
)

// await tries until it succeeds, until ctx ends, or until final makes an error of
// what try returns: one that waiting does not mend. The log says what is waited
// for.
func await(ctx context.Context, log *slog.Logger, what string, try func(context.Context) error, final func(error) error) error {
	for attempt := 0; ; attempt++ {
		trying, cancel := context.WithTimeout(ctx, awaitTimeout)
		// The client goes on for ten seconds with a broker that says nothing, also
		// when nobody waits any more.
		_, err := bounded.Within(ctx, func() (struct{}, error) { return struct{}{}, try(trying) })
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := final(err); err != nil {
			return err
		}
		if attempt%awaitRemind == 0 {
			log.Warn("waiting for "+what, "error", err) //nolint:sloglint // one of two texts
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(awaitPause):
		}
	}
}

// awaitBroker waits until a broker answers. It fails soon if a broker refuses us
// for a reason that waiting does not mend: a wrong password, a certificate that is
// not trusted.
func awaitBroker(ctx context.Context, k *KafkaConfig, opts []kgo.Opt, log *slog.Logger) error {
	var login hangUps
	cl, err := kgo.NewClient(append(slices.Clone(opts), kgo.RequestRetries(0), kgo.WithHooks(&login))...)
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	defer cl.Close()
	return await(ctx, log.With("brokers", k.Brokers), "a broker to answer; see kafka.brokers", cl.Ping, func(err error) error {
		if login.n.Load() >= hangUpsBelieved {
			return fmt.Errorf("broker %s closes the connection at login: wrong user or password; see kafka.sasl: %w", strings.Join(k.Brokers, ", "), err)
		}
		return refusal(k, err)
	})
}

// awaitCluster waits until a broker says which cluster it is of, and returns that.
func awaitCluster(ctx context.Context, k *KafkaConfig, opts []kgo.Opt, log *slog.Logger) (id string, err error) {
	cl, err := kgo.NewClient(slices.Clone(opts)...)
	if err != nil {
		return "", fmt.Errorf("kafka: %w", err)
	}
	defer cl.Close()
	ask := func(ctx context.Context) error {
		brokers, err := kadm.NewClient(cl).BrokerMetadata(ctx)
		id = brokers.Cluster
		return err
	}
	err = await(ctx, log.With("brokers", k.Brokers), "a broker to name its cluster", ask, func(err error) error { return refusal(k, err) })
	return id, err
}

// hangUps counts connections that were closed in answer to a login. Kafka says
// what is wrong with it; others, as kfake, only hang up.
type hangUps struct{ n atomic.Int32 }

// hangUpsBelieved is how many of them are no accident, such as a restart.
const hangUpsBelieved = 3

// OnBrokerRead implements kgo.HookBrokerRead.
func (h *hangUps) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if key == int16(kmsg.SASLAuthenticate) && errors.Is(err, io.EOF) {
		h.n.Add(1)
	}
}

// refusal returns an error with its remedy if err will not go away by waiting,
// else nil.
func refusal(k *KafkaConfig, err error) error {
	where := "broker " + strings.Join(k.Brokers, ", ")
	var (
		unknown  x509.UnknownAuthorityError
		host     x509.HostnameError
		invalid  x509.CertificateInvalidError
		alert    tls.AlertError
		noTLS    tls.RecordHeaderError
		verified *tls.CertificateVerificationError
	)
	switch {
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return fmt.Errorf("%s: wrong user or password; see kafka.sasl: %w", where, err)
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return fmt.Errorf("%s: the broker does not support kafka.sasl.mechanism: %w", where, err)
	case errors.As(err, &unknown), errors.As(err, &host), errors.As(err, &invalid), errors.As(err, &verified):
		return fmt.Errorf("%s: the broker's certificate is not trusted; see kafka.tls.ca: %w", where, err)
	case errors.As(err, &noTLS):
		return fmt.Errorf("%s: the broker does not speak TLS on this port: use another port, or remove kafka.tls: %w", where, err)
	case errors.As(err, &alert):
		return fmt.Errorf("%s: the broker refuses the TLS handshake; see kafka.tls.cert: %w", where, err)
	}
	return nil
}
