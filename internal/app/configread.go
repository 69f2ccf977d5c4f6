package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v4"

	"github.com/segmill/segmill/internal/bounded"
)

// ConfigError is one thing that is wrong in a configuration.
type ConfigError struct {
	File string // "" if it was not read from a file
	Line int    // 0 if the error is of something that is not there
	// Message begins with the key and says what to write.
	Message string
}

// Error names the place and says what is wrong.
func (e ConfigError) Error() string {
	switch {
	case e.Line == 0 && e.File == "":
		return e.Message
	case e.Line == 0:
		return e.File + ": " + e.Message
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Message)
}

// Warning is Error of something that is no error.
func (e ConfigError) Warning() string {
	e.Message = "warning: " + e.Message
	return e.Error()
}

// ConfigErrors is everything that is wrong in a configuration, in the order of
// the file.
type ConfigErrors []ConfigError

// Error prints the errors, one a line.
func (l ConfigErrors) Error() string {
	lines := make([]string, len(l))
	for i, e := range l {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// ReadConfig reads a configuration file. ${NAME} in a value stands for the
// environment variable NAME, which must be set. Relative paths count from the
// file's directory. What is wrong in the file comes back as ConfigErrors.
func ReadConfig(path string) (*Config, error) { return readConfig(path, os.LookupEnv, false) }

// ReadConfigToRun is ReadConfig where rules that are not there are errors, too.
func ReadConfigToRun(path string) (*Config, error) { return readConfig(path, os.LookupEnv, true) }

// maxConfig is the size of the largest configuration, in bytes.
const maxConfig = 1 << 20

func readConfig(path string, lookup func(string) (string, bool), withRules bool) (*Config, error) {
	b, err := bounded.ReadFile(path, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	dir := filepath.Dir(path)
	var missing func(rule string) bool
	if withRules {
		missing = func(rule string) bool {
			_, err := os.Stat(under(dir, rule))
			return errors.Is(err, fs.ErrNotExist) && !variable.MatchString(rule)
		}
	}
	c, errs := parseConfig(b, lookup, missing)
	if len(errs) > 0 {
		for i := range errs {
			errs[i].File = path
		}
		return nil, errs
	}
	rel := func(p *string) {
		if *p != "" {
			*p = under(dir, *p)
		}
	}
	for i := range c.Rules {
		rel(&c.Rules[i])
	}
	rel(&c.State)
	rel(&c.DeadLetter.KeyFile)
	if t := c.Kafka.TLS; t != nil {
		rel(&t.CA)
		rel(&t.Cert)
		rel(&t.Key)
	}
	return c, nil
}

// under returns where a path is that counts from a directory.
func under(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// ParseConfig reads a configuration. lookup finds environment variables. What is
// wrong comes back as ConfigErrors.
func ParseConfig(b []byte, lookup func(string) (string, bool)) (*Config, error) {
	c, errs := parseConfig(b, lookup, nil)
	if len(errs) > 0 {
		return nil, errs
	}
	return c, nil
}

// parseConfig reads a configuration; missing says which rules are not there, nil: nobody
// looks.
func parseConfig(b []byte, lookup func(string) (string, bool), missing func(string) bool) (*Config, ConfigErrors) {
	c := DefaultConfig()
	r := configReader{lookup: lookup, lines: map[string]int{}}
	var root yaml.Node
	if err := yaml.Unmarshal(b, &root); err != nil {
		return nil, ConfigErrors{{Message: err.Error()}}
	}
	if len(root.Content) > 0 {
		r.read(root.Content[0], reflect.ValueOf(&c).Elem(), "")
	}
	if len(c.Inputs) > 0 {
		c.Topics.forget(func(stream string) bool { return r.lines["topics."+stream] > 0 })
	}
	c.lines = r.lines
	c.validate(&r)
	for i, rule := range c.Rules {
		if missing != nil && missing(rule) {
			path := fmt.Sprintf("rules[%d]", i)
			r.fail(r.lineOf(path), path, "there is no %s; paths count from the directory of the configuration", rule)
		}
	}
	slices.SortStableFunc(r.errs, func(a, b ConfigError) int { return a.Line - b.Line })
	return &c, r.errs
}

// configReader fills a Config from a YAML tree and notes everything that does not
// fit. It is strict where a YAML library is kind: a key that is there twice or has
// no value is an error too.
type configReader struct {
	lookup func(string) (string, bool)
	errs   ConfigErrors
	lines  map[string]int // of each key that was read
}

func (r *configReader) fail(line int, path, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if path != "" {
		text = path + ": " + text
	}
	r.errs = append(r.errs, ConfigError{Line: line, Message: text})
}

// failed reports whether there is an error about a key or something below it.
func (r *configReader) failed(path string) bool {
	return slices.ContainsFunc(r.errs, func(e ConfigError) bool {
		rest, ok := strings.CutPrefix(e.Message, path)
		return ok && rest != "" && strings.ContainsRune(":.[", rune(rest[0]))
	})
}

// lineOf returns the line of a key or, if it is missing, of what it belongs in; 0
// if that is missing too.
func (r *configReader) lineOf(path string) int {
	for path != "" {
		if line, ok := r.lines[path]; ok {
			return line
		}
		path = path[:max(0, strings.LastIndexByte(path, '.'))]
	}
	return 0
}

// read fills v from n, whose path is path.
func (r *configReader) read(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	r.lines[path] = n.Line
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" && n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) == 0 {
		r.fail(n.Line, path, "no value: set one ({} for defaults only), or remove the key")
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		r.read(n, p.Elem(), path)
		v.Set(p)
	case reflect.Struct:
		r.readKeys(n, v, path)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			r.fail(n.Line, path, "must be a list, such as [a, b]")
			return
		}
		list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
		for i, e := range n.Content {
			r.read(e, list.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
		v.Set(list)
	default:
		r.readValue(n, v, path)
	}
}

func (r *configReader) readKeys(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		what := path
		if what == "" {
			what = "the configuration"
		}
		r.fail(n.Line, "", "%s: must have keys with values, such as %s: …", what, keys(v.Type())[0])
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := strings.TrimPrefix(path+"."+key.Value, ".")
		field := slices.Index(keys(v.Type()), key.Value)
		switch {
		case field < 0:
			r.fail(key.Line, at, "%s", unknownKey(key.Value, v.Type()))
		case seen[key.Value]:
			r.fail(key.Line, at, "duplicate key")
		default:
			seen[key.Value] = true
			r.read(value, v.Field(field), at)
		}
	}
}

// readValue reads a text, a number, a duration or a truth value.
func (r *configReader) readValue(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		r.fail(n.Line, path, "must be a single value, not a list or keys")
		return
	}
	text, ok := r.expand(n, path)
	if !ok {
		return
	}
	if v.Type() == reflect.TypeFor[Duration]() {
		d, err := model.ParseDuration(text)
		if err != nil {
			r.fail(n.Line, path, "%q is not a duration such as 100ms, 30m or 45d", n.Value)
			return
		}
		v.SetInt(int64(d))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			r.fail(n.Line, path, "%q is neither true nor false", n.Value)
			return
		}
		v.SetBool(text == "true")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		i, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			r.fail(n.Line, path, "%q is not a %d-bit integer", n.Value, v.Type().Bits())
			return
		}
		v.SetInt(i)
	default: // TestEveryKey keeps such a key out of Config
		r.fail(n.Line, path, "cannot be set in a file: %v values are not supported", v.Kind())
	}
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expand replaces ${NAME} in a value.
func (r *configReader) expand(n *yaml.Node, path string) (text string, ok bool) {
	ok = true
	text = variable.ReplaceAllStringFunc(n.Value, func(m string) string {
		name := m[2 : len(m)-1]
		v, found := r.lookup(name)
		if !found {
			r.fail(n.Line, path, "the environment variable %s is not set", name)
			ok = false
		}
		return v
	})
	return text, ok
}

// keys returns the keys of a struct in the order of its fields. Fields that are no keys come
// last.
func keys(t reflect.Type) (l []string) {
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() {
			l = append(l, f.Tag.Get("yaml"))
		}
	}
	return l
}

// unknownKey says what to write instead of a key that t does not have: one that
// is spelled nearly so, or the same one where it belongs.
func unknownKey(key string, t reflect.Type) string {
	known := keys(t)
	best, least := "", 3
	for _, k := range known {
		if d := distance(key, k); d < least && d < len(k) {
			best, least = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("unknown key; did you mean %s?", best)
	}
	root := reflect.TypeFor[Config]()
	for i := range root.NumField() {
		f := root.Field(i)
		section := f.Tag.Get("yaml")
		if f.Type.Kind() == reflect.Struct && slices.Contains(keys(f.Type), key) {
			return fmt.Sprintf("unknown key; did you mean %s.%s?", section, key)
		}
	}
	if t != root && slices.Contains(keys(root), key) {
		return fmt.Sprintf("unknown key here: %s belongs at the top level", key)
	}
	return "unknown key; known here: " + strings.Join(known, ", ")
}

// distance returns how many letters must be added, removed or replaced to make b
// of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d++
			}
			diagonal = row[j+1]
			row[j+1] = min(d, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
