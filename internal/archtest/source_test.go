package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// source is a Go file of the project that is no test, whatever its build tags.
type source struct {
	path string // from here
	pkg  string // its package, such as "engine/plan"
	file *ast.File
	fset *token.FileSet
}

// sources returns the files of the project.
func sources(t *testing.T) []*source {
	t.Helper()
	l, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var parsed = sync.OnceValues(func() (l []*source, err error) {
	const root = "../.."
	fset := token.NewFileSet()
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		l = append(l, &source{path, filepath.ToSlash(rel), f, fset})
		return err
	})
	return l, err
})
