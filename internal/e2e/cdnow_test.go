//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The purchases of CDNOW customers from January 1997 to June 1998 are not part of
// this repository. CDNOW names the file; without it, a place beside the checkout
// is tried.
const cdnowPlace = "../../../shared/data/cdnow/CDNOW_master.txt"

// end is the last instant of the data.
const end = "1998-06-30T23:59:59.999Z"

var ends = []string{"1997-09-30T23:59:59.999Z", end}

func cdnow(t *testing.T) string {
	t.Helper()
	path := os.Getenv("CDNOW")
	if path == "" {
		path = cdnowPlace
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		t.Skip("the CDNOW purchases are not here: set CDNOW to the path of CDNOW_master.txt")
	}
	return path
}

type purchase struct {
	line                    int
	customer, date, revenue string
}

// readPurchases returns the purchases sorted by date, customer and line.
func readPurchases(t *testing.T, path string) []purchase {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var l []purchase
	for i, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) != 4 || i == 0 {
			continue
		}
		l = append(l, purchase{i + 1, f[0], f[1], f[3]})
	}
	slices.SortFunc(l, func(a, b purchase) int {
		if c := strings.Compare(a.date+a.customer, b.date+b.customer); c != 0 {
			return c
		}
		return a.line - b.line
	})
	return l
}

// event is a purchase as JSON, with extra keys in front.
func (p purchase) event(extra string) string {
	return fmt.Sprintf(`{%s"event_id":"cdnow-%d","customer_id":"%s","occurred_at":"%s-%s-%sT00:00:00Z","revenue":"%s"}`,
		extra, p.line, p.customer, p.date[:4], p.date[4:6], p.date[6:], p.revenue)
}

// counts counts the members of each segment at an instant from the changes with
// effective_at up to it.
func counts(l []change, at string) map[string]int {
	in := map[string]map[string]bool{}
	for _, c := range l {
		if c.Effective > at {
			continue
		}
		if in[c.Segment] == nil {
			in[c.Segment] = map[string]bool{}
		}
		if c.Action == "entered" {
			in[c.Segment][c.Customer] = true
		} else {
			delete(in[c.Segment], c.Customer)
		}
	}
	n := map[string]int{}
	for s, m := range in {
		n[s] = len(m)
	}
	return n
}

// independent counts the members with awk over the file of purchases.
func independent(t *testing.T, path, at string) map[string]int {
	t.Helper()
	day, err := time.Parse(time.RFC3339, at)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("awk", "-v", "end="+day.Format("20060102"), "-f", "testdata/cdnow.awk", path).Output()
	if err != nil {
		t.Fatalf("awk: %v", err)
	}
	n := map[string]int{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if n[f[0]], err = strconv.Atoi(f[1]); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// load publishes purchases.
func (b broker) load(t *testing.T, l []purchase) {
	t.Helper()
	var buf bytes.Buffer
	for _, p := range l {
		fmt.Fprintf(&buf, "%s\t%s\n", p.customer, p.event(""))
	}
	b.publish(t, "events.purchase", buf.Bytes())
}

// replayed returns what `segmill replay` says of the same events.
func replayed(t *testing.T, l []purchase, app string) []change {
	t.Helper()
	file := filepath.Join(t.TempDir(), "events.jsonl")
	var buf bytes.Buffer
	for _, p := range l {
		buf.WriteString(p.event(`"stream":"purchase",`) + "\n")
	}
	if err := os.WriteFile(file, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program(t, "segmill"), "replay", "--rules", "testdata/cdnow.yaml", "--events", file, "--until", end, "--app", app)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("segmill replay: %v", err)
	}
	return changes(t, out)
}

func split(l []change) (memberships, triggers []change) {
	for _, c := range l {
		if c.Segment != "" {
			memberships = append(memberships, c)
		} else {
			triggers = append(triggers, c)
		}
	}
	return memberships, triggers
}

// Real purchases through Kafka give the members that awk counts, and the records
// that replay prints.
func TestCDNOW(t *testing.T) {
	path := cdnow(t)
	l := readPurchases(t, path)
	b := startBroker(t, "events.purchase:4")
	b.load(t, l)
	newInstance(t, b, "cdnow", "testdata/cdnow.yaml", "").finish(t, "--until", end)
	got, fired := b.consume(t, "cdnow.changes"), b.consume(t, "cdnow.triggers")
	for _, at := range ends {
		want := independent(t, path, at)
		t.Logf("%s: %v", at, want)
		if n := counts(got, at); !maps.Equal(n, want) {
			t.Errorf("members at %s: %v, awk counts %v", at, n, want)
		}
	}
	memberships, triggers := split(replayed(t, l, "cdnow"))
	sameByCustomer(t, "changes against replay", got, memberships)
	sameByCustomer(t, "triggers against replay", fired, triggers)
}

// Killed at ten random moments, the committed output is the same as without.
func TestCDNOWKilled(t *testing.T) {
	path := cdnow(t)
	l := readPurchases(t, path)
	b := startBroker(t, "events.purchase:4")
	r := rand.New(rand.NewPCG(seedOf(t), 0))
	e := newInstance(t, b, "killed", "testdata/cdnow.yaml", "commit_interval: 10ms\n")
	const kills = 10
	for k := range kills {
		// Each has something new to do, and none comes to an end.
		b.load(t, l[len(l)*k/kills:len(l)*(k+1)/kills])
		before := b.written(t, "killed.changelog")
		p := e.start(t)
		// It is killed at a random moment after it has begun to write.
		for p.running() && b.written(t, "killed.changelog") == before {
			time.Sleep(2 * time.Millisecond)
		}
		time.Sleep(time.Duration(r.IntN(30_000)) * time.Microsecond)
		p.kill(t)
		t.Logf("kill %d, after %d records of the changelog", k+1, b.written(t, "killed.changelog")-before)
	}
	e.finish(t, "--until", end)
	memberships, triggers := split(replayed(t, l, "killed"))
	sameByCustomer(t, "changes after ten kills", b.consume(t, "killed.changes"), memberships)
	sameByCustomer(t, "triggers after ten kills", b.consume(t, "killed.triggers"), triggers)
}

// seedOf returns SEED, or a random one, and logs it.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64N(1 << 40)
	if s := os.Getenv("SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("SEED=%s: %v", s, err)
		}
	}
	t.Logf("SEED=%d", seed)
	return seed
}
