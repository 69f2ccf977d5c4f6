//go:build e2e

package e2e

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/state"
)

// canary is in every secret and in all personal data of this test.
const canary = "Canary7391"

// songs are the forms in which a canary could get out.
var songs = []string{
	strings.ToLower(canary), hex.EncodeToString([]byte(canary)),
	// Of any position in a text that was encoded, less what its neighbours change.
	strings.ToLower(base64.StdEncoding.EncodeToString([]byte(canary))[:12]),
	strings.ToLower(base64.StdEncoding.EncodeToString([]byte("x" + canary))[2:14]),
	strings.ToLower(base64.StdEncoding.EncodeToString([]byte("xx" + canary))[3:14]),
}

// silent fails the test if a canary is in a text.
func silent(t *testing.T, what, text string) {
	t.Helper()
	if text == "" {
		t.Errorf("%s: nothing was said, so nothing is shown", what)
	}
	for line := range strings.Lines(text) {
		for _, s := range songs {
			if strings.Contains(strings.ToLower(line), s) {
				t.Errorf("%s contains something secret or personal:\n%s", what, line)
				break
			}
		}
	}
}

// Passwords, customer ids and what is in events are in no log line, on no endpoint
// and in no error, also at level debug and when all goes wrong.
func TestCanary(t *testing.T) {
	b := startBrokerFor(t, "segmill", canary+"-kafka",
		"events.web:4", "events.email:4", "events.purchase:4", "events.profile:4", "events.consent:4")
	e := newInstance(t, b, "shop", root+"/examples/shop/rules", "")
	e.replaceTopics(t, "topics: {changes: shop.changes, triggers: shop.triggers, create: {partitions: 4, replication: 1}}")
	e.replace(t, "session_timeout: 6s}", `session_timeout: 2s, sasl: {mechanism: scram-sha-256, user: segmill, password: "${KAFKA_PASSWORD}"}}
registry: {url: "`+b.registry+`", user: segmill, password: "${REGISTRY_PASSWORD}"}`)
	e.replace(t, "clock: events", "clock: wall")
	e.replace(t, `http: ""`, `http: "127.0.0.1:0"`)
	e.replace(t, "log: warn", "log: debug")
	e.env = []string{"KAFKA_PASSWORD=" + canary + "-kafka", "REGISTRY_PASSWORD=" + canary + "-registry"}

	p := e.start(t)
	good, odd, bad := birds(time.Now())
	b.produce(t, slices.Concat(good, odd, bad))
	eventually(t, "dead letters", func() bool { return b.written(t, "shop.dlq") >= int64(len(bad)) && b.written(t, "shop.changes") > 0 })
	e.lookAround(t)
	p.stop(t)
	// The test looks for what is there: in the topics it is.
	if all := b.everything(t, "shop.changes", "shop.dlq"); !strings.Contains(all, canary) {
		t.Error("there is no canary in the outputs either")
	}

	// A registry that does not answer, and a record that needs it.
	e.replace(t, b.registry, "http://127.0.0.1:1")
	b.produce(t, []*kgo.Record{{Topic: "events.web", Key: []byte(canary), Value: append([]byte{0, 0, 0, 0, 77}, canary...)}})
	p = e.start(t)
	e.eventuallySays(t, "waiting for the schema registry")
	e.lookAround(t)
	p.stop(t)
	e.replace(t, "http://127.0.0.1:1", b.registry)

	// A local copy with customers that can't be read.
	s, err := state.Open(e.state, state.Options{Wake: func([]byte) (state.Millis, error) { return state.Never, nil }})
	if err != nil {
		t.Fatal(err)
	}
	for task := range int32(4) {
		if err := s.Task(task).Apply([]state.Change{{Customer: canary + "-1", Value: []byte("garbage " + canary), Old: state.Never, New: state.Never}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	p = e.start(t)
	b.produce(t, []*kgo.Record{{Topic: "events.web", Key: []byte(canary + "-1"), Value: []byte(`{"event_id":"again","occurred_at":"` + time.Now().UTC().Format(time.RFC3339) + `","name":"page_viewed"}`)}})
	// Which of the two is said depends on whether a customer is met while the copy is
	// brought up to date.
	eventually(t, "the local state is found to be wrong", func() bool {
		log := e.logged(t)
		return strings.Contains(log, "local state is wrong") || strings.Contains(log, "restarting with an empty local state")
	})
	e.lookAround(t)
	p.kill(t)

	// A changelog with what no engine wrote, at which partitions stop.
	var rs []*kgo.Record
	for _, key := range []string{"c/" + canary, canary, "position" + canary} {
		rs = append(rs, &kgo.Record{Topic: "shop.changelog", Key: []byte(key), Value: []byte("garbage " + canary)})
	}
	b.produce(t, rs)
	p = e.start(t)
	e.eventuallySays(t, "partition stopped")
	e.lookAround(t)
	p.stop(t)

	// Wrong passwords and settings, which end the process.
	e.env[0] = "KAFKA_PASSWORD=" + canary + "-wrong"
	if err := e.run(t); err == nil {
		t.Error("a run with a wrong password ended well")
	}
	e.replace(t, "registry: {url: \"http://", "registry: {url: \"http://segmill:"+canary+"@")
	if err := e.run(t); err == nil {
		t.Error("a password in a URL was taken")
	}
	silent(t, "the log", e.logged(t))
	out, err := exec.Command(e.program, "check", root+"/examples/shop/rules").CombinedOutput()
	if err != nil {
		t.Errorf("check: %v", err)
	}
	silent(t, "check", string(out))
}

// birds returns records with canaries: good ones, and ones that must become dead
// letters.
func birds(now time.Time) (good, odd, bad []*kgo.Record) {
	record := func(stream, key, format string, args ...any) *kgo.Record {
		return &kgo.Record{Topic: "events." + stream, Key: []byte(key), Value: fmt.Appendf(nil, format, args...), Timestamp: now}
	}
	at := now.UTC().Format(time.RFC3339Nano)
	for i := range 20 {
		id := fmt.Sprintf("%s-%d", canary, i)
		good = append(good,
			record("profile", id, `{"event_id":"p%d%s","occurred_at":"%s","email":"%s@example.org","country":"%s","signed_up_at":"%s","birth_date":"1990-02-28"}`, i, canary, at, canary, canary, at),
			record("web", id, `{"event_id":"w%d%s","occurred_at":"%s","name":"product_added","url":"https://%s","currency":"EUR","items":[{"product_id":"%s","quantity":1,"price":"9.90"}]}`, i, canary, at, canary, canary),
			record("purchase", id, `{"event_id":"b%d%s","occurred_at":"%s","order_id":"%s","currency":"EUR","revenue":"700"}`, i, canary, at, canary),
			record("email", id, `{"event_id":"m%d%s","occurred_at":"%s","action":"clicked","campaign_id":"%s"}`, i, canary, at, canary))
	}
	good = append(good, &kgo.Record{Topic: "events.profile", Key: []byte(canary + "-3"), Timestamp: now}) // an erasure
	for _, v := range []string{
		canary, `{"event_id":"` + canary, `{"` + canary + `":}`, `["` + canary + `"]`,
		`{"event_id":"x","occurred_at":"` + canary + `"}`,
		`{"event_id":"x","occurred_at":"2999-01-01T00:00:00Z","name":"` + canary + `"}`,
		`{"event_id":{"` + canary + `":1},"occurred_at":"` + at + `"}`,
		`{"event_id":"x","customer_id":"` + canary + `` + strings.Repeat("x", 2000) + `","occurred_at":"` + at + `","name":"n"}`,
	} {
		bad = append(bad, record("web", canary+"-bad", "%s", v))
	}
	for _, v := range []string{
		`{"event_id":"y","occurred_at":"` + at + `","name":"n","name":"` + canary + `"}`,
		`{"event_id":"z","occurred_at":"` + at + `","name":["` + canary + `"]}`,
	} {
		odd = append(odd, record("web", canary+"-bad", "%s", v))
	}
	for _, v := range []string{
		`{"event_id":"x","occurred_at":"` + at + `","revenue":"` + canary + `"}`,
		`{"event_id":"y","occurred_at":"` + at + `","revenue":{"` + canary + `":1}}`,
	} {
		odd = append(odd, record("purchase", canary+"-bad", "%s", v))
	}
	odd = append(odd, record("profile", canary+"-bad", `{"event_id":"x","occurred_at":"%s","signed_up_at":"%s"}`, at, canary))
	bad = append(bad,
		record("web", canary+"-bad", "\x00\x00\x00\x00\x63%s", canary)) // a schema id that nobody has
	return good, odd, bad
}

var listening = regexp.MustCompile(`"msg":"http","address":"([^"]+)"`)

// lookAround asks every endpoint of the last process, which may be about to listen
// at another address.
func (e *instance) lookAround(t *testing.T) {
	t.Helper()
	for _, path := range []string{"/metrics", "/readyz", "/healthz", "/"} {
		var res *http.Response
		eventually(t, "an answer at "+path, func() bool {
			all := listening.FindAllStringSubmatch(e.logged(t), -1)
			if all == nil {
				return false
			}
			var err error
			res, err = http.Get("http://" + all[len(all)-1][1] + path)
			return err == nil
		})
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		silent(t, path, string(body))
	}
}

// eventuallySays waits until a text is in the log once more.
func (e *instance) eventuallySays(t *testing.T, text string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%q in the log", text), func() bool { return strings.Contains(e.logged(t), text) })
}

// eventually waits for a condition, a minute at most.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("a minute has passed without %s", what)
		}
	}
}

// everything returns the committed records of topics, keys and headers included.
func (b broker) everything(t *testing.T, topics ...string) string {
	t.Helper()
	cl, err := kgo.NewClient(append(b.cl.Opts(), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	var l strings.Builder
	for ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) { fmt.Fprintf(&l, "%s %s %s\n", r.Key, r.Value, r.Headers) })
	}
	return l.String()
}
