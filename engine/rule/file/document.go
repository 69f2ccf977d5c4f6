package file

import (
	"regexp"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// Document is what all files say, before any expression is looked at.
type Document struct {
	Zone       *Passage
	feb29      *Passage
	MarFirst   bool // what feb29 says
	Reading    Reading
	Activity   []*Passage
	activityAt *Passage
	Own        Own
	Defines    []Declaration
	Segments   []Segment
	Lifecycles []Lifecycle
	Triggers   []Trigger
	Mappings   []Mapping
	Reviews    []Review
	// ActivityAllow is what is allowed of Activity.
	ActivityAllow *Allow
}

// Declaration is a name with an expression.
type Declaration struct {
	Name, Text *Passage
	Allow      *Allow
}

// Segment is a segment as written.
type Segment struct {
	ID   *Passage
	Was  *Passage // the id before, nil if it had no other
	Meta plan.Meta
	When *Passage
	// Allow are the warnings that are meant, here and below.
	Allow *Allow
}

// Lifecycle is a lifecycle as written.
type Lifecycle struct {
	ID     *Passage
	Was    *Passage // the id before, nil if it had no other
	Meta   plan.Meta
	Stages []stage
	Allow  *Allow
}

// stage is a stage of a lifecycle as written.
type stage struct {
	ID, When *Passage
	Was      *Passage // the id before within the lifecycle, nil if it had no other
	Allow    *Allow
}

var (
	topWords     = words{known: []string{"version", "allow", "defaults", "readings", "activity", "define", "fields", "streams", "mappings", "segments", "lifecycles", "triggers"}, later: []string{"traits"}}
	defaultWords = words{known: []string{"timezone", "feb_29", "currency"}, later: []string{"quiet_hours", "consent", "clock"}}
	segmentWords = words{
		known: []string{"id", "was", "name", "description", "objective", "owner", "review_by", "channel", "expected_size", "when", "allow"},
		later: []string{"min_stay", "refresh", "sticky", "only_if", "not_if", "until", "enter", "exit"},
	}
	lifecycleWords = words{
		known: []string{"id", "was", "name", "description", "objective", "owner", "review_by", "channel", "stages", "allow"},
		later: []string{"min_stay", "refresh", "sticky"},
	}
	stageWords = words{known: []string{"id", "was", "when", "allow"}, later: []string{"min_stay", "name", "sticky"}}
)

func (r *reader) top(root *yaml.Node) {
	s, ok := r.section(root, "a rule file", topWords)
	if !ok {
		return
	}
	if v := r.required(s, "version", "start the file with version: 1"); v != nil && v.Text != "1" {
		r.FailHint(v, "write version: 1", "this version of segmill does not support version %s of the rule language", strconv.Quote(v.Text))
	}
	r.all = r.allow(s, nil)
	if n := s.vals["defaults"]; n != nil {
		r.defaults(n)
	}
	if n := s.vals["fields"]; n != nil {
		r.moreFields(n)
	}
	if n := s.vals["streams"]; n != nil {
		r.ownStreams(n)
	}
	if n := s.vals["activity"]; n != nil {
		r.activity(n)
	}
	if n := s.vals["define"]; n != nil {
		r.defines(n)
	}
	if n := s.vals["mappings"]; n != nil {
		r.mappings(n)
	}
	if n := s.vals["readings"]; n != nil {
		r.readings(n)
	}
	for _, n := range r.list(s.vals["segments"], "segments") {
		r.segment(n)
	}
	for _, n := range r.list(s.vals["lifecycles"], "lifecycles") {
		r.lifecycle(n)
	}
	for _, n := range r.list(s.vals["triggers"], "triggers") {
		r.trigger(n)
	}
}

func (r *reader) defaults(n *yaml.Node) {
	s, ok := r.section(n, "defaults", defaultWords)
	if !ok {
		return
	}
	zone := r.scalar(s, "timezone")
	switch prev := r.doc.Zone; {
	case zone == nil:
	case prev != nil && prev.Text != zone.Text:
		r.Fail(zone, "the default time zone is %s here and %s in %s", zone.Text, prev.Text, Where(prev))
	case !IsZone(r.zones, zone.Text):
		r.FailHint(zone, "write an IANA name such as Europe/Paris", "unknown time zone %s", strconv.Quote(zone.Text))
	default:
		r.doc.Zone = zone
	}
	feb29 := r.scalar(s, "feb_29")
	switch prev := r.doc.feb29; {
	case feb29 == nil:
	case prev != nil && prev.Text != feb29.Text:
		r.Fail(feb29, "feb_29 is %s here and %s in %s", feb29.Text, prev.Text, Where(prev))
	default:
		r.doc.feb29, r.doc.MarFirst = feb29, r.feb29(feb29)
	}
	r.currency(r.scalar(s, "currency"))
}

// feb29 reads what being born on 29 February means in common years.
func (r *reader) feb29(p *Passage) (marFirst bool) {
	names := []string{"feb_28", "mar_1"}
	if !slices.Contains(names, p.Text) {
		r.FailHint(p, DidYouMean(p.Text, names), "feb_29 must be feb_28 or mar_1, not %s", strconv.Quote(p.Text))
	}
	return p.Text == names[1]
}

// IsZone reports whether there is a time zone of that name.
func IsZone(zones expr.Zones, name string) bool {
	_, ok := zones(name)
	return ok
}

func (r *reader) activity(n *yaml.Node) {
	list := r.texts(n, "activity")
	if len(list) == 0 {
		if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
			r.FailHint(Offset{r.file, r.file.offset(n.Line, n.Column)}, "remove the key to get the default", "activity is empty")
		}
		return
	}
	at := newPassage(r.file, n)
	if r.doc.activityAt != nil {
		if !sameTexts(r.doc.Activity, list) {
			r.Fail(Offset{r.file, r.file.offset(n.Line, n.Column)}, "activity is also set in %s, to another value", Where(r.doc.activityAt.start()))
		}
		return
	}
	r.doc.Activity, r.doc.activityAt, r.doc.ActivityAllow = list, at, r.all
}

