package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Waiting for brokers: the pause between two attempts, how long one may take, and
// after how many the log says again what is wrong.
const (
	brokerPause   = time.Second
	brokerTimeout = 10 * time.Second
	brokerRemind  = 30
)

// awaitBroker waits until a broker answers. It fails at once if a broker refuses
// us for a reason that waiting does not mend: a wrong password, a certificate
// that is not trusted.
func awaitBroker(ctx context.Context, k *KafkaConfig, opts []kgo.Opt, log *slog.Logger) error {
	cl, err := kgo.NewClient(append(opts, kgo.RequestRetries(0), kgo.RetryTimeout(brokerTimeout))...)
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	defer cl.Close()
	for attempt := 0; ; attempt++ {
		err := ping(ctx, cl)
		if err == nil || ctx.Err() != nil {
			return nil // a run that was stopped while it waited has not failed
		}
		if final := refusal(k, err); final != nil {
			return final
		}
		if attempt%brokerRemind == 0 {
			log.Warn("no broker answers yet: is kafka.brokers right?", "brokers", k.Brokers, "error", plainer(k, err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(brokerPause):
		}
	}
}

func ping(ctx context.Context, cl *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, brokerTimeout)
	defer cancel()
	return cl.Ping(ctx)
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
		return fmt.Errorf("%s: user or password is wrong: see kafka.sasl: %w", where, err)
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return fmt.Errorf("%s: it does not offer kafka.sasl.mechanism: %w", where, err)
	case errors.As(err, &unknown), errors.As(err, &host), errors.As(err, &invalid), errors.As(err, &verified):
		return fmt.Errorf("%s: its certificate is not trusted: see kafka.tls.ca: %w", where, err)
	case errors.As(err, &noTLS):
		return fmt.Errorf("%s: it does not speak TLS on this port: another port, or no kafka.tls: %w", where, err)
	case errors.As(err, &alert):
		return fmt.Errorf("%s: it refuses our TLS handshake: see kafka.tls.cert: %w", where, err)
	}
	return nil
}

// plainer adds to the error of a connection that breaks off what it mostly
// comes from.
func plainer(k *KafkaConfig, err error) string {
	text := err.Error()
	if k.TLS == nil && (errors.Is(err, context.DeadlineExceeded) || strings.Contains(text, "EOF")) {
		text += " (a port for TLS? then set kafka.tls)"
	}
	return text
}
