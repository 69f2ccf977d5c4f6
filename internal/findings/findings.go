// Package findings writes what is wrong with files in the forms that programs read: JSON,
// SARIF for code scanning, and the annotations of GitHub's workflows.
//
// The one rule it keeps: every form says the same. What one of them has no place for goes
// into its message.
package findings

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// Finding is an error or a warning.
type Finding struct {
	File     string `json:"file,omitempty"` // "" if it is of no file
	Line     int    `json:"line,omitempty"` // from 1, 0 if it is of the whole file
	Column   int    `json:"column,omitempty"`
	Severity string `json:"severity"`     // "error" or "warning"
	ID       string `json:"id,omitempty"` // of the class of a warning
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"` // what to do about it
}

// The severities.
const (
	Error   = "error"
	Warning = "warning"
)

// Formats are the names of the forms.
func Formats() []string { return []string{"json", "sarif", "github"} }

// Write writes the findings in one of the Formats.
func Write(w io.Writer, format string, l []Finding) error {
	switch format {
	case "json":
		return writeJSON(w, l)
	case "sarif":
		return writeSARIF(w, l)
	}
	return writeGitHub(w, l)
}

// text is the message with the remedy.
func (f *Finding) text() string {
	if f.Hint == "" {
		return f.Message
	}
	return f.Message + "\n" + f.Hint
}

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func writeJSON(w io.Writer, l []Finding) error {
	doc := struct {
		Errors   int       `json:"errors"`
		Warnings int       `json:"warnings"`
		Findings []Finding `json:"findings"`
	}{Findings: append([]Finding{}, l...)}
	for i := range l {
		if l[i].Severity == Error {
			doc.Errors++
		} else {
			doc.Warnings++
		}
	}
	return encode(w, doc)
}

// writeGitHub writes workflow commands, which GitHub shows beside the lines.
func writeGitHub(w io.Writer, l []Finding) error {
	for i := range l {
		f := &l[i]
		var at []string
		if f.File != "" {
			at = append(at, "file="+property(filepath.ToSlash(f.File)))
		}
		if f.Line > 0 {
			at = append(at, fmt.Sprintf("line=%d", f.Line))
		}
		if f.Column > 0 {
			at = append(at, fmt.Sprintf("col=%d", f.Column))
		}
		if f.ID != "" {
			at = append(at, "title="+property(f.ID))
		}
		command := "::" + f.Severity
		if len(at) > 0 {
			command += " " + strings.Join(at, ",")
		}
		if _, err := fmt.Fprintf(w, "%s::%s\n", command, data(f.text())); err != nil {
			return err
		}
	}
	return nil
}

// data escapes what would end a workflow command, property also what would end one of its
// properties.
func data(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

func property(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(data(s))
}

// The parts of SARIF 2.1.0 that are written.
type (
	sarifText struct {
		Text string `json:"text"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
	sarifURI struct {
		URI string `json:"uri"`
	}
	sarifPhysical struct {
		Artifact sarifURI     `json:"artifactLocation"`
		Region   *sarifRegion `json:"region,omitempty"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations,omitempty"`
	}
	sarifRule struct {
		ID string `json:"id"`
	}
	sarifDriver struct {
		Name  string      `json:"name"`
		Rules []sarifRule `json:"rules"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Columns string        `json:"columnKind"`
		Results []sarifResult `json:"results"`
	}
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
)

func writeSARIF(w io.Writer, l []Finding) error {
	run := sarifRun{
		Tool: sarifTool{sarifDriver{Name: "segmill", Rules: []sarifRule{}}}, Columns: "unicodeCodePoints", Results: []sarifResult{},
	}
	for i := range l {
		f := &l[i]
		id := f.ID
		if id == "" {
			id = f.Severity
		}
		if rule := (sarifRule{id}); !slices.Contains(run.Tool.Driver.Rules, rule) {
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, rule)
		}
		r := sarifResult{RuleID: id, Level: f.Severity, Message: sarifText{f.text()}}
		if f.File != "" {
			at := sarifPhysical{Artifact: sarifURI{filepath.ToSlash(f.File)}}
			if f.Line > 0 {
				at.Region = &sarifRegion{f.Line, f.Column}
			}
			r.Locations = []sarifLocation{{at}}
		}
		run.Results = append(run.Results, r)
	}
	return encode(w, sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}})
}
