package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The pure packages are functions of their arguments: they do no I/O, start no
// goroutine, read no clock, draw no random numbers and look nothing up on the machine.
var purePackages = []string{"engine/", "triggers", "internal/wire"}

// What may not be imported by pure packages.
var impure = []string{
	"os", "os/exec", "os/signal", "io/ioutil", "net", "net/http", "net/url", "sync", "sync/atomic", "syscall",
	"math/rand", "math/rand/v2", "crypto/rand", "context", "log", "log/slog", "runtime", "unsafe",
}

// ban is a list of functions that some packages may not use, and what to do instead.
type ban struct {
	who     []string // as in only
	path    string   // of the package of the functions
	names   []string
	instead string
}

var bans = []ban{
	{
		[]string{"engine/", "triggers", "internal/wire", "schemas/", "consumer/", "state"},
		"time",
		[]string{"Now", "Since", "Until", "Sleep"},
		"take the instant, or a function that gives it, as an argument",
	},
	{purePackages, "time", []string{"After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}, "a pure package waits for nothing"},
	{purePackages, "time", []string{"LoadLocation", "Local"}, "take a function that resolves zones as an argument: they are files of the machine"},
	{purePackages, "fmt", []string{"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"}, "return the text"},
	{purePackages, "path/filepath", []string{"Abs", "EvalSymlinks", "Glob", "Walk", "WalkDir"}, "a pure package reads no files"},
}

func TestPurity(t *testing.T) {
	for _, src := range sources(t) {
		for _, breach := range breaches(src) {
			t.Error(breach)
		}
	}
}

// breaches returns what a file does that its package may not do.
func breaches(src *source) (l []string) {
	pure := covers(purePackages, src.pkg)
	at := func(n ast.Node) string { return src.fset.Position(n.Pos()).String() + ": " }
	names := map[string]string{} // of imported packages, to their paths
	for _, spec := range src.file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		name := path[strings.LastIndexByte(path, '/')+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = path
		switch {
		case pure && slices.Contains(impure, path):
			l = append(l, at(spec)+src.pkg+" is pure and may not import "+path)
		case name == ".":
			l = append(l, at(spec)+"a dot import hides what is used of "+path)
		}
	}
	ast.Inspect(src.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			if pure {
				l = append(l, at(n)+src.pkg+" is pure and may not start a goroutine")
			}
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok {
				break
			}
			for _, b := range bans {
				if names[x.Name] == b.path && slices.Contains(b.names, n.Sel.Name) && covers(b.who, src.pkg) {
					l = append(l, at(n)+src.pkg+" uses "+b.path+"."+n.Sel.Name+": "+b.instead)
				}
			}
		}
		return true
	})
	return l
}

// The test sees a breach under another name, too.
func TestBreachesAreSeen(t *testing.T) {
	for text, want := range map[string]string{
		`import "time"; var t = time.Now()`:        "uses time.Now",
		`import clock "time"; var now = clock.Now`: "uses time.Now",
		`import . "time"`:                          "dot import",
		`import "os"`:                              "may not import os",
		`import "time"; func f() { time.LoadLocation("Europe/Berlin") }`: "uses time.LoadLocation",
		`import "time"; var here = time.Local`:                           "uses time.Local",
		`func f() { go f() }`:                                            "may not start a goroutine",
		`import "fmt"; func f() { fmt.Println() }`:                       "uses fmt.Println",
		`import "time"; var d = time.Hour`:                               "",
	} {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, "x.go", "package rule; "+text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		got := breaches(&source{"x.go", "engine/rule", f, fset})
		if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || !strings.Contains(got[0], want)) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
