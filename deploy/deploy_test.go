// Package deploy holds what a deployment starts from: an image, a compose file,
// alerts and a dashboard. The tests keep them true to the program.
package deploy

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.yaml.in/yaml/v4"

	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/notes"
)

// recorder is a registry that remembers its collectors. Vectors without children
// are not gathered, but they can be asked to describe themselves.
type recorder struct {
	*prometheus.Registry
	all []prometheus.Collector
}

// Register is part of prometheus.Registerer.
func (r *recorder) Register(c prometheus.Collector) error {
	r.all = append(r.all, c)
	return r.Registry.Register(c)
}

// MustRegister is part of prometheus.Registerer.
func (r *recorder) MustRegister(cs ...prometheus.Collector) {
	r.all = append(r.all, cs...)
	r.Registry.MustRegister(cs...)
}

var descForm = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", .*variableLabels: \{([^}]*)\}\}$`)

// exposed returns the labels of every metric that the program has, by name.
func exposed(t *testing.T) map[string][]string {
	t.Helper()
	r := &recorder{Registry: prometheus.NewRegistry()}
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics.New(r)
	app.RegistryMetrics(r)
	notes.New(r, slog.New(slog.DiscardHandler), time.Now)
	known := map[string][]string{}
	for _, c := range r.all {
		ch := make(chan *prometheus.Desc)
		go func() { // ends with the descriptions
			defer close(ch)
			c.Describe(ch)
		}()
		for d := range ch {
			m := descForm.FindStringSubmatch(d.String())
			if m == nil {
				t.Fatalf("description %s is not understood", d)
			}
			known[m[1]] = strings.Split(m[2], ",")
		}
	}
	if len(known["segmill_events_total"]) != 2 || known["go_goroutines"] == nil {
		t.Fatalf("the metrics are %v", known)
	}
	return known
}

// expressions returns the queries of the dashboard and of the alerts, and the
// series of the alerts' tests, by their place.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(read(t, "grafana/dashboards/segmill.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		for i, target := range p.Targets {
			found[fmt.Sprintf("panel %q, query %d", p.Title, i)] = target.Expr
		}
	}
	var alerts struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	unmarshal(t, "alerts.yml", &alerts)
	for _, g := range alerts.Groups {
		for _, r := range g.Rules {
			found["alert "+r.Alert] = r.Expr
		}
	}
	var tests struct {
		Tests []struct {
			Input []struct{ Series string } `yaml:"input_series"`
		}
	}
	unmarshal(t, "alerts_test.yml", &tests)
	for _, test := range tests.Tests {
		for _, s := range test.Input {
			found["test series "+s.Series] = s.Series
		}
	}
	if len(found) < 40 {
		t.Fatalf("only %d expressions were found", len(found))
	}
	return found
}

var (
	metricForm  = regexp.MustCompile(`\b((?:segmill|go|process)_[a-z0-9_]+)(\{[^}]*\})?`)
	matcherForm = regexp.MustCompile(`([a-z_]+)(=~|!~|!=|=)"`)
	groupForm   = regexp.MustCompile(`\b(?:by|without) \(([^)]*)\)`)
)

// TestMetricsExist: every metric and label that the dashboard and the alerts name
// is one of the program's.
func TestMetricsExist(t *testing.T) {
	known := exposed(t)
	outside := []string{"instance", "job", "le"} // given by Prometheus, and of histograms
	for where, expr := range expressions(t) {
		if strings.HasPrefix(expr, "up{") {
			continue // Prometheus' own
		}
		found := metricForm.FindAllStringSubmatch(expr, -1)
		if len(found) == 0 {
			t.Errorf("%s: no metric in %q", where, expr)
		}
		var labels []string
		for _, m := range found {
			name := m[1]
			of, ok := known[name]
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base, cut := strings.CutSuffix(name, suffix); cut && !ok {
					of, ok = known[base]
				}
			}
			if !ok {
				t.Errorf("%s: there is no metric %s", where, name)
			}
			labels = append(labels, of...)
			for _, l := range matcherForm.FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(of, l[1]) && !slices.Contains(outside, l[1]) {
					t.Errorf("%s: %s has no label %s", where, name, l[1])
				}
			}
		}
		for _, g := range groupForm.FindAllStringSubmatch(expr, -1) {
			for l := range strings.SplitSeq(g[1], ",") {
				if l = strings.TrimSpace(l); !slices.Contains(labels, l) && !slices.Contains(outside, l) {
					t.Errorf("%s: no metric in it has the label %s", where, l)
				}
			}
		}
	}
}

