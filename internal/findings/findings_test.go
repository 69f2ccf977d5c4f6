package findings

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

var some = []Finding{
	{File: "rules/a,b.yaml", Line: 3, Column: 7, Severity: Error, Message: `no field "revenu" in stream purchase`, Hint: `did you mean "revenue"? 100 %`},
	{File: "rules/a.yaml", Severity: Warning, ID: "absent-comparison", Message: "one\ntwo"},
	{Severity: Error, Message: "no rules"},
}

func write(t *testing.T, format string, l []Finding) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, format, l); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGitHub(t *testing.T) {
	want := `::error file=rules/a%2Cb.yaml,line=3,col=7::no field "revenu" in stream purchase%0Adid you mean "revenue"? 100 %25
::warning file=rules/a.yaml,title=absent-comparison::one%0Atwo
::error::no rules
`
	if got := write(t, "github", some); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := write(t, "github", nil); got != "" {
		t.Errorf("nothing wrong: %q", got)
	}
}

// Nothing wrong is an empty list in JSON, and a run without results in SARIF: what reads
// them takes no null.
func TestEmpty(t *testing.T) {
	for _, format := range []string{"json", "sarif"} {
		if got := write(t, format, nil); !json.Valid([]byte(got)) || strings.Contains(got, "null") {
			t.Errorf("%s: %s", format, got)
		}
	}
}

func TestSARIF(t *testing.T) {
	var doc struct {
		Runs []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct {
				RuleID, Level string
				Message       struct{ Text string }
				Locations     []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           *struct{ StartLine, StartColumn int }
					}
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(write(t, "sarif", some)), &doc); err != nil {
		t.Fatal(err)
	}
	run := doc.Runs[0]
	if len(run.Results) != len(some) || len(run.Tool.Driver.Rules) != 2 {
		t.Fatalf("%+v", run)
	}
	first, second, third := run.Results[0], run.Results[1], run.Results[2]
	if at := first.Locations[0].PhysicalLocation; first.RuleID != "error" || at.ArtifactLocation.URI != some[0].File || at.Region.StartLine != 3 || at.Region.StartColumn != 7 {
		t.Errorf("%+v", first)
	}
	if second.RuleID != "absent-comparison" || second.Level != "warning" || second.Locations[0].PhysicalLocation.Region != nil {
		t.Errorf("%+v", second)
	}
	if third.Locations != nil || third.Message.Text != "no rules" {
		t.Errorf("%+v", third)
	}
}
