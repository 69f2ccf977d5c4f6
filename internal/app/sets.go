package app

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/rulelog"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/rule"
)

// Versions returns the hash by which positions in the changelog know the rules.
func (r *Rules) Versions() [16]byte { return changelog.HashVersions(r.Engine.Versions()) }

// Draft returns the rules as they are written to the log of rules, but for what they replace,
// who does it, and why. Files are named from the directory on that all of them share.
func (r *Rules) Draft() (rulelog.Draft, error) {
	d := rulelog.Draft{Versions: r.Versions(), At: engine.Millis(time.Now().UnixMilli())}
	var paths []string
	for _, f := range r.texts {
		path, err := filepath.Abs(f.Name)
		if err != nil {
			return d, err
		}
		paths = append(paths, filepath.ToSlash(path))
	}
	shared := ""
	if len(paths) > 0 {
		shared = paths[0][:strings.LastIndexByte(paths[0], '/')+1]
	}
	for _, path := range paths {
		for !strings.HasPrefix(path, shared) {
			shared = shared[:strings.LastIndexByte(shared[:len(shared)-1], '/')+1]
		}
	}
	for i, f := range r.texts {
		d.Files = append(d.Files, rulelog.File{Name: paths[i][len(shared):], Text: f.Data})
	}
	return d, nil
}

// Content returns the hash of the texts, by which the log of rules knows them.
func (r *Rules) Content() [16]byte {
	var files []rulelog.File
	for _, f := range r.texts {
		files = append(files, rulelog.File{Text: f.Data})
	}
	return rulelog.Content(files)
}

// CompileSet compiles a set of the log of rules. Errors name its files as set 12/loyal.yaml.
func CompileSet(e *rulelog.Entry) (*Rules, error) {
	files, err := e.Files()
	if err != nil {
		return nil, fmt.Errorf("set %d: %w", e.Number, err)
	}
	var texts []rule.File
	for _, f := range files {
		texts = append(texts, rule.File{Name: fmt.Sprintf("set %d/%s", e.Number, f.Name), Data: f.Text})
	}
	return CompileRules(texts)
}

// RuleLog returns the log of rules of the application, once a broker has answered. Its
// cluster is to be closed.
func (c *Config) RuleLog(ctx context.Context, opt RunOptions) (*rulelog.Log, error) {
	kafka, err := c.Kafka.Reach(ctx, opt.Kafka...)
	if err != nil {
		return nil, err
	}
	cfg := config.Config{App: c.App, Kafka: kafka, Now: time.Now, Logger: opt.Logger}
	cfg.Fill()
	cluster, err := cfg.Connect()
	if err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	return &rulelog.Log{Cluster: cluster, Topic: cfg.RuleLog()}, nil
}

// whoVariable is the environment variable that says who changes rules.
const whoVariable = "SEGMILL_WHO"

// Who returns who changes rules if nobody says so: the variable SEGMILL_WHO, or the user and
// the host of this process.
func Who() string {
	if who := os.Getenv(whoVariable); who != "" {
		return who
	}
	name := ""
	if u, err := user.Current(); err == nil {
		name = cmp.Or(u.Username, u.Uid)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	who := cmp.Or(name, fmt.Sprint(os.Getuid())) + "@" + host
	return who[:min(len(who), rulelog.MaxWho)]
}

// IDs returns the ids of the segments, stages and triggers, those with the prefix trigger:,
// in order.
func (r *Rules) IDs() (ids []string) {
	for id := range r.Engine.Versions() {
		if kind, _, ok := strings.Cut(id, ":"); !ok || kind == "trigger" {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
