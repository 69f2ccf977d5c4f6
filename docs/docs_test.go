// Package docs tests that the examples in the documents are true.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/engine/rule/language"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/triggers"
)

// block is a fenced block of a document: what stands behind the fence, and what
// is in it.
type block struct{ info, text string }

// blocks returns the fenced blocks of a document.
func blocks(t *testing.T, path string) []block {
	t.Helper()
	var found []block
	var in *block
	for line := range strings.Lines(read(t, path)) {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && in == nil:
			in = &block{info: strings.TrimSpace(fence)}
		case isFence:
			found = append(found, *in)
			in = nil
		case in != nil:
			in.text += line
		}
	}
	if in != nil {
		t.Fatalf("%s: a block is not closed", path)
	}
	return found
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func parse(name, text string) (*rule.Set, error) {
	return rule.Parse([]rule.File{{Name: name, Data: []byte(text)}}, schemas.Catalog(), triggers.Kinds(), app.Zones())
}

// TestRuleExamples: every rule file in the documents compiles. A block that is
// marked "yaml error" gives the errors of the block behind it.
func TestRuleExamples(t *testing.T) {
	for path, least := range map[string]int{"rules.md": 5, "../README.md": 1} {
		all := blocks(t, path)
		n := 0
		for i, b := range all {
			if !strings.HasPrefix(b.text, "version:") {
				continue
			}
			n++
			_, err := parse("rules/loyal.yaml", b.text)
			switch {
			case b.info == "yaml" && err != nil:
				t.Errorf("%s:\n%s\n%v", path, b.text, err)
			case b.info == "yaml error" && (err == nil || err.Error()+"\n" != all[i+1].text):
				t.Errorf("%s:\n%s\ngives\n%v\nand not\n%s", path, b.text, err, all[i+1].text)
			case b.info != "yaml" && b.info != "yaml error":
				t.Errorf("%s: a rule file in a block of kind %q", path, b.info)
			}
		}
		if n < least {
			t.Errorf("%s has %d rule files", path, n)
		}
	}
}

// examples returns the last column of every table of the document that has a
// column of that name, as code.
func examples(t *testing.T, path string) []string {
	t.Helper()
	var found []string
	in := false
	for line := range strings.Lines(read(t, path)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			in = false
			continue
		}
		cells := strings.Split(strings.ReplaceAll(strings.Trim(line, "|"), `\|`, "\x00"), "|")
		last := strings.ReplaceAll(strings.TrimSpace(cells[len(cells)-1]), "\x00", "|")
		switch {
		case last == "example":
			in = true
		case in && !strings.HasPrefix(last, "---"):
			code := strings.Trim(last, "`")
			if last != "`"+code+"`" {
				t.Errorf("%s: an example that is no code: %s", path, last)
			}
			found = append(found, code)
		}
	}
	return found
}

// condition returns a rule file with one condition.
func condition(when string) string {
	const meta = ", objective: o, owner: w, review_by: 2027-06-01, when: "
	return "version: 1\nsegments:\n  - {id: loyal" + meta + "count(purchase) > 3}\n" +
		"  - id: example\n    objective: o\n    owner: w\n    review_by: 2027-06-01\n    when: |\n      " + when + "\n"
}

// TestFunctionExamples: every example in the tables of functions compiles, and
// every function has one.
func TestFunctionExamples(t *testing.T) {
	all := examples(t, "rules.md")
	for _, e := range all {
		if _, err := parse("rules.md", condition(e)); err != nil {
			t.Errorf("%s\n%v", e, err)
		}
	}
	text := strings.Join(all, "\n")
	for _, name := range []string{
		"did", "since_first", "since_last",
		"has", "since", "until", "orElse", "age", "years_since", "in_segment", "consented", "days", "weeks", "hours", "duration", "timestamp",
		"getHours", "getDayOfWeek", "startsWith", "matches", "size", "exists", "all", "map", "double",
	} {
		if !regexp.MustCompile(`\b` + name + `\(`).MatchString(text) {
			t.Errorf("%s has no example", name)
		}
	}
}

// Every aggregate has a row in the reference, which says whether it takes a field
// (F) and a window (W), and has an example.
func TestAggregatesAreDescribed(t *testing.T) {
	text := read(t, "rules.md")
	for _, a := range plan.Aggregates() {
		first := "S or C"
		if a.Takes != plan.TakesEvents {
			first = "F"
		}
		_, row, ok := strings.Cut(text, "\n| `"+a.Name+"("+first)
		if !ok {
			t.Errorf("no row for %s(%s)", a.Name, first)
			continue
		}
		row, _, _ = strings.Cut(row, "\n")
		call, _, _ := strings.Cut(row, ")`")
		if window := strings.Contains(call, "W"); window != (a.Window != nil) {
			t.Errorf("%s(%s): a window in the reference is %v", a.Name, first, window)
		}
		if !strings.Contains(row, a.Name+"(") {
			t.Errorf("%s(%s) has no example", a.Name, first)
		}
	}
}

