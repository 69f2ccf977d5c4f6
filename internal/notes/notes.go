// Package notes keeps what readers say of records that they have read all the same:
// fields that are absent because they could not be read, words that are none of their
// list, amounts that were derived.
//
// The one rule it keeps: nothing is passed over in silence, and nothing that a producer
// does ten thousand times a second is said more than once a minute. What is logged names
// fields and never quotes what is in them.
package notes

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segmill/segmill/schemas"
)

// key is what is counted and logged together.
type key struct {
	topic, field string
	kind         schemas.NoteKind
	cause        schemas.Cause
}

// keyOf returns the key of a note.
func keyOf(topic string, n *schemas.Note) key { return key{topic, n.Field, n.Kind, n.Cause} }

// Live counts notes as metrics and logs them.
type Live struct {
	now      func() time.Time
	log      *slog.Logger
	counters [schemas.NumNoteKinds]*prometheus.CounterVec

	mu   sync.Mutex
	said map[key]*said
}

// said is what was logged of a key.
type said struct {
	at   time.Time
	more int // since then
}

// every is how often one thing is logged.
const every = time.Minute

// kindInfo is what there is to say of a kind of note.
type kindInfo struct {
	metric, help string
	labels       []string // beside the topic
	log          string
	level        slog.Level
}

var infos = [schemas.NumNoteKinds]kindInfo{
	schemas.NoteRefused: {
		"fields_refused_total", "Fields that could not be read and are absent in an event that was.",
		[]string{"field", "cause"},
		"a field cannot be read and is absent; the event counts", slog.LevelWarn,
	},
	schemas.NoteUnknown: {
		"words_unknown_total", "Words that are none of their closed list and were read as unknown.",
		[]string{"field"},
		"a word is none of those that the field can have, and is read as unknown", slog.LevelWarn,
	},
	schemas.NoteLeftOut: {
		"items_left_out_total", "Items that were left out of an event because they have no product or no quantity.",
		[]string{"cause"},
		"an item has no product or no quantity and is left out; the event counts", slog.LevelWarn,
	},
	schemas.NoteDerived: {
		"revenue_derived_total", "Orders whose revenue was derived from other amounts.",
		[]string{"from"},
		"an order has no revenue, which is derived from its other amounts", slog.LevelInfo,
	},
	schemas.NoteDoubled: {
		"doubled_keys_total", "Records in which an object has a key twice; the last one counts.", nil,
		"an object has a key twice; the last one counts", slog.LevelWarn,
	},
	schemas.NoteSkipped: {
		"messages_skipped_total", "Messages of a type that is no event.", nil,
		"a message is of a type that is no event, and is skipped", slog.LevelInfo,
	},
	schemas.NoteUndecided: {
		"mapping_undecided_total", "Records of which it is unknown whether a mapping's when holds, or what its each is. They are skipped.",
		[]string{"mapping"},
		"whether a record is an event of a mapping is unknown, and it is skipped", slog.LevelWarn,
	},
	schemas.NoteNoRate: {
		"rates_missing_total", "Events whose amounts are absent because there is no rate of their currency.",
		[]string{"currency"},
		"there is no rate of a currency, so amounts in it are absent; the event counts: add it to readings.rates", slog.LevelWarn,
	},
	schemas.NoteMixed: {
		"currency_mixed_total", "Events with amounts in another currency than that of the topic's first ones.", nil,
		"amounts of a topic are in different currencies, and are added up as they are: add defaults.currency to the rules", slog.LevelWarn,
	},
}

// New returns notes that are counted by metrics registered with reg, nil for nowhere,
// and logged.
func New(reg prometheus.Registerer, log *slog.Logger, now func() time.Time) *Live {
	l := &Live{now: now, log: log, said: map[key]*said{}}
	for kind := range infos {
		i := &infos[kind]
		if i.metric == "" {
			continue
		}
		l.counters[kind] = prometheus.NewCounterVec(
			prometheus.CounterOpts{Namespace: "segmill", Name: i.metric, Help: i.help}, append([]string{"topic"}, i.labels...))
		if reg != nil {
			reg.MustRegister(l.counters[kind])
		}
	}
	return l
}

