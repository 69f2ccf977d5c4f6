package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/segmill/segmill/consumer/group"
	"github.com/segmill/segmill/internal/console"
)

// certificate writes a certificate for the loopback interface, which signs
// itself, and its key.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	return certificateUntil(t, time.Now().Add(time.Hour))
}

func certificateUntil(t *testing.T, end time.Time) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: end, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	write(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	return certFile, keyFile
}

// TestTLSAndSASL runs the engine on a broker that wants both: with what is right
// it becomes ready, with what is wrong it says so soon and does not wait.
func TestTLSAndSASL(t *testing.T) {
	certFile, keyFile := certificate(t)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	cluster := newCluster(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}}), kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "me", "s3cret"), kfake.Superuser("SCRAM-SHA-256", "me", "s3cret"), kfake.Superuser("SCRAM-SHA-512", "me", "s3cret"))
	ca := &TLSConfig{CA: certFile}
	for _, x := range []struct {
		name string
		tls  *TLSConfig
		sasl SASLConfig
		want string // in the error; "" becomes ready
	}{
		{"plain", ca, SASLConfig{"plain", "me", "s3cret"}, ""},
		{"scram 256", ca, SASLConfig{"scram-sha-256", "me", "s3cret"}, ""},
		{"scram 512", ca, SASLConfig{"scram-sha-512", "me", "s3cret"}, ""},
		{"wrong password", ca, SASLConfig{"plain", "me", "wr0ng"}, "wrong user or password; see kafka.sasl"},
		{"wrong password, scram", ca, SASLConfig{"scram-sha-512", "me", "wr0ng"}, "wrong user or password; see kafka.sasl"},
		{"unknown user", ca, SASLConfig{"scram-sha-256", "you", "s3cret"}, "wrong user or password; see kafka.sasl"},
		{"unknown authority", &TLSConfig{}, SASLConfig{"plain", "me", "s3cret"}, "certificate is not trusted; see kafka.tls.ca"},
	} {
		t.Run(x.name, func(t *testing.T) {
			conf := testConfig(t, cluster.ListenAddrs()...)
			conf.Kafka.TLS, conf.Kafka.SASL = x.tls, &x.sasl
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			ready := false
			err := RunRules(ctx, conf, buyersRules(t), RunOptions{
				Logger: slog.New(slog.DiscardHandler),
				OnStart: func(o *group.Owner) {
					go func() { // ends with ctx
						for !o.Status().Ready && ctx.Err() == nil {
							<-time.After(20 * time.Millisecond)
						}
						ready = ctx.Err() == nil
						cancel()
					}()
				},
			})
			switch {
			case x.want == "" && (err != nil || !ready):
				t.Errorf("ready %v, error %v", ready, err)
			case x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want) || ctx.Err() != nil):
				t.Errorf("error %v, want %q at once", err, x.want)
			}
			if err != nil && strings.Contains(err.Error(), string(x.sasl.Password[:])+" ") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

// TestMissingTLS: a broker that hangs up at once may be restarting, so it is
// waited for, with a hint.
func TestMissingTLS(t *testing.T) {
	certFile, keyFile := certificate(t)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	conf := testConfig(t, newCluster(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}})).ListenAddrs()...)
	var log buffer
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- RunRules(ctx, conf, buyersRules(t), RunOptions{Logger: console.NewLogger(&log, "info", true)})
	}()
	eventually(t, "the hint is logged", func() bool { return strings.Contains(log.String(), "is TLS missing?") })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestTLSFiles(t *testing.T) {
	certFile, keyFile := certificate(t)
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		conf TLSConfig
		want string
	}{
		{TLSConfig{CA: certFile, Cert: certFile, Key: keyFile}, ""},
		{TLSConfig{}, ""},
		{TLSConfig{CA: "nowhere.pem"}, "kafka.tls.ca: open nowhere.pem: no such file"},
		{TLSConfig{CA: notPEM}, "contains no PEM certificate"},
		{TLSConfig{Cert: certFile, Key: notPEM}, "kafka.tls: "},
	} {
		_, err := x.conf.load()
		if x.want == "" && err != nil || x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)) {
			t.Errorf("%+v: error %v, want %q", x.conf, err, x.want)
		}
	}
}
