//go:build hostile

package hostile

import (
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas"
)

// registry answers by schema id.
type registry struct {
	url, subject string
	mu           sync.Mutex
	texts        map[int]string           // schemas that it has
	foreign      map[int]bool             // registered for others
	script       map[int]http.HandlerFunc // takes precedence
	requests     int
}

func newRegistry(t *testing.T, subject string) *registry {
	t.Helper()
	r := &registry{subject: subject, texts: map[int]string{}, foreign: map[int]bool{}, script: map[int]http.HandlerFunc{}}
	srv := httptest.NewServer(r)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	r.url = srv.URL
	return r
}

func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	text, list, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/schemas/ids/"), "/")
	id, _ := strconv.Atoi(text)
	r.mu.Lock()
	script, schema, foreign := r.script[id], r.texts[id], r.foreign[id]
	r.requests++
	r.mu.Unlock()
	switch {
	case script != nil:
		script(w, req)
	case schema == "":
		http.Error(w, `{"error_code":40403,"message":"Schema not found"}`, http.StatusNotFound)
	case list != "" && foreign:
		fmt.Fprint(w, `["staging-value"]`)
	case list != "":
		fmt.Fprintf(w, "[%q]", r.subject)
	default:
		fmt.Fprintf(w, `{"schema":%s}`, strconv.Quote(schema))
	}
}

// have gives the registry the schema of web events as id.
func (r *registry) have(t *testing.T, id int) {
	t.Helper()
	text, err := schemas.Text("web_event")
	if err != nil {
		t.Fatal(err)
	}
	r.set(func() { r.texts[id] = text })
}

// haveAll gives it the schemas of all streams as 1 to 5.
func (r *registry) haveAll(t *testing.T) {
	t.Helper()
	for s := range plan.NumBuiltin {
		text, err := schemas.Text(schemas.InputName(s))
		if err != nil {
			t.Fatal(err)
		}
		r.set(func() { r.texts[int(s)+1] = text })
	}
}

func (r *registry) set(do func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	do()
}

// answer is what a registry says of an id, and what must come of it.
type answer struct {
	name string
	do   http.HandlerFunc
	says string // what /readyz has of it
	// dead: it is a dead letter; deadAmong: once another id has been answered.
	dead, deadAmong bool
}

