package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"
)

// fenced are the blocks of a document: what stands behind the fence, and the text.
func fenced(t *testing.T, path string) [][2]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var l [][2]string
	for _, m := range regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$").FindAllStringSubmatch(string(b), -1) {
		l = append(l, [2]string{m[1], m[2]})
	}
	return l
}

// script runs a script of the given text with the given files.
func script(t *testing.T, text string, files ...txtar.File) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script.txtar")
	if err := os.WriteFile(path, txtar.Format(&txtar.Archive{Comment: []byte(text), Files: files}), 0o600); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{Files: []string{path}, RequireExplicitExec: true, Cmds: map[string]func(*testscript.TestScript, bool, []string){
		"shows": cmdShows, "does": cmdDoes, "inforce": cmdInForce, "broker": cmdBroker, "produce": cmdProduce,
	}})
}

// TestWorkflow runs what docs/ci.md shows, in the folder that segmill init writes, beside
// a main branch that has the same rules.
func TestWorkflow(t *testing.T) {
	var b strings.Builder
	b.WriteString("exec segmill init .\nmkdir main\nexec segmill init main\n")
	steps, entries := 0, 0
	for _, block := range fenced(t, "../../docs/ci.md") {
		switch block[0] {
		case "sh":
			for line := range strings.Lines(block[1]) {
				if strings.HasPrefix(line, "segmill ") {
					b.WriteString("exec " + line)
				}
			}
		case "yaml":
			for _, m := range regexp.MustCompile(`(?m)^ +(?:- )?(run|entry): (segmill [^>\n]*)`).FindAllStringSubmatch(block[1], -1) {
				if b.WriteString("exec " + m[2] + "\n"); m[1] == "run" {
					steps++
				} else {
					entries++
				}
			}
		}
	}
	if steps < 5 || entries != 3 {
		t.Fatalf("%d steps, %d hooks", steps, entries)
	}
	// What it is for: a rule without a test, and an error beside its line.
	b.WriteString(`cp more.yaml rules/more.yaml
! exec segmill test --coverage --require=main/rules rules
stdout '^FAIL  segment more has no test$'
! exec segmill check -o github --deny-warnings rules wrong.yaml
stdout '^::error file=wrong.yaml,line=3,col='
`)
	const rules = "version: 1\nsegments:\n  - {id: %s, objective: o, owner: w, review_by: 2099-01-01, when: did(%s)}\n"
	script(t, b.String(),
		txtar.File{Name: "more.yaml", Data: fmt.Appendf(nil, rules, "more", "web")},
		txtar.File{Name: "wrong.yaml", Data: fmt.Appendf(nil, rules, "wrong", "wbe")})
}

// TestShop: every rule of the example shop has a test, and they pass.
func TestShop(t *testing.T) {
	rules, err := filepath.Abs("../../examples/shop/rules")
	if err != nil {
		t.Fatal(err)
	}
	script(t, "exec segmill test --require "+rules+"\nexec segmill fmt -l "+rules+"\n")
}

// cmdShows runs a command as a document has it, and compares what it prints with what the
// document says: shows DOCUMENT FILE COMMAND ARGS...
func cmdShows(ts *testscript.TestScript, _ bool, args []string) {
	document, args := args[0], args[1:]
	_ = ts.Exec(args[1], args[2:]...) // the text says whether it failed
	got := strings.TrimSpace(ts.ReadFile("stdout") + ts.ReadFile("stderr"))
	want := strings.TrimSpace(ts.ReadFile(args[0]))
	if got != want && os.Getenv("UPDATE") != "" {
		b, err := os.ReadFile(document)
		ts.Check(err)
		command := "$ " + strings.Join(args[1:], " ") + "\n"
		ts.Check(os.WriteFile(document, []byte(strings.Replace(string(b), command+want, command+got, 1)), 0o600))
		return
	}
	if got != want {
		ts.Fatalf("%s prints\n%s\nand the document says\n%s", strings.Join(args[1:], " "), got, want)
	}
}

// TestTutorial does what documents say: a block that names a file is written, and of a
// console block each command must print what is below it. UPDATE=1 rewrites that.
func TestTutorial(t *testing.T) {
	for name, least := range map[string]int{"tutorial.md": 6, "mappings.md": 1, "before-you-apply.md": 2} {
		t.Run(name, func(t *testing.T) {
			document, err := filepath.Abs("../../docs/" + name)
			if err != nil {
				t.Fatal(err)
			}
			follow(t, document, least)
		})
	}
}

