package rule

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDesign: the rules by which the language was designed mean what they say.
func TestDesign(t *testing.T) {
	data, err := os.ReadFile("testdata/design/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	set, err := Parse([]File{{Name: "rules.yaml", Data: data}}, testCatalog(), testKinds(), testZones)
	if err != nil {
		t.Fatal(err)
	}
	if set.Warnings != nil {
		t.Errorf("warnings:\n%v", set.Warnings)
	}
	in := func(i int) string { return set.Spec.Inputs[i].Text }
	got := make(map[string]string)
	for _, s := range set.Spec.Segments {
		got[s.ID] = s.When.Text(in)
	}
	for _, l := range set.Spec.Lifecycles {
		for _, s := range l.Stages {
			got[l.ID+"/"+s.ID] = s.When.Text(in)
		}
	}
	want := map[string]string{
		"loyal":              `count(purchase, days(90)) >= 3 && sum(purchase.revenue, days(90)) > 500.0`,
		"at_risk":            `count(purchase) >= 2 && since_last(activity) >= days(45)`,
		"opened_not_clicked": `!(count(email.action == "clicked", days(7)) > 0) && count(!email.machine_open && email.action == "opened", days(7)) > 0`,
		"young_instagram":    `profile.acquisition_source == "instagram" && years_since(profile.birth_date) < 30`,
		"devoted":            `10 * count(purchase, days(365)) + sum(purchase.revenue, days(365)) / 20 + 5 * years_since(profile.signed_up_at) > 100.0 && in_segment("lifecycle/active")`,
		"lifecycle/churned":  `count(purchase) > 0 && since_last(activity) >= days(120)`,
		"lifecycle/lapsing":  `count(purchase) > 0 && since_last(activity) >= days(45)`,
		"lifecycle/loyal":    `count(purchase, days(90)) >= 3`,
		"lifecycle/active":   `count(purchase) >= 2`,
		"lifecycle/new":      `count(purchase) == 1`,
		"lifecycle/prospect": `true`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(set.Spec.Triggers) != 4 || set.Spec.Zone != "Europe/Paris" {
		t.Errorf("spec is %+v", set.Spec)
	}
}

// TestExample: the example rules are without error and without warning.
func TestExample(t *testing.T) {
	names, err := filepath.Glob("../../examples/shop/rules/*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatalf("no files: %v", err)
	}
	var files []File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.yaml") {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, File{Name: filepath.Base(name), Data: data})
	}
	set, err := Parse(files, testCatalog(), testKinds(), testZones)
	if err != nil {
		t.Fatal(err)
	}
	if set.Warnings != nil {
		t.Errorf("warnings:\n%v", set.Warnings)
	}
	if set.Spec.Inputs[0].Text == "" || len(set.Spec.Triggers) != 8 {
		t.Errorf("spec is %+v", set.Spec)
	}
}