// TestStates: the states by which alerts select partitions are those that exist.
func TestStates(t *testing.T) {
	states := []task.State{task.Acquiring, task.Rebuilding, task.Applying, task.Running, task.Waiting, task.Stopped}
	form := regexp.MustCompile(`segmill_tasks\{[^}]*state(?:=|=~|!=)"([^"]*)"`)
	for where, expr := range expressions(t) {
		for _, m := range form.FindAllStringSubmatch(expr, -1) {
			for s := range strings.SplitSeq(m[1], "|") {
				if !slices.Contains(states, task.State(s)) {
					t.Errorf("%s: there is no state %q", where, s)
				}
			}
		}
	}
}

// TestScrape: the metrics of an instance that has just started can be read.
func TestScrape(t *testing.T) {
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("gathering panics: %v", r)
		}
	}()
	reg := prometheus.NewRegistry()
	metrics.New(reg)
	got, err := reg.Gather()
	if err != nil || len(got) == 0 {
		t.Errorf("%d metrics, %v", len(got), err)
	}
}

// TestAlertsSayWhatToDo: every alert has a severity, a summary and an action, and
// a test.
func TestAlertsSayWhatToDo(t *testing.T) {
	var alerts struct {
		Groups []struct {
			Rules []struct {
				Alert       string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	unmarshal(t, "alerts.yml", &alerts)
	tests := string(read(t, "alerts_test.yml"))
	for _, g := range alerts.Groups {
		for _, r := range g.Rules {
			if s := r.Labels["severity"]; s != "page" && s != "ticket" {
				t.Errorf("%s: severity is %q", r.Alert, s)
			}
			if r.Annotations["summary"] == "" || r.Annotations["action"] == "" {
				t.Errorf("%s: annotations are %v", r.Alert, r.Annotations)
			}
			if !strings.Contains(tests, r.Alert) {
				t.Errorf("%s has no test", r.Alert)
			}
		}
	}
}

type service struct {
	Image       string
	Build       struct{ Context, Dockerfile string }
	Volumes     []string
	Environment map[string]string
	Ports       []string
	DependsOn   any      `yaml:"depends_on"`
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	Privileged  bool
	User        string
	MemLimit    string `yaml:"mem_limit"`
	StopGrace   string `yaml:"stop_grace_period"`
}

type compose struct {
	Services map[string]service
	Volumes  map[string]any
}

// TestCompose: what is mounted exists, images have a version, ports are on the
// loopback interface, and segmill has no privileges, heeds its memory limit and has
// the time to stop.
func TestCompose(t *testing.T) {
	var c compose
	unmarshal(t, "compose.yaml", &c)
	for _, name := range []string{"kafka", "registry", "segmill", "prometheus", "grafana"} {
		if _, ok := c.Services[name]; !ok {
			t.Errorf("no service %s", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Services)) {
		s := c.Services[name]
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if !strings.HasPrefix(from, ".") {
				if _, ok := c.Volumes[from]; !ok {
					t.Errorf("%s: no volume %s", name, from)
				}
			} else if _, err := os.Stat(from); err != nil {
				t.Errorf("%s mounts what is not there: %v", name, err)
			} else if !strings.HasSuffix(v, ":ro") {
				t.Errorf("%s: %s is mounted for writing", name, from)
			}
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s: port %s is open to the network", name, p)
			}
		}
		if s.Build.Dockerfile == "" && !regexp.MustCompile(`:v?\d+\.\d+`).MatchString(s.Image) {
			t.Errorf("%s: image %q has no version", name, s.Image)
		}
	}
	s := c.Services["segmill"]
	if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
		t.Error(err)
	}
	if !s.ReadOnly || s.Privileged || s.User != "" || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
		t.Errorf("segmill may do more than it needs: %+v", s)
	}
	gibibytes := strings.TrimSuffix(s.MemLimit, "g")
	limit, goLimit := byteSize(gibibytes+"Gi"), byteSize(strings.TrimSuffix(s.Environment["GOMEMLIMIT"], "B"))
	if limit == 0 || goLimit*100 < limit*85 || goLimit*100 > limit*95 {
		t.Errorf("GOMEMLIMIT is %s, mem_limit %s", s.Environment["GOMEMLIMIT"], s.MemLimit)
	}
	if d, err := time.ParseDuration(s.StopGrace); err != nil || d < stopTime {
		t.Errorf("stop_grace_period is %q", s.StopGrace)
	}
	if !slices.ContainsFunc(s.Volumes, func(v string) bool { return strings.HasSuffix(v, ":/var/lib/segmill") }) {
		t.Errorf("no volume for the state in %v", s.Volumes)
	}
}

