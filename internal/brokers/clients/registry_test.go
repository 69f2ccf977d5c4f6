//go:build brokers

package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/internal/brokers/apicurio"
)

// registries are those that one table of tests runs with.
var registries = map[string]func(*testing.T) (url string){
	// Apicurio answers an id that it does not have with 404 and
	// {"message":"No content with ID '9999' was found.","error_code":40403}, to
	// /schemas/ids/9999 and to /schemas/ids/9999/versions. To
	// /schemas/ids/{id}/subjects it answers 404 without a body whether it has the
	// schema or not; /schemas/ids/{id}/versions lists the subjects of one that it
	// has. (3.0.9, /apis/ccompat/v7.)
	"apicurio": func(t *testing.T) string {
		r, err := apicurio.Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
		return r.URL()
	},
	// devkafka answers as Confluent's registry does: 404 and error_code 40403 to the
	// three of them, and a list of subjects.
	"devkafka": func(t *testing.T) string {
		program, err := filepath.Abs("../../../bin/devkafka")
		if err != nil {
			t.Fatal(err)
		}
		log := filepath.Join(t.TempDir(), "devkafka.log")
		start(t, exec.Command(program, "--kafka", "127.0.0.1:0", "--registry", "127.0.0.1:0"), log)
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			said, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			if _, url, ok := strings.Cut(string(said), "registry "); ok && strings.HasSuffix(url, "\n") {
				return strings.TrimSpace(url)
			}
		}
		t.Fatal("devkafka does not say where its registry is")
		return ""
	},
}

// With each registry: the schemas of the outputs are registered once; inputs are
// read that were written with other schemas, and the outputs by a client that asks
// the registry.
func TestRegistry(t *testing.T) {
	for name, begin := range registries {
		t.Run(name, func(t *testing.T) {
			url, app := begin(t), "registry-"+name
			topic, changes, triggers := app+".purchase", app+".changes", app+".triggers"
			createTopics(t, topic)
			first := time.Now().Truncate(time.Second).Add(-time.Minute)
			// By the clock of events, since a slow registry would make orders late.
			settings := "clock: events\nregistry: {url: " + url + "}\n"
			e := startEngine(t, app, servers(), settings)
			write(t, url, topic, first)
			refused := refusals(collect(t, app+".dlq", 3*badCases))
			records := collect(t, changes, 2*goodCases)
			t.Run("inputs", func(t *testing.T) { readRight(t, decoded[change](t, url, changes), first) })
			t.Run("refused", func(t *testing.T) { rightlyRefused(t, refused) })
			t.Run("unknown ids", func(t *testing.T) { unknownIDs(t, name, url) })
			e.stop(t)

			e = startEngine(t, app, servers(), settings)
			write(t, url, topic, first.Add(45*time.Second), "after-the-restart") // the others of its partition are silent by then
			collect(t, changes, len(records)+2)
			collect(t, triggers, 1)
			for _, subject := range []string{changes + "-value", triggers + "-value"} {
				if got := ask(t, url+"/subjects/"+subject+"/versions", http.StatusOK); got != "[1]" {
					t.Errorf("versions of %s after a restart: %s", subject, got)
				}
			}
			if l := decoded[change](t, url, changes); len(l) != len(records)+2 {
				t.Errorf("%d changes were read of %d", len(l), len(records)+2)
			}
			for _, f := range decoded[firing](t, url, triggers) {
				if f.Trigger != "silent" || f.Kind != "inactivity" || f.Due != first.Add(27*time.Second).UnixMilli() || len(f.Segments) != 2 {
					t.Errorf("read %+v", f)
				}
			}
			e.stop(t)
		})
	}
}

// What avro_write.py writes.
const goodCases, badCases = 19, 3

// write sends purchases with many schemas.
func write(t *testing.T, registry, topic string, first time.Time, more ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args := append([]string{servers(), registry, topic, strconv.FormatInt(first.UnixMilli(), 10)}, more...)
	if out, err := pythonProgram(ctx, "avro_write.py", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// change is a membership change as another client reads it.
type change struct {
	Customer  string            `json:"customer_id"`
	Segment   string            `json:"segment"`
	Action    string            `json:"action"`
	Effective int64             `json:"effective_at"`
	Evidence  map[string]string `json:"evidence"`
}

// firing is a trigger as another client reads it.
type firing struct {
	Trigger  string   `json:"trigger"`
	Kind     string   `json:"kind"`
	Due      int64    `json:"due_at"`
	Segments []string `json:"segments"`
}

// decoded returns the records that confluent-kafka's AvroDeserializer reads.
func decoded[T any](t *testing.T, registry, topic string) (l []T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := pythonProgram(ctx, "avro_read.py", servers(), registry, topic)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	for line := range bytes.Lines(out) {
		var r T
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		l = append(l, r)
	}
	return l
}

// readRight checks that each case was read as what it says: three orders of 200, at
// their times.
func readRight(t *testing.T, l []change, first time.Time) {
	sums := map[string]bool{}
	for _, c := range l {
		if c.Action != "entered" || c.Effective != first.Add(2*time.Second).UnixMilli() {
			t.Errorf("%s %s %s at %s, want at %s", c.Customer, c.Action, c.Segment, time.UnixMilli(c.Effective), first.Add(2*time.Second))
		}
		if sum, ok := c.Evidence["sum(purchase.revenue, days(30))"]; ok && c.Segment == "spenders" {
			sums[c.Customer] = true
			if sum != "600" {
				t.Errorf("%s: three orders of 200 are %s", c.Customer, sum)
			}
		}
	}
	if len(l) != 2*goodCases || len(sums) != goodCases {
		t.Errorf("%d changes of %d customers with a sum, want %d of %d", len(l), len(sums), 2*goodCases, goodCases)
	}
}

// refusals returns the causes of dead letters by customer.
func refusals(l []*kgo.Record) map[string][]string {
	causes := map[string][]string{}
	for _, r := range l {
		for _, h := range r.Headers {
			if h.Key == "dlq.cause" {
				causes[string(r.Key)] = append(causes[string(r.Key)], string(h.Value))
			}
		}
	}
	return causes
}

// rightlyRefused checks that the cases that name a cause were refused for it, and no
// others.
func rightlyRefused(t *testing.T, causes map[string][]string) {
	for customer, got := range causes {
		parts := strings.SplitN(customer, "-", 3)
		if len(parts) < 3 || parts[0] != "bad" || !slices.Equal(got, slices.Repeat(parts[1:2], 3)) {
			t.Errorf("%s: refused because of %q", customer, got)
		}
	}
	if len(causes) != badCases {
		t.Errorf("%d customers have dead letters, want %d", len(causes), badCases)
	}
}

// unknownIDs holds fast what a registry answers to an id that it does not have.
func unknownIDs(t *testing.T, name, url string) {
	for _, path := range []string{"", "/subjects", "/versions"} {
		got := ask(t, url+"/schemas/ids/999999"+path, http.StatusNotFound)
		if silent := name == "apicurio" && path == "/subjects"; silent != (got == "") || !silent && !strings.Contains(got, "40403") {
			t.Errorf("/schemas/ids/999999%s: %q", path, got)
		}
	}
}

// ask returns the body of an answer, which must have that status.
func ask(t *testing.T, url string, status int) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != status {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(body))
}
