// Package suggest guesses a mapping from records, for people who have a topic and no
// mapping yet.
//
// Its one rule: a guess is text to be read and corrected, and says where it found nothing.
package suggest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/segmill/segmill/schemas/scalar"
)

// sampled is what records have at one path, such as msg.customer.id.
type sampled struct {
	path   string
	values map[string]int // of texts and numbers, the first of them
	n      int
	times  int // values that are a time
	list   bool
}

// maxSampled bounds how many records are looked at, and maxValues how many values of one
// path.
const (
	maxSampled = 1_000
	maxValues  = 1_000
)

// Mapping looks at records, JSON values, and returns a mapping to begin with, as the text
// of a rule file.
func Mapping(in io.Reader) (string, error) {
	paths := map[string]*sampled{}
	values := json.NewDecoder(bufio.NewReader(in))
	values.UseNumber()
	records, each := 0, false
	for records < maxSampled {
		var v any
		if err := values.Decode(&v); err != nil {
			if errors.Is(err, io.EOF) {
				break
			}
			return "", fmt.Errorf("record %d is no JSON: %w", records+1, err)
		}
		records++
		if l, ok := v.([]any); ok {
			each = true
			for _, e := range l {
				look(paths, "it", e)
			}
			continue
		}
		look(paths, "msg", v)
	}
	if len(paths) == 0 {
		return "", errors.New("there is no JSON object to look at")
	}
	return suggestion(paths, records, each), nil
}

// look takes in a value with all that is in it.
func look(paths map[string]*sampled, path string, v any) {
	at := func() *sampled {
		s := paths[path]
		if s == nil {
			s = &sampled{path: path, values: map[string]int{}}
			paths[path] = s
		}
		s.n++
		return s
	}
	switch v := v.(type) {
	case map[string]any:
		for name, e := range v {
			look(paths, path+"."+name, e)
		}
	case []any:
		at().list = true
	case string, json.Number:
		text := fmt.Sprint(v)
		s := at()
		if _, known := s.values[text]; known || len(s.values) < maxValues {
			s.values[text]++
		}
		if isTime(text) {
			s.times++
		}
	}
}

// isTime reports whether a text is an instant of our days.
func isTime(text string) bool {
	if _, ok := scalar.ParseCivil([]byte(text)); ok {
		return len(text) > len("2026-01-01")
	}
	n, ok, err := scalar.ParseNumber([]byte(text))
	if !ok || err != nil || len(text) < 10 {
		return false
	}
	at, err := scalar.InstantOfNumber(n)
	return err == nil && at.Time().Year() > 2000 && at.Time().Year() < 2100
}

// names of paths by what they are of, the likeliest first. A name is the end of a path.
var guesses = map[string][]string{
	"who":  {"customer_id", "customerid", "customer.id", "user_id", "userid", "user.id", "client_id", "contact_id", "requester.id", "customer", "user", "email"},
	"when": {"occurred_at", "timestamp", "event_time", "closed_at", "completed_at", "processed_at", "created_at", "createdat", "created", "date", "time", "updated_at"},
	"id":   {"event_id", "eventid", "message_id", "messageid", "uuid", "order_id", "id"},
}

// guess returns the path that is likeliest for something, "" if none is; fits says which
// can be it at all.
func guess(paths map[string]*sampled, what string, fits func(*sampled) bool) string {
	sorted := slices.SortedFunc(maps.Keys(paths), func(a, b string) int {
		if d := strings.Count(a, ".") - strings.Count(b, "."); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	for _, name := range guesses[what] {
		for _, p := range sorted {
			if strings.HasSuffix(strings.ToLower(p), "."+name) && fits(paths[p]) {
				return p
			}
		}
	}
	for _, p := range sorted {
		if what != "who" && fits(paths[p]) {
			return p
		}
	}
	return ""
}

// suggestion writes a rule file with a mapping.
func suggestion(paths map[string]*sampled, records int, each bool) string {
	id := guess(paths, "id", func(s *sampled) bool { return !s.list && s.times < s.n && len(s.values) == s.n && s.n >= records })
	if id == "" { // of records that are the same twice, a name has to do
		id = guess(paths, "id", func(s *sampled) bool { return !s.list && strings.HasSuffix(s.path, "id") })
	}
	when := guess(paths, "when", func(s *sampled) bool { return s.n > 0 && s.times == s.n })
	who := guess(paths, "who", func(s *sampled) bool { return !s.list })
	var b strings.Builder
	fmt.Fprintf(&b, "# A guess from %d records: read it, correct it, and try it with segmill map.\nversion: 1\nmappings:\n  name_it:\n    stream: %s\n", records, guessStream(paths))
	if each {
		b.WriteString("    each: msg\n")
	}
	b.WriteString("    map:\n")
	line := func(name, path, otherwise string) {
		if path == "" {
			fmt.Fprintf(&b, "      # %s: nothing looks like it; %s\n", name, otherwise)
			return
		}
		fmt.Fprintf(&b, "      %s: %s\n", name, path)
	}
	line("event_id", id, "it must be the same when the record comes again")
	line("customer_id", who, "say who the customer is, perhaps key")
	line("occurred_at", when, "record.time is when the record was written")
	return b.String()
}

// guessStream returns the stream whose words are in the paths.
func guessStream(paths map[string]*sampled) string {
	best, most := "web", 0
	for _, s := range []struct {
		name  string
		words []string
	}{
		{"purchase", []string{"line_items", "items", "total", "currency", "order", "price", "amount", "refund", "payment"}},
		{"email", []string{"email_id", "campaign", "bounce", "open", "click", "subject", "message_id"}},
		{"profile", []string{"first_name", "last_name", "birth", "language", "country", "traits", "phone"}},
		{"web", []string{"url", "page", "referrer", "session", "user_agent", "utm"}},
	} {
		n := 0
		for _, w := range s.words {
			if slices.ContainsFunc(slices.Collect(maps.Keys(paths)), func(p string) bool { return strings.Contains(strings.ToLower(p), w) }) {
				n++
			}
		}
		if n > most {
			best, most = s.name, n
		}
	}
	return best
}