// stopTime is what a stop may need: 31 s to leave the group if no broker answers,
// and then to close the local copy.
const stopTime = 40 * time.Second

// TestPorts: the configuration that compose mounts is valid, its state is in the
// volume, and Prometheus scrapes the address that it names.
func TestPorts(t *testing.T) {
	conf, err := app.ReadConfig("compose/segmill.yaml")
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(*conf.HTTP)
	if err != nil || host != "0.0.0.0" {
		t.Errorf("http is %q, which another container can't reach", *conf.HTTP)
	}
	if dir, ok := strings.CutPrefix(conf.State, "/var/lib/segmill/"); !ok || dir == "" {
		t.Errorf("state is %q: it must be below the volume, so that it can be renamed", conf.State)
	}
	var p struct {
		RuleFiles []string `yaml:"rule_files"`
		Scrape    []struct {
			Job    string                       `yaml:"job_name"`
			Static []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	unmarshal(t, "prometheus.yml", &p)
	if len(p.Scrape) != 1 || len(p.Scrape[0].Static) != 1 || !slices.Equal(p.Scrape[0].Static[0].Targets, []string{"segmill:" + port}) || p.Scrape[0].Job != "segmill" {
		t.Errorf("Prometheus scrapes %+v, segmill listens on port %s", p.Scrape, port)
	}
	if !strings.Contains(string(read(t, "Dockerfile")), "EXPOSE "+port+"\n") {
		t.Errorf("the image does not expose port %s", port)
	}
	if _, def, _ := net.SplitHostPort(app.DefaultHTTP); def != port {
		t.Errorf("the default port is %s", def)
	}
	for _, f := range p.RuleFiles {
		if _, err := os.Stat(f); err != nil {
			t.Error(err)
		}
	}
}

// TestDockerfile: the image runs as a number other than 0 (so that Kubernetes can
// see that it is not root), without a shell, and the state is a volume.
func TestDockerfile(t *testing.T) {
	text := string(read(t, "Dockerfile"))
	_, final, ok := strings.Cut(text[strings.LastIndex(text, "\nFROM "):], "\n")
	if !ok {
		t.Fatal("no FROM")
	}
	for _, want := range []string{
		`(?m)^FROM gcr\.io/distroless/static-debian12:nonroot$`,
		`(?m)^USER [1-9]\d*:[1-9]\d*$`,
		`(?m)^VOLUME /var/lib/segmill$`,
		`(?m)^ENTRYPOINT \["/usr/local/bin/segmill"\]$`,
	} {
		if !regexp.MustCompile(want).MatchString(final) {
			t.Errorf("the final image lacks %s", want)
		}
	}
	user := regexp.MustCompile(`(?m)^USER (\S+)$`).FindStringSubmatch(final)
	if user == nil || !strings.Contains(final, "COPY --from=build --chown="+user[1]+" /out/state /var/lib/segmill\n") {
		t.Errorf("the volume is not the user's, %v", user)
	}
	if !strings.Contains(text, "CGO_ENABLED=0") {
		t.Error("the binary is not static")
	}
	if regexp.MustCompile(`(?m)^(ADD|RUN) `).MatchString(final) {
		t.Error("the final image runs or downloads something")
	}
}

// TestPanels: no two panels overlap or share an id, and each says what it shows.
func TestPanels(t *testing.T) {
	var d struct {
		UID    string
		Panels []struct {
			ID          int
			Type, Title string
			GridPos     struct{ H, W, X, Y int }
			Datasource  struct{ UID string }
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(read(t, "grafana/dashboards/segmill.json"), &d); err != nil {
		t.Fatal(err)
	}
	var sources struct{ Datasources []struct{ UID string } }
	unmarshal(t, "grafana/provisioning/datasources/prometheus.yaml", &sources)
	cells, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range d.Panels {
		if p.Title == "" || ids[p.ID] {
			t.Errorf("panel %d %q", p.ID, p.Title)
		}
		ids[p.ID] = true
		g := p.GridPos
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other, taken := cells[[2]int{x, y}]; taken || x > 23 {
					t.Fatalf("%q lies on %q or beyond the edge", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if p.Type != "row" && (len(p.Targets) == 0 || p.Datasource.UID != sources.Datasources[0].UID) {
			t.Errorf("%q has no query, or asks an unknown source %q", p.Title, p.Datasource.UID)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unmarshal(t *testing.T, path string, to any) {
	t.Helper()
	if err := yaml.Unmarshal(read(t, path), to); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