func sameTexts(a, b []*Passage) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Text != b[i].Text {
			return false
		}
	}
	return true
}

// Where names a place in the middle of a sentence.
func Where(p Place) string {
	pos := PosOf(p)
	return pos.File + ":" + strconv.Itoa(pos.Line)
}

// NameForm is what a name of a definition looks like.
var NameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,99}$`)

func (r *reader) defines(n *yaml.Node) {
	s, ok := r.section(n, "define", words{any: true})
	if !ok {
		return
	}
	for _, name := range s.order {
		if !NameForm.MatchString(name.Text) {
			r.FailHint(name, "use letters, digits and _", "%s is not a valid name", strconv.Quote(name.Text))
			continue
		}
		text := r.scalar(s, name.Text)
		if text != nil {
			r.doc.Defines = append(r.doc.Defines, Declaration{name, text, r.all})
		}
	}
}

func (r *reader) segment(n *yaml.Node) {
	s, ok := r.section(n, "a segment", segmentWords)
	if !ok {
		return
	}
	id := r.identify(s, "segment", "a segment")
	was := r.was(s, id, "segment")
	allow := r.allow(s, r.all)
	meta := r.meta(s, allow)
	when := r.required(s, "when", "add when: the condition of its members")
	if id == nil {
		return
	}
	meta.Pos = PosOf(id)
	r.doc.Segments = append(r.doc.Segments, Segment{id, was, meta, when, allow})
}

// identify reads the id and puts it into the name by which errors call s.
func (r *reader) identify(s *section, short, what string) *Passage {
	id := r.required(s, "id", "add id: a short name that never changes")
	if !r.id(id, what) {
		return nil
	}
	s.what = short + " " + strconv.Quote(id.Text)
	return id
}

// was reads the id that a rule had before, nil if it had no other.
func (r *reader) was(s *section, id *Passage, short string) *Passage {
	was := r.scalar(s, "was")
	switch {
	case was == nil:
		return nil
	case idFlaw(was.Text) != "":
		r.FailHint(was, "write the id that it had as a "+short+"; what was anything else before is a new "+short, "no %s can have had the id %s", short, strconv.Quote(was.Text))
		return nil
	case id != nil && was.Text == id.Text:
		r.FailHint(was, "write the id that it had before, or remove was", "%s has that id now", s.what)
		return nil
	}
	return was
}

var sizeForm = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)%\.\.([0-9]+(?:\.[0-9]+)?)%$`)