func says(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func silence(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func forever(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := io.WriteString(w, `{"schema":"`+strings.Repeat("x", 1<<16)); err != nil {
			return
		}
	}
}

func gzipBomb(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	defer z.Close()
	for range 512 {
		if _, err := z.Write(make([]byte, 1<<20)); err != nil {
			return
		}
	}
}

const no = `{"error_code":1,"message":"no"}`

var answers = []answer{
	{"500", says(500, no), "500", false, false},
	{"501", says(501, no), "501", false, false},
	{"502 of a proxy", says(502, "<html>bad gateway"), "502", false, false},
	{"503", says(503, no), "503", false, false},
	{"504", says(504, ""), "504", false, false},
	{"429", says(429, no), "429", false, false},
	{"401", says(401, no), "401", false, false},
	{"407", says(407, no), "407", false, false},
	{"408", says(408, no), "408", false, false},
	{"redirects to itself", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, "302", false, false},
	{"a redirect to nowhere", says(302, ""), "302", false, false},
	{"304", says(304, ""), "304", false, false},
	{"HTML", says(200, "<html>log in"), "not JSON", false, false},
	{"cut-off JSON", says(200, `{"schema":"{\"ty`), "not JSON", false, false},
	{"nothing", says(200, ""), "not JSON", false, false},
	{"less than was announced", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"schema":`)
	}, "breaks off", false, false},
	{"a head and silence", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		silence(w, r)
	}, "breaks off", false, false},
	{"silence", silence, "does not answer", false, false},
	{"hanging up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "does not answer", false, false},
	{"403", says(403, no), "403", false, true},
	{"an endless body", forever, "longer than", false, true},
	{"a gzip bomb of 512 MiB", gzipBomb, "longer than", false, true},
	{"404", says(404, no), "", true, true},
	{"404 without JSON", says(404, "not here"), "", true, true},
	{"422", says(422, no), "", true, true},
	{"400", says(400, no), "", true, true},
	{"410", says(410, no), "", true, true},
	{"a schema that does not parse", says(200, `{"schema":"{\"type\":\"nosuch\"}"}`), "", true, true},
	{"no schema", says(200, `{}`), "", true, true},
	{"an array", says(200, `[1]`), "", true, true},
	{"Protobuf", says(200, `{"schemaType":"PROTOBUF","schema":"syntax"}`), "", true, true},
	{"a schema that contains itself", says(200, `{"schema":"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"R\"}]}"}`), "", true, true},
}

// avroOf is a web event with a schema, and a JSON event of another customer behind it.
func (s *site) avroOf(t *testing.T, p int32, id int) (with, behind *kgo.Record) {
	t.Helper()
	c := customer("avro", p)
	with = &kgo.Record{Topic: "web", Partition: p, Key: []byte(c), Value: avro(t, plan.Web, id, c)}
	behind = event("web", p, customer("behind", p), `,"name":"page_viewed"`)
	s.produce(t, with, behind)
	return with, behind
}

// TestRegistryAnswers: each answer before another id was answered, and after.
func TestRegistryAnswers(t *testing.T) {
	for i := 0; i < len(answers); i += partitions {
		group := answers[i:min(i+partitions, len(answers))]
		t.Run(fmt.Sprint(i/partitions), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, fmt.Sprint("answers", i), "")
			s.start(t)
			s.answered(t, group, 100, false, i == 0)
			s.reg.have(t, 7)
			for p := range int32(partitions) {
				r, _ := s.avroOf(t, p, 7)
				s.entered(t, string(r.Key), "viewer", 4*soon)
			}
			s.answered(t, group, 200, true, false)
			s.end(t)
		})
	}
	classes.Add(int64(2 * len(answers)))
}

// answered sends an event of each answer to a partition of its own.
func (s *site) answered(t *testing.T, group []answer, id int, among, restart bool) {
	t.Helper()
	var waiting, rs []*kgo.Record
	for i, a := range group {
		s.reg.set(func() { s.reg.script[id+i] = a.do })
		r, behind := s.avroOf(t, int32(i), id+i)
		rs = append(rs, r)
		waiting = append(waiting, behind)
	}
	heard := s.sing(t)
	heard()
	isDead := func(a answer) bool { return a.dead || among && a.deadAmong }
	shown := func() {
		for i, a := range group {
			if isDead(a) {
				continue
			}
			eventually(t, 30*time.Second, a.name+" is shown", func() bool {
				text := s.p.ready()
				for line := range strings.Lines(text) {
					if strings.HasPrefix(line, fmt.Sprintf("partition %d: waiting ", i)) && strings.Contains(line, fmt.Sprintf("schema %d: ", id+i)) && strings.Contains(line, a.says) {
						return true
					}
				}
				return false
			})
		}
	}
	shown()
	for i, a := range group {
		if isDead(a) {
			s.dead(t, rs[i], "schema")
		}
	}
	if restart {
		begin := time.Now()
		if err := s.p.stop(10 * time.Second); err != nil || s.p.code() != 0 {
			t.Fatalf("exit code %d, %v", s.p.code(), err)
		}
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("it took %v to stop while it waited", took)
		}
		s.launch(t)
		shown()
	}
	for i := range group {
		s.reg.set(func() { delete(s.reg.script, id+i) })
		s.reg.have(t, id+i)
	}
	begin := time.Now()
	for i, a := range group {
		if !isDead(a) {
			if took := s.entered(t, string(rs[i].Key), "viewer", 30*time.Second).Sub(begin); took > soon {
				t.Errorf("%s: folded %v after the first good answer", a.name, took)
			}
		}
		if took := s.entered(t, string(waiting[i].Key), "viewer", 30*time.Second).Sub(begin); took > soon {
			t.Errorf("%s: what comes after it took %v", a.name, took)
		}
	}
	eventually(t, soon, "ready", func() bool { return s.p.ready() == "ok\n" })
}

// TestPoison: whatever is asked too early is asked again: 50 of 50 events count.
func TestPoison(t *testing.T) {
	s := newSite(t, "poison", "")
	s.start(t)
	s.reg.have(t, 7)
	var replica int
	for name, begin := range map[string]func(id int) (end func()){
		"before it exists": func(id int) func() { return func() { s.reg.have(t, id) } },
		"a lagging replica": func(id int) func() {
			s.reg.have(t, id)
			s.reg.set(func() {
				s.reg.script[id] = func(w http.ResponseWriter, r *http.Request) {
					s.reg.mu.Lock()
					replica++
					old := replica%2 == 1
					s.reg.mu.Unlock()
					if old {
						http.Error(w, no, http.StatusNotFound)
					} else if strings.HasSuffix(r.URL.Path, "/subjects") {
						fmt.Fprintf(w, "[%q]", s.reg.subject)
					} else if strings.HasSuffix(r.URL.Path, "/versions") {
						fmt.Fprintf(w, `[{"subject":%q,"version":1}]`, s.reg.subject)
					} else {
						text, _ := schemas.Text("web_event")
						fmt.Fprintf(w, `{"schema":%q}`, text)
					}
				}
			})
			return func() { s.reg.set(func() { delete(s.reg.script, id) }) }
		},
		"before its subject is registered": func(id int) func() {
			s.reg.have(t, id)
			s.reg.set(func() { s.reg.foreign[id] = true })
			return func() { s.reg.set(func() { delete(s.reg.foreign, id) }) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			id := 1000 + len(name)
			end := begin(id)
			s.fifty(t, id, func() { time.AfterFunc(time.Second, end) })
		})
	}
	t.Run("1,000 schemas of other teams", func(t *testing.T) {
		var rs []*kgo.Record
		for i := range 1_000 {
			s.reg.have(t, 5_000+i)
			s.reg.set(func() { s.reg.foreign[5_000+i] = true })
			rs = append(rs, &kgo.Record{Topic: "web", Partition: 1, Key: []byte("k"), Value: avro(t, plan.Web, 5_000+i, "c")})
		}
		s.produce(t, rs...)
		s.sing(t)()
		s.fifty(t, 7, func() {})
		for _, r := range rs {
			s.dead(t, r, "schema")
		}
	})
	t.Run("20,000 random ids", func(t *testing.T) {
		var rs []*kgo.Record
		good := avro(t, plan.Web, 7, "c")
		for range 20_000 {
			v := append([]byte(nil), good...)
			binary.BigEndian.PutUint32(v[1:], 10_000+rand.Uint32N(1<<30))
			rs = append(rs, &kgo.Record{Topic: "web", Partition: 2, Key: []byte("k"), Value: v})
		}
		s.produce(t, rs...)
		begin := time.Now()
		for {
			s.sing(t)()
			for p := range int32(partitions) {
				if p != 2 {
					r := event("web", p, customer("beside", p), `,"name":"page_viewed"`)
					s.produce(t, r)
					s.entered(t, string(r.Key), "viewer", soon)
				}
			}
			s.out.mu.Lock()
			done := s.out.dead[place(rs[len(rs)-1])] != nil
			s.out.mu.Unlock()
			if done {
				break
			}
			if time.Since(begin) > time.Minute {
				t.Fatal("the flood does not end")
			}
		}
		t.Logf("20,000 ids in %v", time.Since(begin).Round(time.Millisecond))
		for _, r := range rs {
			s.dead(t, r, "schema")
		}
	})
	s.end(t)
	classes.Add(5)
}

// fifty sends 50 events with a schema, and wants all of them to count.
func (s *site) fifty(t *testing.T, id int, then func()) {
	t.Helper()
	var rs []*kgo.Record
	for i := range 50 {
		p := int32(i % partitions)
		c := customer("fifty", p)
		rs = append(rs, &kgo.Record{Topic: "web", Partition: p, Key: []byte(c), Value: avro(t, plan.Web, id, c)})
	}
	s.produce(t, rs...)
	heard := s.sing(t)
	then()
	for _, r := range rs {
		s.entered(t, string(r.Key), "viewer", 2*soon)
	}
	heard()
}
