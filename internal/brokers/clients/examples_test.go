//go:build brokers

package clients

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each example of docs/producers.md publishes an order as it is written there, to the
// partition of its customer.
func TestExamples(t *testing.T) {
	const app = "examples"
	text, err := os.ReadFile("../../../docs/producers.md")
	if err != nil {
		t.Fatal(err)
	}
	createTopics(t, app+".purchase", app+".changes", app+".triggers")
	e := startWith(t, "testdata/examples.yaml", app, servers(), "output: {format: json}\n")
	programs := map[string]func(ctx context.Context, file string) *exec.Cmd{
		"sh":     func(ctx context.Context, file string) *exec.Cmd { return exec.CommandContext(ctx, "sh", file) },
		"python": func(ctx context.Context, file string) *exec.Cmd { return exec.CommandContext(ctx, suite.python, file) },
		"js":     func(ctx context.Context, file string) *exec.Cmd { return exec.CommandContext(ctx, "node", file) },
		"java": func(ctx context.Context, file string) *exec.Cmd {
			return exec.CommandContext(ctx, "java", "-cp", filepath.Join(suite.connect, "*"), file)
		},
		"go": func(ctx context.Context, file string) *exec.Cmd { return exec.CommandContext(ctx, "go", "run", file) },
	}
	dir := t.TempDir()
	var ran []string
	for _, m := range regexp.MustCompile("(?s)```([a-z]+)\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		language, code := m[1], strings.ReplaceAll(m[2], "events.purchase", app+".purchase")
		if !strings.Contains(code, "BROKERS") {
			continue // no example of publishing
		}
		command := programs[language]
		if command == nil {
			t.Fatalf("no program for examples in %q", language)
		}
		file := filepath.Join(dir, "Publish."+language)
		if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		cmd := command(ctx, file)
		cmd.Env = append(os.Environ(), "BROKERS="+servers(), "NODE_PATH="+suite.modules)
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			t.Fatalf("%s: %v\n%s", language, err, out)
		}
		ran = append(ran, language)
	}
	if len(ran) != len(programs) {
		t.Errorf("only %v have examples", ran)
	}
	var got []string
	for _, r := range collect(t, app+".changes", len(programs)) {
		got = append(got, string(r.Key))
		if !strings.Contains(string(r.Value), `"segment":"first_order","action":"entered"`) {
			t.Errorf("%s", r.Value)
		}
	}
	if slices.Sort(got); !slices.Equal(got, []string{"anna", "berta", "carla", "doris", "elsa"}) {
		t.Errorf("entered: %v", got)
	}
	_, adm := admin(t)
	forwarded, err := adm.ListEndOffsets(t.Context(), app+".repartition")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range forwarded[app+".repartition"] {
		if p.Offset > 0 {
			t.Errorf("a record was forwarded to partition %d: its example has another partitioner", p.Partition)
		}
	}
	e.stop(t)
}
