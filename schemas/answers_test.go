package schemas

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/registry"
)

// scripted is a registry that has the schema of web events as 3, and answers 7 as a
// test says.
type scripted struct {
	t      *testing.T
	answer atomic.Pointer[http.HandlerFunc] // nil: it has the schema
	codes  atomic.Pointer[[]string]         // that were observed
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := s.answer.Load(); h != nil && strings.HasPrefix(r.URL.Path, "/schemas/ids/7") {
		(*h)(w, r)
		return
	}
	if strings.HasSuffix(r.URL.Path, "/subjects") {
		fmt.Fprintf(w, "[%q]", ours)
		return
	}
	fmt.Fprintf(w, `{"schema":%q}`, mustText(s.t, "web_event"))
}

// start serves the script. A busy machine has time enough for every answer.
func (s *scripted) start() (*asking, *httptest.Server) {
	s.t.Helper()
	srv := httptest.NewServer(s)
	s.t.Cleanup(srv.Close)
	hc := registry.NewHTTPClient(time.Now, func(code string, took time.Duration) {
		if took < 0 {
			s.t.Errorf("an answer took %v", took)
		}
		for {
			old := s.codes.Load()
			all := []string{code}
			if old != nil {
				all = append(all, *old...)
			}
			if s.codes.CompareAndSwap(old, &all) {
				return
			}
		}
	})
	cl, err := sr.NewClient(sr.URLs(srv.URL), sr.HTTPClient(hc))
	if err != nil {
		s.t.Fatal(err)
	}
	a := askingOf(s.t, registry.Confluent(cl, slog.New(slog.DiscardHandler)))
	a.giveUpAfter(time.Minute)
	return a, srv
}

// giveUpAfter sets for how long look-ups wait for an answer, by the real clock.
func (a *asking) giveUpAfter(d time.Duration) {
	a.lookups.Wait()
	a.Reader.lookups.Timeout = d
}

