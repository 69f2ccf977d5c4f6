package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/group"
)

// both returns the settings of a broker that shows a certificate and wants the
// same one of its clients.
func both(t *testing.T, certFile, keyFile string) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
}

// TestCertificatesRenewed: all certificates are replaced, those of the engine in
// its files, and the broker is started again with its own. The engine goes on.
func TestCertificatesRenewed(t *testing.T) {
	certFile, keyFile := certificate(t)
	dir := t.TempDir()
	cluster := newCluster(t, kfake.DataDir(dir), kfake.TLS(both(t, certFile, keyFile)))
	addrs := cluster.ListenAddrs()
	conf := testConfig(t, addrs...)
	conf.Kafka.TLS = &TLSConfig{CA: certFile, Cert: certFile, Key: keyFile}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	owner := make(chan *group.Owner, 1)
	done := make(chan error, 1)
	go func() {
		done <- RunRules(ctx, conf, buyersRules(t), RunOptions{
			Logger: slog.New(slog.DiscardHandler), OnStart: func(o *group.Owner) { owner <- o },
			Kafka: []kgo.Opt{kgo.MetadataMinAge(50 * time.Millisecond)},
		})
	}()
	o := <-owner
	eventually(t, "ready", func() bool { return o.Status().Ready })

	newCert, newKey := certificate(t)
	for from, to := range map[string]string{newCert: certFile, newKey: keyFile} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	_, port, err := net.SplitHostPort(addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	cluster.Close()
	newCluster(t, kfake.DataDir(dir), kfake.TLS(both(t, certFile, keyFile)), kfake.Ports(n))
	cl, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.Dialer(conf.Kafka.TLS.dial))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	event := &kgo.Record{Topic: "events.purchase", Key: []byte("c1"), Value: []byte(`{"event_id":"e1","customer_id":"c1","occurred_at":"` + time.Now().UTC().Format(time.RFC3339) + `","order_id":"o","revenue":"10"}`)}
	if err := cl.ProduceSync(ctx, event).FirstErr(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the event is folded", func() bool {
		folded := uint64(0)
		for _, task := range o.Status().Tasks {
			folded += task.Folded
		}
		return folded == 1 && o.Status().Ready
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestExpiredCertificate: a broker's certificate that has expired ends the run at
// the start, and says so.
func TestExpiredCertificate(t *testing.T) {
	certFile, keyFile := certificateUntil(t, time.Now().Add(-time.Minute))
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	conf := testConfig(t, newCluster(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}})).ListenAddrs()...)
	conf.Kafka.TLS = &TLSConfig{CA: certFile}
	err = RunRules(t.Context(), conf, buyersRules(t), RunOptions{Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "expired") || !strings.Contains(err.Error(), "kafka.tls.ca") {
		t.Errorf("%v", err)
	}
}
