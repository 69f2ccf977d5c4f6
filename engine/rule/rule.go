// Package rule reads rule files: YAML that holds conditions in CEL. It checks
// them against a plan.Catalog and turns them into a plan.Spec, which knows
// nothing of either language.
//
// It does no I/O: the caller reads the files. Every error names its place in
// the file that a person edited, and all errors of all files come at once.
package rule

import (
	"cmp"
	"slices"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/canon"
	"github.com/segmill/segmill/engine/rule/file"
	"github.com/segmill/segmill/engine/rule/language"
)

// Lengths of time that rules may name.
const (
	day       = expr.Millis(86_400_000)
	maxWindow = 20 * 366 * day
)

// Set is a checked set of rules.
type Set struct {
	// Spec is what the engine compiles. Each rule in it carries its place.
	Spec *plan.Spec
	// Warnings are remarks that do not stop the rules from running, sorted by
	// place.
	Warnings Problems
	allowed  map[plan.Pos]*file.Allow
	reviews  []file.Review
}

// Allows reports whether the rule at a place allows warnings of a class.
func (s *Set) Allows(at plan.Pos, id ID) bool { return s.allowed[at].Takes(id) }

// Overdue returns a warning for each rule that was to be looked at before a day, which is
// written 2027-06-01.
func (s *Set) Overdue(today string) Problems {
	var log file.Log
	for _, r := range s.reviews {
		if r.At.Text < today {
			log.Allowing(r.Allow)
			log.Warn(r.At, file.ReviewOverdue.Hint("look at the rule again, and set another day"), "this rule was to be reviewed by %s", r.At.Text)
		}
	}
	_, warnings := log.Split()
	return warnings
}

// Parse checks the files as one set of rules. Definitions and segments of one
// file can be used in all of them, whatever their order. The error is of type
// Problems and holds every error of every file. cat has the streams that rules
// read, beside those that the files declare, kinds the kinds of triggers, zones the time zones that rules may name.
func Parse(files []File, cat *plan.Catalog, kinds []*plan.Kind, zones expr.Zones) (*Set, error) {
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	var log file.Log
	var doc file.Document
	for _, f := range files {
		file.Read(f, &doc, kinds, zones, &log)
	}
	c := newCompiler(extended(cat, &doc.Own, &log), zones, &log)
	c.compile(&doc)
	errs, warnings := log.Split()
	if len(errs) > 0 {
		return nil, errs
	}
	canon.Prune(&c.spec)
	return &Set{Spec: &c.spec, Warnings: warnings, allowed: c.allowed, reviews: doc.Reviews}, nil
}

// The types of rule files and of what is wrong with them; see package [file].
//
//nolint:revive // they are documented there
type (
	File     = file.File
	Problem  = file.Problem
	Problems = file.Problems
	Severity = file.Severity
	ID       = file.ID
)

// The largest rule file in bytes, and what a Problem is.
const (
	MaxFileSize = file.MaxFileSize
	Error       = file.Error
	Warning     = file.Warning

	// CoarseWindow is the class of the warnings that need a plan.
	CoarseWindow = file.CoarseWindow
)

// Instead returns what the schemas have in the place of a field that people look for, such as
// "purchase.revenue" of "purchase.amount"; "" if nothing is near.
func Instead(field string) string { return language.Instead(field) }
