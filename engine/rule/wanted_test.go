package rule_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/engine/rule/language"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/triggers"
)

// wanted is a rule that people want, in the form that they write first.
type wanted struct {
	ID       int
	Form     string
	Trigger  bool   // the form is a trigger, else a condition
	Defaults string // of the file; with a currency and a zone unless it says otherwise
	Outcome  string // right, warned or refused
}

// file is a rule file with the form as its last line.
func (w wanted) file() string {
	text := "version: 1\ndefaults: {timezone: Europe/Paris, currency: EUR}\n"
	if w.Defaults != "" {
		text = "version: 1\ndefaults: " + w.Defaults + "\n"
	}
	if w.Trigger {
		return text + "triggers:\n  - " + w.Form + "\n"
	}
	return text + "segments:\n  - id: wanted\n    objective: o\n    owner: w\n    review_by: 2099-01-01\n    when: |\n      " + w.Form + "\n"
}

// said is what Parse says of a form, and how that is called.
func (w wanted) said() (outcome string, problems rule.Problems) {
	set, err := parseWanted(w.file())
	switch {
	case err != nil:
		ps, _ := err.(rule.Problems) //nolint:errorlint // Parse returns it as it is
		return "refused", ps
	case len(set.Warnings) > 0:
		return "warned", set.Warnings
	}
	return "right", nil
}

func parseWanted(text string) (*rule.Set, error) {
	return rule.Parse([]rule.File{{Name: "wanted.yaml", Data: []byte(text)}}, schemas.Catalog(), triggers.Kinds(), zones)
}

