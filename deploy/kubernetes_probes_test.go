package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/segmill/segmill/internal/app"
)

// TestKubernetesProbes runs the program on the configuration as a pod has it, files
// behind links as a ConfigMap mounts them, without a broker: it lives, is not
// ready, has metrics, and keeps state and name in the volume.
func TestKubernetesProbes(t *testing.T) {
	b, err := loadBundle(os.DirFS("kubernetes"))
	if err != nil {
		t.Fatal(err)
	}
	c := b.set.Spec.Template.Spec.Containers[0]
	pod := t.TempDir() // the root of the container
	volumes := map[string]string{}
	for _, v := range b.set.Spec.Template.Spec.Volumes {
		volumes[v.Name] = v.ConfigMap.Name
	}
	var volume string
	for _, m := range c.Mounts {
		if name := volumes[m.Name]; name != "" {
			mountConfigMap(t, filepath.Join(pod, m.Path), b.maps[name])
		} else {
			volume = m.Path
		}
	}
	for _, e := range c.Env {
		t.Setenv(e.Name, "secret")
	}
	conf, err := app.ReadConfig(filepath.Join(pod, c.Args[2]))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(pod, volume), 0o700); err != nil {
		t.Fatal(err)
	}
	conf.State = filepath.Join(pod, conf.State)
	conf.Kafka.Brokers, conf.Registry.URL, conf.Output.Format = []string{"127.0.0.1:1"}, "", "json"
	*conf.HTTP = "127.0.0.1:0"

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	address, ended := make(chan string, 1), make(chan error, 1)
	go func() { // ends with ctx
		ended <- app.Run(ctx, conf, app.RunOptions{Logger: slog.New(slog.NewJSONHandler(addressWriter(address), nil))})
	}()
	var at string
	select {
	case at = <-address:
	case err := <-ended:
		t.Fatalf("it ended: %v", err)
	}
	for path, want := range map[string]int{
		c.Startup.HTTP.Path: 200, c.Liveness.HTTP.Path: 200, c.Readiness.HTTP.Path: 503, "/metrics": 200,
	} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != want {
			t.Errorf("%s is %d, want %d", path, resp.StatusCode, want)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("stopped: %v", err)
	}
	left := map[string]bool{}
	entries, err := os.ReadDir(filepath.Join(pod, volume))
	for _, e := range entries {
		left[e.Name()] = true
	}
	name := filepath.Base(conf.State)
	if err != nil || !maps.Equal(left, map[string]bool{name: true, name + ".instance": true}) {
		t.Errorf("the volume holds %v, %v", slices.Sorted(maps.Keys(left)), err)
	}
}

// mountConfigMap lays files out as the kubelet does.
func mountConfigMap(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	data := filepath.Join(dir, "..2026_01_31")
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Base(data), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(data, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// addressWriter sends the address of the endpoints when the log names it.
type addressWriter chan<- string

// Write is part of io.Writer.
func (w addressWriter) Write(b []byte) (int, error) {
	var line struct{ Msg, Address string }
	if err := json.Unmarshal(bytes.TrimSpace(b), &line); err == nil && line.Msg == "http" && line.Address != "" {
		w <- line.Address
	}
	return len(b), nil
}
