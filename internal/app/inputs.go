package app

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/file"
	"github.com/segmill/segmill/schemas"
)

// inputs are the topics that are read, and how.
type inputs struct {
	streams  map[string]plan.Stream // of topics whose records are events
	settings map[string]*schemas.Settings
	mappings map[string][]*plan.Mapping
	notRead  []notRead
	conf     *Config
}

// notRead is an input that the rules leave out, with the key in the configuration.
type notRead struct {
	config.NotRead
	key string
}

// readInputs returns the inputs under a rule set. Those whose stream or mapping the rules do
// not have are left out. An error begins with the key that is wrong.
func (c *Config) readInputs(spec *plan.Spec) (*inputs, error) {
	streams := spec.Streams()
	in := &inputs{streams: c.InputStreams(streams), settings: map[string]*schemas.Settings{}, mappings: map[string][]*plan.Mapping{}, conf: c}
	for i := range c.Inputs {
		if one := &c.Inputs[i]; one.Map != "" {
			in.addMapped(i, one, spec)
		} else if _, ok := in.streams[one.Topic]; !ok {
			in.leaveStream(i, one, streams)
		}
	}
	for topic := range in.mappings {
		if _, both := in.streams[topic]; both {
			return nil, fmt.Errorf("inputs: %s has a mapping whose records are events already, so it can have no other", topic)
		}
	}
	return in, nil
}

// leaveStream notes an input whose stream the rules do not declare.
func (in *inputs) leaveStream(i int, c *InputConfig, streams *plan.Streams) {
	remedy := file.Meant(c.Stream, streams.Names())
	if remedy == "" {
		remedy = fmt.Sprintf("declare it in a rule file under streams: {%s: {fields: {kind: text}}}, or name one of %s", c.Stream, strings.Join(streams.Names(), ", "))
	}
	in.leave(fmt.Sprintf("inputs[%d].stream", i), c.Topic, remedy, "not read: the rules declare no stream %q", c.Stream)
}

// addMapped adds the mapping that an input names, with all its parts if it is a preset's.
func (in *inputs) addMapped(i int, c *InputConfig, spec *plan.Spec) {
	var names []string
	found := false
	for i := range spec.Mappings {
		m := &spec.Mappings[i]
		whole, _, _ := strings.Cut(m.Name, "/")
		if names = append(names, whole); whole != c.Map {
			continue
		}
		found = true
		if len(m.Fields) > 0 {
			in.mappings[c.Topic] = append(in.mappings[c.Topic], m)
			continue
		}
		s := schemas.DefaultSettings()
		s.Strict, s.NotIDs = m.Strict, m.NotIDs
		if m.Zone != "" {
			s.Zone, _ = Zones()(m.Zone) // the rules were checked
		}
		in.streams[c.Topic], in.settings[c.Topic] = m.Stream, s
	}
	if found {
		return
	}
	names = slices.Compact(names)
	remedy := file.Meant(c.Map, names)
	switch {
	case names == nil:
		remedy = fmt.Sprintf("add mappings: {%s: …} to a rule file", c.Map)
	case remedy == "":
		remedy = "the rule files have " + strings.Join(names, ", ")
	}
	in.leave(fmt.Sprintf("inputs[%d].map", i), c.Topic, remedy, "not read by %q: the rules have no mapping of that name", c.Map)
}

// leave notes an input that is left out.
func (in *inputs) leave(key, topic, remedy, format string, args ...any) {
	in.notRead = append(in.notRead, notRead{config.NotRead{Topic: topic, Message: fmt.Sprintf(format, args...), Remedy: remedy}, key})
}

// left returns the inputs that are left out.
func (in *inputs) left() (l []config.NotRead) {
	for _, n := range in.notRead {
		l = append(l, n.NotRead)
	}
	return l
}

// leaves returns the topics that are not read at all.
func (in *inputs) leaves() (topics []string) {
	for _, n := range in.notRead {
		if !slices.Contains(in.topics(), n.Topic) && !slices.Contains(topics, n.Topic) {
			topics = append(topics, n.Topic)
		}
	}
	return topics
}