func (r *reader) meta(s *section, allow *Allow) plan.Meta {
	var m plan.Meta
	for _, f := range []struct {
		key, hint string
		to        *string
	}{
		{"objective", "add objective: what it is for", &m.Objective},
		{"owner", "add owner: who answers for it", &m.Owner},
		{"review_by", "add review_by: the day by which somebody looks at it again", &m.ReviewBy},
	} {
		if p := r.required(s, f.key, f.hint); p != nil {
			*f.to = p.Text
			if f.key == "review_by" && r.date(p) {
				r.doc.Reviews = append(r.doc.Reviews, Review{p, allow})
			}
		}
	}
	r.optional(s, "name", &m.Name)
	r.optional(s, "channel", &m.Channel)
	r.scalar(s, "description")
	if p := r.optional(s, "expected_size", &m.ExpectedSize); p != nil {
		r.size(p)
	}
	return m
}

func (r *reader) optional(s *section, key string, to *string) *Passage {
	p := r.scalar(s, key)
	if p != nil {
		*to = p.Text
	}
	return p
}

func (r *reader) date(p *Passage) bool {
	_, err := time.Parse(time.DateOnly, p.Text)
	if err != nil {
		r.FailHint(p, "write a date such as 2027-06-01", "%s is not a date", strconv.Quote(p.Text))
	}
	return err == nil
}

func (r *reader) size(p *Passage) {
	m := sizeForm.FindStringSubmatch(p.Text)
	if m == nil {
		r.FailHint(p, "write it as 5%..25%", "%s is not a range of percentages", strconv.Quote(p.Text))
		return
	}
	low, _ := strconv.ParseFloat(m[1], 64)
	high, _ := strconv.ParseFloat(m[2], 64)
	if low > high || high > 100 {
		r.Fail(p, "a range of percentages must run from the smaller to the larger, up to 100%%")
	}
}

func (r *reader) lifecycle(n *yaml.Node) {
	s, ok := r.section(n, "a lifecycle", lifecycleWords)
	if !ok {
		return
	}
	id := r.identify(s, "lifecycle", "a lifecycle")
	was := r.was(s, id, "lifecycle")
	allow := r.allow(s, r.all)
	l := Lifecycle{ID: id, Was: was, Meta: r.meta(s, allow), Allow: allow}
	nodes := r.list(s.vals["stages"], "stages")
	if s.vals["stages"] == nil || len(nodes) == 0 && s.vals["stages"].Kind == yaml.SequenceNode {
		r.FailHint(s.at, "add stages: a list of id and when", "%s has no stages", s.what)
	}
	for _, node := range nodes {
		st, ok := r.section(node, "a stage", stageWords)
		if !ok {
			continue
		}
		sid := r.identify(st, "stage", "a stage")
		swas := r.was(st, sid, "stage")
		when := r.required(st, "when", `add when: its condition, or when: "true" for whoever is left`)
		if sid != nil {
			l.Stages = append(l.Stages, stage{ID: sid, Was: swas, When: when, Allow: r.allow(st, allow)})
		}
	}
	if id != nil {
		l.Meta.Pos = PosOf(id)
		r.doc.Lifecycles = append(r.doc.Lifecycles, l)
	}
}

// Known returns the keys that each mapping of a rule file may have, by what it is: those of
// triggers are the ones of every kind.
func Known() map[string][]string {
	return map[string][]string{
		"file": topWords.known, "defaults": defaultWords.known, "readings": readingWords.known, "segment": segmentWords.known,
		"lifecycle": lifecycleWords.known, "stage": stageWords.known, "trigger": new(reader).triggerWords(nil).known, "mapping": mappingWords.known,
		"stream": ownStreamWords.known,
	}
}