// TestWanted: each rule that people want is right in the form that they write first, or
// warned of, or refused with a line that works.
func TestWanted(t *testing.T) {
	data, err := os.ReadFile("testdata/wanted.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Cases []wanted }
	if err := yaml.Load(data, &list); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, w := range list.Cases {
		outcome, problems := w.said()
		if outcome != w.Outcome {
			t.Errorf("%d: %s is %s, want %s\n%v", w.ID, w.Form, outcome, w.Outcome, problems)
		}
		tell(t, &b, fmt.Sprintf("%d. %s: %s", w.ID, w.Form, outcome), problems, w)
	}
	golden(t, "testdata/wanted.txt", b.String())
}

// TestFirstErrors: what people write first who know another language is answered with what
// they meant.
func TestFirstErrors(t *testing.T) {
	f, err := os.Open("testdata/first.conditions")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b strings.Builder
	for lines := bufio.NewScanner(f); lines.Scan(); {
		w := wanted{Form: lines.Text()}
		outcome, problems := w.said()
		if outcome == "right" {
			t.Errorf("%s is no error", w.Form)
		}
		tell(t, &b, w.Form, problems, w)
	}
	golden(t, "testdata/first.txt", b.String())
}

// TestNearestToday: what is written today in the place of what comes later works.
func TestNearestToday(t *testing.T) {
	for _, name := range language.Later() {
		if line := language.Today(name); line != "" && !works(line, wanted{}) {
			t.Errorf("%s: %s does not work", name, line)
		}
	}
}

// TestFirstFiles: files that are not YAML, or have keys of other tools, are answered with what
// was meant: written so, they are right.
func TestFirstFiles(t *testing.T) {
	data, err := os.ReadFile("testdata/first.files")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, both := range strings.Split(string(data), "\n====\n") {
		bad, good, _ := strings.Cut(both, "\n----\n")
		_, err := parseWanted(bad)
		if err == nil {
			t.Errorf("%s\nis no error", bad)
			continue
		}
		b.WriteString(err.Error() + "\n====\n")
		if _, err := parseWanted(good); err != nil {
			t.Errorf("%s\n%v", good, err)
		}
	}
	golden(t, "testdata/first.files.txt", b.String())
}

// TestInstead: what there is in the place of a field that people look for is there.
func TestInstead(t *testing.T) {
	for _, name := range language.InsteadOf() {
		line := language.Instead(name)
		if !works(line, wanted{}) {
			t.Errorf("%s: %s does not work", name, line)
		}
		form := "did(has(" + name + ")) || " + name + " == " + name
		if _, err := parseWanted(wanted{Form: form}.file()); err == nil {
			t.Errorf("%s is there itself", name)
		}
	}
}

// tell writes down what is said, with the line that is to be pasted, and tries it.
func tell(t *testing.T, b *strings.Builder, what string, problems rule.Problems, w wanted) {
	t.Helper()
	b.WriteString(what + "\n")
	for _, p := range problems {
		b.WriteString("    " + p.Message)
		if p.ID != "" {
			b.WriteString(" [" + string(p.ID) + "]")
		}
		b.WriteString("\n")
		if p.Hint == "" {
			continue
		}
		b.WriteString("        " + p.Hint + "\n")
		if m := signLine.FindStringSubmatch(p.Hint); m != nil && !works(otherSign.Replace(w.Form), w) {
			t.Errorf("%s: %s does not work", w.Form, p.Hint)
		}
		if m := orPart.FindStringSubmatch(p.Hint); m != nil {
			pastePart(t, w, p.Message, m)
			continue
		}
		for _, line := range pasted(p.Hint) {
			if !works(line, w) && !replaces(line, p.Message, w) {
				t.Errorf("%s: %s\npasting %s does not work", w.Form, p.Hint, line)
			}
		}
	}
}

// pastePart puts the remedy of a comparison in doubt in its place, where it must leave less
// in doubt than there was.
func pastePart(t *testing.T, w wanted, message string, remedy []string) {
	t.Helper()
	_, before := w.said()
	form := w.Form
	if w.Form = strings.Replace(form, remedy[2], remedy[1], 1); w.Form == form {
		t.Errorf("%s: %s is not in it", form, remedy[2])
		return
	}
	if outcome, after := w.said(); outcome == "refused" || strings.Count(after.Error(), message) >= strings.Count(before.Error(), message) {
		t.Errorf("%s: %s, %v", w.Form, outcome, after)
	}
}

var (
	// orPart is a part of a condition with what is added to it.
	orPart      = regexp.MustCompile(`^if those count, write (\((.+) \|\| !.+\))$`)
	writeLine   = regexp.MustCompile(`\b(?:write|add|in quotes:) (.+?)(?:, or .*| if those count| without quotes|, with .*)?$`)
	signLine    = regexp.MustCompile(`^write (\S+) (?:for \S+|to compare)$`)
	noFieldForm = regexp.MustCompile(`^no field "(.+)" in (?:stream )?(.+)$`)
	declareLine = regexp.MustCompile(`(?:declare it|declared so): (fields: \{.*?\}\}|streams: \{.*\}\}\})`)
)

// otherSign takes the signs of other languages.
var otherSign = strings.NewReplacer(" <> ", " != ", " and ", " && ", " or ", " || ", "not ", "!", " => ", " >= ", " =< ", " <= ", " == > ", " >= ", ", ", " && ", " = ", " == ", " is ", " == ")

// pasted are the parts of a hint that are to be pasted.
func pasted(hint string) (lines []string) {
	if signLine.MatchString(hint) {
		return nil
	}
	if m := declareLine.FindStringSubmatch(hint); m != nil {
		lines = append(lines, m[1])
	}
	if m := writeLine.FindStringSubmatch(hint); m != nil {
		lines = append(lines, m[1])
	}
	return lines
}

// works reports whether a line can be pasted: as a condition, behind one, in the place of a
// window, of a condition on events or of a value, or as a key of the file.
func works(line string, w wanted) bool {
	isDeclared := strings.HasPrefix(line, "fields: ") || strings.HasPrefix(line, "streams: ")
	if strings.HasPrefix(line, "defaults: ") || isDeclared {
		if strings.HasPrefix(line, "defaults: ") {
			w.Defaults = strings.TrimPrefix(line, "defaults: ")
		}
		text := w.file()
		if isDeclared {
			text = strings.Replace(text, "segments:", line+"\nsegments:", 1)
		}
		return onlyOthers(text)
	}
	for _, form := range []string{
		line, w.Form + " " + line, "did(web) && " + line, "did(web, " + line + ")", "did(" + strings.TrimPrefix(line, "|| ") + ")", "did(purchase.occurred_at." + line + " > 0)",
		"profile.country == " + line, "count(purchase) > " + line, "profile.country in " + line, "profile.country " + line + ` "x"`,
		"did(web) " + line + " did(email)", line + "did(web)", line + " > 0", line + " == " + line, "did(has(" + line + "))",
	} {
		text := wanted{Form: form}.file()
		if strings.Contains(line, `in_segment("loyal")`) {
			text += "  - {id: loyal, objective: o, owner: w, review_by: 2099-01-01, when: did(purchase)}\n"
		}
		if _, err := parseWanted(text); err == nil {
			return true
		}
	}
	return false
}

// onlyOthers reports whether nothing is wrong with a file but other fields that it lacks,
// functions of later versions, and where the test of a field stands.
func onlyOthers(text string) bool {
	_, err := parseWanted(text)
	ps, _ := err.(rule.Problems) //nolint:errorlint // Parse returns it as it is
	for _, p := range ps {
		if !strings.HasPrefix(p.Message, "no field") && !strings.Contains(p.Message, "version does not have") && !strings.Contains(p.Message, "only be used inside") {
			return false
		}
	}
	return true
}

// replaces reports whether a line can be pasted in the place of a field that there is not.
func replaces(line, message string, w wanted) bool {
	m := noFieldForm.FindStringSubmatch(message)
	if m == nil {
		return false
	}
	w.Form = strings.ReplaceAll(w.Form, m[2]+"."+m[1], line)
	_, err := parseWanted(w.file())
	return err == nil
}

// golden compares with a file, which -update writes.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(name, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs (-want +got):\n%s", name, d)
	}
}
