package rulefmt

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/app"
)

func format(text string) (string, error) {
	b, err := Format(rule.File{Name: "r.yaml", Data: []byte(text)})
	return string(b), err
}

// TestGolden: testdata/*.txtar have a file and what it becomes.
func TestGolden(t *testing.T) {
	all, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	for _, path := range all {
		ar, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := format(string(ar.Files[0].Data))
		if err != nil {
			got = err.Error() + "\n"
		}
		if os.Getenv("UPDATE") != "" {
			ar.Files[1].Data = []byte(got)
			if err := os.WriteFile(path, txtar.Format(ar), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if want := string(ar.Files[1].Data); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
		}
	}
}

// texts are the YAML texts of the project.
func texts(t testing.TB) (l []string) {
	t.Helper()
	fence := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "bin"):
			return filepath.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		b, err := os.ReadFile(path)
		switch filepath.Ext(path) {
		case ".yaml", ".yml":
			l = append(l, string(b))
		case ".md":
			for _, block := range fence.FindAllStringSubmatch(string(b), -1) {
				l = append(l, block[1])
			}
		case ".txtar":
			for _, f := range txtar.Parse(b).Files {
				l = append(l, string(f.Data))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// ruined lays a text out badly, without a change of its meaning if it is of blocks that
// are indented by two.
func ruined(text string) string {
	var out []string
	for _, line := range strings.Split(text, "\n") {
		n := indentOf(line)
		out = append(out, strings.Repeat(" ", 3*(n/2)+n%2)+line[n:])
	}
	return strings.Join(out, "\n")
}

// TestMeaning: rules mean the same when they are laid out, whatever they looked like, and
// laying them out again changes nothing.
func TestMeaning(t *testing.T) {
	rules, moved := 0, 0
	for _, text := range texts(t) {
		once := stable(t, text)
		before, ok := versions(text)
		if !ok {
			continue
		}
		rules++
		if after, _ := versions(once); !maps.Equal(before, after) {
			t.Errorf("the meaning of\n%s\nis not that of\n%s", text, once)
		}
		bad := ruined(text)
		if v, ok := versions(bad); ok && maps.Equal(before, v) && bad != text {
			moved++
			stable(t, bad)
			got, _ := format(bad)
			if v, _ := versions(got); !maps.Equal(before, v) {
				t.Errorf("the meaning of\n%s\nis not that of\n%s", bad, got)
			}
		}
	}
	if rules < 60 || moved < 30 {
		t.Errorf("only %d rule files, of which %d were laid out badly", rules, moved)
	}
}

// stable checks what must hold of every text and returns it laid out.
func stable(t *testing.T, text string) string {
	t.Helper()
	once, err := format(text)
	if err != nil {
		return text
	}
	twice, err := format(once)
	if err != nil || twice != once {
		t.Errorf("not the same when laid out twice (%v):\n%s\nthen\n%s\nof\n%s", err, once, twice, text)
	}
	if squeezed(once) != squeezed(text) {
		t.Errorf("more than white space has changed:\n%s\nof\n%s", once, text)
	}
	return once
}

func squeezed(s string) string {
	return strings.Join(strings.Fields(strings.TrimPrefix(s, "\ufeff")), " ")
}

// versions are what rules mean; ok is false of a text that is no rule file.
func versions(text string) (map[string]string, bool) {
	rules, err := app.CompileRules([]rule.File{{Name: "r.yaml", Data: []byte(text)}})
	if err != nil {
		return nil, false
	}
	return rules.Engine.Versions(), true
}

// TestProject: the rule files of the example shop are laid out.
func TestProject(t *testing.T) {
	all, err := filepath.Glob("../../examples/shop/rules/*.yaml")
	if err != nil || len(all) < 3 {
		t.Fatal(all, err)
	}
	for _, path := range append(all, "../starter/files/rules/customers.yaml", "../starter/files/rules/customers_test.yaml") {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := format(string(b)); err != nil || got != string(b) {
			t.Errorf("%s: %v; laid out it is\n%s", path, err, got)
		}
	}
}

// TestLong: laying out takes time in proportion to the length.
func TestLong(t *testing.T) {
	for _, part := range []string{"#\n", "\n", "  # c\n\n", "- a\n", "- |\n  x\n\n"} {
		head := "version: 1\nactivity:\n"
		text := head + strings.Repeat(part, 500_000/len(part)) + "define: {}\n"
		start := time.Now()
		if _, err := format(text); err != nil {
			t.Errorf("%q: %v", part, err)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%q: %s", part, took)
		}
	}
}

// FuzzFormat: whatever a file holds, laying it out changes white space alone, and nothing
// the second time.
func FuzzFormat(f *testing.F) {
	for _, text := range texts(f) {
		if len(text) < 4000 {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) { stable(t, text) })
}
