// Package apicurio starts an Apicurio Registry for tests: a schema registry that
// answers Confluent's interface, and is not Confluent's. It comes from Maven
// Central, keeps everything in memory, and needs Java 17.
package apicurio

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/segmill/segmill/internal/brokers/tools"
	"github.com/segmill/segmill/internal/leash"
)

// Version is the one that is started.
const Version = "3.0.9"

const startTimeout = 2 * time.Minute

// Registry is a running registry.
type Registry struct {
	url   string
	leash *leash.Leash
}

// Start starts a registry on a free port of the loopback interface and waits until
// it answers. The caller closes it; it does not outlive the process.
func Start(ctx context.Context) (*Registry, error) {
	dir, err := tools.Archive(ctx, "io.apicurio:apicurio-registry-app:"+Version+":tar.gz:all")
	if err != nil {
		return nil, err
	}
	l, err := leash.New("segmill-apicurio")
	if err != nil {
		return nil, err
	}
	r := &Registry{leash: l}
	if err := r.launch(ctx, dir); err != nil {
		log, _ := os.ReadFile(r.Log()) // the error below is the one that counts
		_ = l.Close()
		return nil, fmt.Errorf("start Apicurio %s: %w\n%s", Version, err, log)
	}
	return r, nil
}

func (r *Registry) launch(ctx context.Context, dir string) error {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(free.Addr().String())
	if err != nil {
		return err
	}
	if err := free.Close(); err != nil {
		return err
	}
	r.url = "http://" + net.JoinHostPort(host, port) + "/apis/ccompat/v7"
	log, err := os.Create(r.Log())
	if err != nil {
		return err
	}
	defer log.Close() // the process has it
	cmd := exec.Command("java", "-Xmx384m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
		"-Dquarkus.http.host="+host, "-Dquarkus.http.port="+port, "-jar", filepath.Join(dir, "apicurio-registry-app-"+Version+"-runner.jar"))
	cmd.Dir, cmd.Stdout, cmd.Stderr = r.leash.Dir(), log, log
	p, err := r.leash.Start(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		if err = r.answers(ctx); err == nil {
			return nil
		}
		select {
		case <-p.Done():
			return fmt.Errorf("it has ended: %w", p.Wait())
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// answers returns nil if the registry is in service.
func (r *Registry) answers(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/subjects", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() // it was read
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", req.URL, resp.Status)
	}
	return nil
}

// URL returns the base of Confluent's interface.
func (r *Registry) URL() string { return r.url }

// Log returns the path of its log, which Close removes.
func (r *Registry) Log() string { return filepath.Join(r.leash.Dir(), "apicurio.log") }

// Close ends it.
func (r *Registry) Close() error { return r.leash.Close() }