// Take takes a note. It is safe for use by several goroutines.
func (l *Live) Take(topic string, n *schemas.Note) {
	i := &infos[n.Kind]
	labels := []string{topic}
	for _, name := range i.labels {
		if name == "cause" {
			labels = append(labels, string(n.Cause))
		} else {
			labels = append(labels, n.Field)
		}
	}
	l.counters[n.Kind].WithLabelValues(labels...).Inc()
	more, ok := l.due(keyOf(topic, n))
	if !ok {
		return
	}
	args := []any{"topic", topic}
	switch n.Kind {
	case schemas.NoteDerived:
		args = append(args, "from", n.Field)
	case schemas.NoteNoRate:
		args = append(args, "currency", n.Field)
	case schemas.NoteSkipped, schemas.NoteDoubled, schemas.NoteMixed:
	case schemas.NoteUndecided:
		args = append(args, "mapping", n.Field, "why", n.Detail) // an expression, nothing of the record
	default:
		args = append(args, "field", cmp.Or(n.Name, n.Field))
	}
	if n.Cause != "" {
		args = append(args, "cause", string(n.Cause))
	}
	if word := plain(n); word != "" {
		args = append(args, "word", word)
	}
	if more > 0 {
		args = append(args, "more", more)
	}
	//nolint:sloglint // the text is one of the table above
	l.log.Log(context.Background(), i.level, i.log, args...)
}

// due reports whether a key is to be logged now, and how often it came since it was.
func (l *Live) due(k key) (more int, ok bool) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.said[k]
	if s == nil {
		l.said[k] = &said{at: now}
		return 0, true
	}
	if now.Sub(s.at) < every {
		s.more++
		return 0, false
	}
	more, s.at, s.more = s.more, now, 0
	return more, true
}

// plain returns the word of a note if it is one that a program writes: nobody's name or
// address is logged because it is in the wrong field.
func plain(n *schemas.Note) string {
	if n.Kind != schemas.NoteUnknown && n.Kind != schemas.NoteSkipped {
		return ""
	}
	word := strings.Trim(strings.TrimPrefix(n.Detail, "type "), `"`)
	letters := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_' || r == '-' }
	if len(word) > 32 || strings.ContainsFunc(word, func(r rune) bool { return !letters(r) }) {
		return ""
	}
	return word
}

// Tally counts notes for a summary. It is not safe for use by several goroutines.
type Tally struct {
	counts map[key]*count
}

// count is how often a key came, and its first note.
type count struct {
	n     int
	first schemas.Note
}

// Take takes a note.
func (t *Tally) Take(topic string, n *schemas.Note) {
	if t.counts == nil {
		t.counts = map[key]*count{}
	}
	k := keyOf(topic, n)
	c := t.counts[k]
	if c == nil {
		c = &count{first: *n}
		t.counts[k] = c
	}
	c.n++
}

// Line is one line of a summary.
type Line struct {
	Topic string
	N     int    // how often
	Text  string // what, such as `revenue refused (type)`
	First string // what the first one was; it may quote what was there
}

// Lines returns what was counted, by topic, kind and field.
func (t *Tally) Lines() (l []Line) {
	keys := slices.SortedFunc(maps.Keys(t.counts), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.kind, b.kind), cmp.Compare(a.field, b.field), cmp.Compare(a.cause, b.cause))
	})
	for _, k := range keys {
		c := t.counts[k]
		l = append(l, Line{Topic: k.topic, N: c.n, Text: what(k), First: first(&c.first)})
	}
	return l
}

// what says what a key counts.
func what(k key) string {
	switch k.kind {
	case schemas.NoteRefused:
		return fmt.Sprintf("%s refused (%s)", k.field, k.cause)
	case schemas.NoteUnknown:
		return k.field + " unknown"
	case schemas.NoteLeftOut:
		return fmt.Sprintf("item left out (%s)", k.cause)
	case schemas.NoteDerived:
		return "revenue derived from " + k.field
	case schemas.NoteDoubled:
		return "key twice in an object"
	case schemas.NoteUndecided:
		return "undecided by the mapping " + k.field
	case schemas.NoteNoRate:
		return "amounts absent, no rate of " + k.field
	case schemas.NoteMixed:
		return "another currency than that of the first amounts"
	default:
		return "message skipped"
	}
}

// first says what a note is.
func first(n *schemas.Note) string {
	switch n.Kind {
	case schemas.NoteRefused:
		if n.Name != n.Field {
			return n.Name + ": " + n.Detail
		}
	case schemas.NoteDoubled, schemas.NoteLeftOut, schemas.NoteDerived, schemas.NoteUndecided:
		return ""
	default: // the detail says it
	}
	return n.Detail
}