// follow does what a document says, which is at least so many commands.
func follow(t *testing.T, document string, least int) {
	var b strings.Builder
	var files []txtar.File
	file := func(text string) string {
		name := fmt.Sprintf("step%d", len(files))
		files = append(files, txtar.File{Name: name, Data: []byte(text)})
		return name
	}
	commands := 0
	for _, block := range fenced(t, document) {
		if _, name, ok := strings.Cut(block[0], " "); ok {
			fmt.Fprintf(&b, "mkdir %s\ncp %s %s\n", filepath.Dir(name), file(block[1]), name)
			continue
		}
		if block[0] != "console" {
			continue
		}
		for _, part := range strings.Split("\n"+block[1], "\n$ ")[1:] {
			command, prints, _ := strings.Cut(part, "\n")
			commands++
			fmt.Fprintf(&b, "shows %s %s %s\n", document, file(prints), command)
		}
	}
	if commands < least {
		t.Fatalf("%d commands", commands)
	}
	script(t, b.String(), files...)
}

// What differs from run to run: instants, and how often it is said how far partitions are.
var (
	instants = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`)
	howFar   = regexp.MustCompile(`(?m)^\d+ of \d+ partitions are under set \d+\n`)
)

// cmdDoes runs a command as a document has it, and compares what it prints with what the
// document says, but for instants: does FILE COMMAND ARGS...
func cmdDoes(ts *testscript.TestScript, _ bool, args []string) {
	_ = ts.Exec(args[1], args[2:]...) // the text says whether it failed
	plain := func(text string) string {
		return strings.TrimSpace(howFar.ReplaceAllString(instants.ReplaceAllString(text, "T"), ""))
	}
	got, want := plain(ts.ReadFile("stdout")+ts.ReadFile("stderr")), plain(ts.ReadFile(args[0]))
	if got != want {
		ts.Fatalf("%s prints\n%s\nand the document says\n%s", strings.Join(args[1:], " "), got, want)
	}
}

// cmdInForce waits until an engine has begun the log of rules.
func cmdInForce(ts *testscript.TestScript, _ bool, _ []string) {
	for range 300 {
		if ts.Exec("segmill", "rules", "-c", "segmill.yaml") == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("no rules are in force")
}

// TestChangingRules does what docs/changing-rules.md does, with an engine that runs.
func TestChangingRules(t *testing.T) {
	const rules = "version: 1\nsegments:\n" +
		"  - {id: buyers, objective: o, owner: w, review_by: 2099-01-01, when: count(purchase) > %d}\n" +
		"  - {id: known, objective: o, owner: w, review_by: 2099-01-01, when: \"did(purchase, days(400))\"}\n"
	files := []txtar.File{
		{Name: "rules/shop.yaml", Data: fmt.Appendf(nil, rules, 0)},
		{Name: "fewer.yaml", Data: fmt.Appendf(nil, rules, 1)},
		{Name: "segmill.yaml", Data: []byte(`app: shop
rules: [rules]
state: state
clock: events
http: ""
kafka: {brokers: ["${BROKER}"]}
topics: {web: "", email: "", consent: "", profile: "", purchase: purchases, changes: changes, triggers: triggers}
`)},
	}
	var b strings.Builder
	b.WriteString("broker purchases:2\n")
	for n, customer := range []string{"c1", "c1", "c2", "c3"} {
		fmt.Fprintf(&b, "produce purchases %d %s '{\"event_id\":\"e%d\",\"occurred_at\":\"2026-01-0%dT00:00:00Z\",\"revenue\":\"1\"}'\n", n/2, customer, n, n+1)
	}
	b.WriteString(`env SEGMILL_WHO=crm@laptop
exec segmill run -c segmill.yaml --until 2026-02-01
exec segmill run -c segmill.yaml &engine&
inforce
`)
	commands := 0
	for _, block := range fenced(t, "../../docs/changing-rules.md") {
		if block[0] != "console" {
			continue
		}
		for _, part := range strings.Split("\n"+block[1], "\n$ ")[1:] {
			command, prints, _ := strings.Cut(part, "\n")
			name := fmt.Sprintf("step%d", commands)
			files = append(files, txtar.File{Name: name, Data: []byte(prints)})
			fmt.Fprintf(&b, "does %s %s\n", name, strings.ReplaceAll(command, `"`, "'"))
			commands++
		}
	}
	if commands < 5 {
		t.Fatalf("%d commands", commands)
	}
	b.WriteString("kill -INT engine\nwait engine\n")
	script(t, b.String(), files...)
}