// TestLater: what the reference says is not there is not there.
func TestLater(t *testing.T) {
	_, later, ok := strings.Cut(read(t, "rules.md"), "## What this version does not have")
	if !ok {
		t.Fatal("the section is gone")
	}
	for name, call := range map[string]string{
		"then": `then(web, email, days(1)) > 1`, "not_then": `not_then(web, email, days(1))`,
		"decayed_sum": `decayed_sum(purchase.revenue, days(30)) > 1`, "top_percent": `top_percent(count(web), 20)`,
		"today": `count(web, today()) > 1`, "this_week": `count(web, this_week()) > 1`,
		"this_month": `count(web, this_month()) > 1`, "calendar_days": `count(web, calendar_days(7)) > 1`,
	} {
		_, err := parse("r.yaml", condition(call))
		if err == nil || !strings.Contains(err.Error(), "this version does not have "+name) {
			t.Errorf("%s: %v", call, err)
		}
		if !strings.Contains(later, name) {
			t.Errorf("the reference does not say that %s is missing", name)
		}
	}
	for _, name := range language.Later() {
		if !strings.Contains(later, "`"+name) {
			t.Errorf("the reference does not say that %s is missing", name)
		}
	}
	for _, kind := range []string{"behaviour_change", "lifecycle", "browse_abandonment", "price_drop"} {
		_, err := parse("r.yaml", "version: 1\ntriggers:\n  - {id: t, kind: "+kind+"}\n")
		if err == nil || !strings.Contains(err.Error(), "does not have triggers of kind "+kind) || !strings.Contains(later, kind) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	for _, key := range []string{"consent", "only_if", "not_if", "cooldown", "quiet_hours", "at_most"} {
		_, err := parse("r.yaml", "version: 1\ntriggers:\n  - {id: t, kind: abandoned_cart, "+key+": x}\n")
		if err == nil || !strings.Contains(err.Error(), "this version does not have") || !strings.Contains(later, key) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// Every kind of trigger has a chapter in the reference that names its settings and
// the fields of its message.
func TestKindsAreDescribed(t *testing.T) {
	text := read(t, "rules.md")
	for _, k := range triggers.Kinds() {
		if k.Later {
			continue
		}
		_, chapter, ok := strings.Cut(text, "\n### `"+k.Name+"`\n")
		if !ok {
			t.Errorf("no chapter on triggers of kind %s", k.Name)
			continue
		}
		chapter, _, _ = strings.Cut(chapter, "\n### ")
		for _, s := range k.Settings {
			if !strings.Contains(chapter, "`"+s.Word+"`") {
				t.Errorf("%s: %s is not described", k.Name, s.Word)
			}
		}
		for _, f := range k.Message {
			if !strings.Contains(chapter, "`"+f.Name+"`") {
				t.Errorf("%s: the field %s of the message is not described", k.Name, f.Name)
			}
		}
	}
}

var linkForm = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks: links inside the project lead somewhere.
func TestLinks(t *testing.T) {
	for _, path := range append(documents(t), "../README.md", "../CONTRIBUTING.md", "../CHANGELOG.md", "../bench/README.md") {
		for _, m := range linkForm.FindAllStringSubmatch(read(t, path), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(read(t, target)), anchor) {
				t.Errorf("%s: %s has no heading #%s", path, target, anchor)
			}
		}
	}
}

// documents returns the documents of this folder.
func documents(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("*.md")
	if err != nil || len(found) < 8 {
		t.Fatalf("documents: %v, %v", found, err)
	}
	return found
}

// namedForm is a document that code, a manifest or a script names.
var namedForm = regexp.MustCompile(`\bdocs/([a-z]+\.md)\b`)

// TestDocumentsExist: documents that are named outside of them exist.
func TestDocumentsExist(t *testing.T) {
	known := documents(t)
	for path, text := range files(t, ".go", ".txtar", ".md", ".yaml", ".yml", ".sh", ".py") {
		for _, m := range namedForm.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(known, m[1]) {
				t.Errorf("%s names %s, which does not exist", path, m[0])
			}
		}
	}
}

// anchors returns the names by which the headings of a document are linked.
func anchors(text string) []string {
	var found []string
	other := regexp.MustCompile(`[^a-z0-9 _-]`)
	for line := range strings.Lines(text) {
		if heading := strings.TrimLeft(line, "#"); heading != line {
			name := other.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			found = append(found, strings.ReplaceAll(name, " ", "-"))
		}
	}
	return found
}

// TestConfiguration: the configuration in the reference is valid, and every key
// has a row in the table.
func TestConfiguration(t *testing.T) {
	text := read(t, "configure.md")
	n := 0
	for _, b := range blocks(t, "configure.md") {
		if b.info != "yaml" || !strings.HasPrefix(b.text, "app:") {
			continue
		}
		n++
		if _, err := app.ParseConfig([]byte(b.text), func(string) (string, bool) { return "x", true }); err != nil {
			t.Errorf("%s\n%v", b.text, err)
		}
	}
	if n == 0 {
		t.Error("no configuration in configure.md")
	}
	for _, key := range configKeys() {
		if !strings.Contains(text, "| `"+key+"` |") {
			t.Errorf("configure.md has no row for the key %s", key)
		}
	}
}