// warnNotRead warns of inputs that rules leave out.
func warnNotRead(log *slog.Logger, inputs []config.NotRead) {
	for _, n := range inputs {
		log.Warn("an input is not read", "input", n.String(), "remedy", n.Remedy)
	}
}

// topics returns what is read, sorted.
func (in *inputs) topics() []string {
	l := slices.AppendSeq(slices.Collect(maps.Keys(in.streams)), maps.Keys(in.mappings))
	slices.Sort(l)
	return l
}

// lookBack returns how far back some summaries of the rules look in each topic.
func (in *inputs) lookBack(p *plan.Plan, of func(summary int) bool) map[string]expr.Millis {
	m := map[string]expr.Millis{}
	for topic, s := range in.streams {
		m[topic] = p.LookBackOf(s, of)
	}
	for topic, l := range in.mappings {
		for _, one := range l {
			m[topic] = max(m[topic], p.LookBackOf(one.Stream, of))
		}
	}
	return m
}

// reads sets what a configuration reads.
func (in *inputs) reads(cfg *config.Config) {
	cfg.Reads, cfg.NotRead = in.topics(), in.left()
	cfg.FromNow = in.conf.fromNow()
	cfg.Fill()
}

// CheckRules checks the configuration, read from a file, against its rules, and returns what
// to warn of: the inputs that the rules leave out.
func (c *Config) CheckRules(file string, rules *Rules) (warnings ConfigErrors, err error) {
	in, err := c.readInputs(rules.Set.Spec)
	if err != nil {
		return nil, ConfigErrors{{File: file, Message: err.Error()}}
	}
	for _, n := range in.notRead {
		warnings = append(warnings, ConfigError{file, c.lines[n.key], fmt.Sprintf("%s: %v; %s", n.key, n, n.Remedy)})
	}
	return warnings, nil
}

// fromNow returns the topics that are read from now on when a task meets them.
func (c *Config) fromNow() (topics []string) {
	for _, in := range c.Inputs {
		if in.From == fromNow && !slices.Contains(topics, in.Topic) {
			topics = append(topics, in.Topic)
		}
	}
	return topics
}

// InputTopics returns the topics whose records are events of a stream by the configuration
// alone, with the names of their streams.
func (c *Config) InputTopics() map[string]string {
	m := map[string]string{}
	for s, name := range c.Topics.byStream() {
		if name != "" {
			m[name] = plan.Stream(s).String()
		}
	}
	for _, in := range c.Inputs {
		if in.Map == "" {
			m[in.Topic] = in.Stream
		}
	}
	return m
}

// InputStreams returns the topics of InputTopics whose streams the rules have.
func (c *Config) InputStreams(rules *plan.Streams) map[string]plan.Stream {
	m := map[string]plan.Stream{}
	for topic, name := range c.InputTopics() {
		if s, ok := rules.ByName(name); ok {
			m[topic] = s
		}
	}
	return m
}

// topicOf returns the topic that the engine's own commands write a stream to: that of
// Topics, else the first one of Inputs; "" if there is none.
func (c *Config) topicOf(s plan.Stream) string {
	if name := c.Topics.byStream()[s]; name != "" {
		return name
	}
	for _, in := range c.Inputs {
		if in.Stream == s.String() {
			return in.Topic
		}
	}
	return ""
}

// byStream returns the input topics, "" for a stream without.
func (t *TopicsConfig) byStream() [plan.NumBuiltin]string {
	return [...]string{t.Web, t.Email, t.Purchase, t.Profile, t.Consent}
}

// forget removes the topics of streams that were not written.
func (t *TopicsConfig) forget(written func(stream string) bool) {
	for s, name := range [plan.NumBuiltin]*string{&t.Web, &t.Email, &t.Purchase, &t.Profile, &t.Consent} {
		if !written(plan.Stream(s).String()) {
			*name = ""
		}
	}
}
