// Package preset knows the records of vendors: mappings that are written once, inside the
// program.
//
// The one rule it keeps: a preset never changes once it is released, since what it reads is
// part of what customers are. Another reading is another version.
package preset

import (
	"embed"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/segmill/segmill/engine/rule/file"
)

//go:embed files
var files embed.FS

// list lists the files.
func list() (l []string) {
	entries, err := files.ReadDir("files")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		l = append(l, e.Name())
	}
	return l
}

// nameOf returns the name of the preset in a file: shopify-orders@1.yaml is
// shopify/orders@1.
func nameOf(f string) string {
	return strings.Replace(strings.TrimSuffix(path.Base(f), ".yaml"), "-", "/", 1)
}

// read reads the mappings of a preset. One that cannot be read is a defect, which a test
// finds.
func read(name string, text []byte) []file.Mapping {
	var log file.Log
	var doc file.Document
	utc := func(zone string) (*time.Location, bool) { return time.UTC, zone == "UTC" }
	file.Read(file.File{Name: "preset " + name, Data: text}, &doc, nil, utc, &log)
	if errs, _ := log.Split(); len(errs) > 0 {
		panic(errs)
	}
	return doc.Mappings
}

// Find returns the mappings of a preset by its name, such as shopify/orders@1; false if
// there is none.
func Find(name string) ([]file.Mapping, bool) {
	for _, f := range list() {
		if nameOf(f) != name {
			continue
		}
		text, err := files.ReadFile("files/" + f)
		return read(name, text), err == nil
	}
	return nil, false
}

// Names lists the presets, sorted.
func Names() (l []string) {
	for _, f := range list() {
		l = append(l, nameOf(f))
	}
	slices.Sort(l)
	return l
}
