package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"segmill": main})
}

// TestScripts runs testdata/*.txtar. UPDATE=1 rewrites what they expect; read the
// difference before committing it.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       os.Getenv("UPDATE") != "",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":   cmdCode,
			"stable": cmdStable,
			"ids":    cmdIDs,
		},
	})
}

// cmdCode runs segmill and checks its exit code: code N args...
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N args...")
	}
	got := "0"
	if err := ts.Exec("segmill", args[1:]...); err != nil {
		m := regexp.MustCompile(`exit status (\d+)`).FindStringSubmatch(err.Error())
		if m == nil {
			ts.Fatalf("segmill: %v", err)
		}
		got = m[1]
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// fleeting is what differs from run to run, and what rules hash to.
var fleeting = regexp.MustCompile(`"(change_id|trigger_id|emitted_at|rule_version)":"[^"]*",?`)

// cmdStable writes the last output to a file without what is fleeting: stable
// FILE.
func cmdStable(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: stable FILE")
	}
	out := fleeting.ReplaceAllString(ts.ReadFile("stdout"), "")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(out), 0o600))
}

var ids = regexp.MustCompile(`"(?:change_id|trigger_id)":"[^"]*"`)

// cmdIDs writes the ids of the last output to a file: ids FILE.
func cmdIDs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ids FILE")
	}
	l := ids.FindAllString(ts.ReadFile("stdout"), -1)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(l, "\n")+"\n"), 0o600))
}