func says(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

const (
	whatever = `{"error_code":1,"message":"no"}`
	asked    = time.Minute // by the clock of the test
)

// What a registry answers about one schema is waited out, with its status and the id in
// the error, or makes a dead letter; whatever was waited out is over within five seconds
// of its first good answer.
func TestAnswers(t *testing.T) {
	large := `{"schema":"` + strings.Repeat(" ", 2*1<<20) + `"}`
	forever := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, `{"schema":"`); err != nil {
				return
			}
		}
	}
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		status int    // that the error names
		text   string // that it has, too
		// dead: it is a dead letter; deadAmong: once another id has been answered.
		dead, deadAmong bool
	}{
		{"500", says(500, whatever), 500, `"no"`, false, false},
		{"502 of a proxy", says(502, "<html>bad gateway"), 502, "bad gateway", false, false},
		{"503, long", says(503, large), 503, "longer than", false, false},
		{"429", says(429, whatever), 429, "no", false, false},
		{"401", says(401, whatever), 401, "no", false, false},
		{"407", says(407, whatever), 407, "no", false, false},
		{"408", says(408, whatever), 408, "no", false, false},
		{"405", says(405, whatever), 405, "no", false, false},
		{"redirects", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/schemas/ids/7", http.StatusFound) }, 302, "redirects more than 5 times", false, false},
		{"a redirect to nowhere", says(302, ""), 302, "", false, false},
		{"not modified", says(304, ""), 304, "", false, false},
		{"HTML", says(200, "<html>log in"), 200, "not JSON", false, false},
		{"cut off", says(200, `{"schema":"{\"ty`), 200, "not JSON", false, false},
		{"empty", says(200, ""), 200, "not JSON", false, false},
		{"cut off on its way", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"schema":`)
		}, 200, "breaks off", false, false},
		{"dripping", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, 200, "breaks off", false, false},
		{"silence", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 0, "does not answer", false, false},
		{"hanging up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, "does not answer", false, false},
		{"403", says(403, whatever), 403, "no", false, true},
		{"endless", forever, 200, "longer than", false, true},
		{"too long", says(200, large), 200, "longer than", false, true},
		{"404", says(404, whatever), 404, "another registry", true, true},
		{"404 without JSON", says(404, "not here"), 404, "another registry", true, true},
		{"422", says(422, whatever), 422, "no", true, true},
		{"400", says(400, whatever), 400, "no", true, true},
		{"410", says(410, whatever), 410, "no", true, true},
		{"no Avro", says(200, `{"schema":"{\"type\":\"nosuch\"}"}`), 0, "refused", true, true},
		{"no schema", says(200, `{}`), 0, "refused", true, true},
		{"another thing", says(200, `[1]`), 0, "refused", true, true},
		{"Protobuf", says(200, `{"schemaType":"PROTOBUF","schema":"syntax"}`), 0, "refused", true, true},
	} {
		for _, among := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", c.name, among), func(t *testing.T) {
				t.Parallel()
				s := &scripted{t: t}
				a, _ := s.start()
				if among {
					if _, err := a.read(a.record(3), asked); err != nil {
						t.Fatal(err)
					}
				}
				if c.name == "dripping" || c.name == "silence" { // they never end
					a.giveUpAfter(100 * time.Millisecond)
				}
				s.answer.Store(&c.answer)
				rec := a.record(7)
				took, err := a.read(rec, 10*time.Second)
				a.giveUpAfter(time.Minute)
				dead := c.dead || c.deadAmong && among
				if text := fmt.Sprint(err); !strings.Contains(text, c.text) || !strings.Contains(text, "schema 7") ||
					c.status != 0 && (!strings.Contains(text, fmt.Sprint(c.status)) || strings.Contains(text, "does not answer")) || len(text) > 400 {
					t.Errorf("error %v", err)
				}
				if dead {
					if wantBad(t, err, bad.Schema, ""); took > 3*time.Second+time.Second {
						t.Errorf("after %v", took)
					}
					return
				}
				var w *registry.Waiting
				if !errors.As(err, &w) || w.ID != 7 || w.Status != c.status || took < 10*time.Second {
					t.Fatalf("%#v after %v", err, took)
				}
				s.answer.Store(nil)
				if took, err := a.read(rec, asked); err != nil || took > 5*time.Second {
					t.Errorf("once it answers: %v, after %v", err, took)
				}
			})
		}
	}
}

// A registry that is gone is waited for, and its requests are observed with those that
// were answered.
func TestRegistryIsGone(t *testing.T) {
	s := &scripted{t: t}
	a, srv := s.start()
	if _, err := a.read(a.record(3), asked); err != nil {
		t.Fatal(err)
	}
	srv.Close()
	_, err := a.read(a.record(7), time.Second)
	var w *registry.Waiting
	if !errors.As(err, &w) || w.Status != 0 || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("%v", err)
	}
	got := strings.Join(*s.codes.Load(), " ")
	if !strings.HasPrefix(got, "error ") || !strings.HasSuffix(got, " 200 200") {
		t.Errorf("observed %s", got)
	}
}

// Whatever an answer inflates to, little of it comes into memory.
func TestAnswersAreBounded(t *testing.T) {
	const size = 200 << 20
	var bomb bytes.Buffer
	z, err := gzip.NewWriterLevel(&bomb, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	part := bytes.Repeat([]byte{' '}, 1<<20)
	for range size / len(part) {
		if _, err := z.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, answer := range map[string]http.HandlerFunc{
		"plain": func(w http.ResponseWriter, _ *http.Request) {
			for range size / len(part) {
				if _, err := w.Write(part); err != nil {
					return
				}
			}
		},
		"gzip bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &scripted{t: t}
			a, _ := s.start()
			s.answer.Store(&answer)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			const records = 5
			for range records {
				if _, err := a.read(a.record(7), time.Millisecond); !errors.Is(err, registry.ErrWaiting) {
					t.Fatal(err)
				}
				a.pass(2 * time.Second)
			}
			runtime.ReadMemStats(&after)
			if n := (after.TotalAlloc - before.TotalAlloc) / records; n > 16*1<<20 {
				t.Errorf("%d MiB were allocated for each answer", n>>20)
			}
		})
	}
}

// Of answers that are larger than a schema may be, few are read at a time.
func TestLargeAnswersTakeTurns(t *testing.T) {
	srv := httptest.NewServer(says(200, strings.Repeat(" ", 1<<20/2)))
	defer srv.Close()
	client := registry.NewHTTPClient(time.Now, nil)
	open := func(ctx context.Context) *http.Response {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	var held []*http.Response
	for range 4 {
		resp := open(t.Context())
		defer resp.Body.Close()
		if _, err := io.ReadFull(resp.Body, make([]byte, 1<<20/2)); err != nil {
			t.Fatal(err)
		}
		held = append(held, resp)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waits := open(ctx)
	defer waits.Body.Close()
	part := make([]byte, 32<<10)
	for range 2 {
		if _, err := io.ReadFull(waits.Body, part); err != nil {
			t.Fatal(err) // it is not large yet
		}
	}
	cancel()
	if _, err := io.ReadFull(waits.Body, part); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "others are being read") {
		t.Errorf("%v", err)
	}
	held[0].Body.Close()
	resp := open(t.Context())
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); n != 1<<20/2 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}
