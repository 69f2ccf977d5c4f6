package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/segmill/segmill/internal/bounded"
	"github.com/segmill/segmill/schemas"
)

// options returns how clients reach the brokers.
func (k *KafkaConfig) options() ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.SeedBrokers(k.Brokers...), kgo.ClientID("segmill")}
	if k.TLS != nil {
		if _, err := k.TLS.load(); err != nil {
			return nil, err
		}
		opts = append(opts, kgo.Dialer(k.TLS.dial))
	}
	if s := k.SASL; s != nil {
		auth := scram.Auth{User: s.User, Pass: string(s.Password)}
		switch s.Mechanism {
		case "plain":
			opts = append(opts, kgo.SASL(plain.Auth{User: s.User, Pass: string(s.Password)}.AsMechanism()))
		case "scram-sha-256":
			opts = append(opts, kgo.SASL(auth.AsSha256Mechanism()))
		case "scram-sha-512":
			opts = append(opts, kgo.SASL(auth.AsSha512Mechanism()))
		}
	}
	return opts, nil
}

// dial connects with the files as they are now: certificates are renewed while the
// engine runs.
func (t *TLSConfig) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conf, err := t.load()
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err} // to be tried again
	}
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: conf}
	return d.DialContext(ctx, network, addr)
}

// dialTimeout is how long a connection may take, as in the client library.
const dialTimeout = 10 * time.Second

// maxPEM is the size of the largest file of certificates or of a key, in bytes.
const maxPEM = 4 << 20

// load reads the files. Without a CA the system's are used.
func (t *TLSConfig) load() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		b, err := bounded.ReadFile(t.CA, maxPEM)
		if err != nil {
			return nil, fmt.Errorf("kafka.tls.ca: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("kafka.tls.ca: %s contains no PEM certificate", t.CA)
		}
	}
	if t.Cert != "" || t.Key != "" {
		cert, err := bounded.ReadFile(t.Cert, maxPEM)
		if err != nil {
			return nil, fmt.Errorf("kafka.tls.cert: %w", err)
		}
		key, err := bounded.ReadFile(t.Key, maxPEM)
		if err != nil {
			return nil, fmt.Errorf("kafka.tls.key: %w", err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("kafka.tls: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}

// client returns a client of the registry, nil if none is configured. What it is
// answered is counted; metrics is nil if nobody looks.
func (r *RegistryConfig) client(metrics prometheus.Registerer) (*sr.Client, error) {
	if r.URL == "" {
		return nil, nil
	}
	opts := []sr.ClientOpt{
		sr.URLs(r.URL), sr.UserAgent("segmill"), sr.HTTPClient(schemas.NewHTTPClient(time.Now, RegistryMetrics(metrics))),
	}
	if r.User != "" {
		opts = append(opts, sr.BasicAuth(r.User, string(r.Password)))
	}
	cl, err := sr.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("registry.url: %w", err)
	}
	return cl, nil
}

// plainText returns a broker on another machine that is reached without TLS, "" if
// there is none.
func (k *KafkaConfig) plainText() string {
	if k.TLS != nil {
		return ""
	}
	for _, b := range k.Brokers {
		if !isLoopback(b) {
			return b
		}
	}
	return ""
}

// isLoopback reports whether an address, host:port, stays on this machine.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
