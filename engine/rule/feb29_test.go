package rule

import (
	"testing"
)

// What 29 February means is a default of ages and of every anniversary that does
// not say otherwise, wherever it stands.
func TestFeb29Default(t *testing.T) {
	set, err := Parse([]File{
		{Name: "a.yaml", Data: []byte(`version: 1
triggers:
  - {id: a, kind: anniversary, date: profile.birth_date}
  - {id: b, kind: anniversary, date: profile.birth_date, feb_29: feb_28}
`)},
		{Name: "b.yaml", Data: []byte("version: 1\ndefaults: {feb_29: mar_1}\n")},
	}, testCatalog(), testKinds(), testZones)
	if err != nil {
		t.Fatal(err)
	}
	if !set.Spec.MarFirst || !set.Spec.Triggers[0].Setting("feb_29").True() || set.Spec.Triggers[1].Setting("feb_29").True() {
		t.Errorf("ages %v, a %v, b %v", set.Spec.MarFirst, set.Spec.Triggers[0].Setting("feb_29").True(), set.Spec.Triggers[1].Setting("feb_29").True())
	}
	if _, err := Parse([]File{{Name: "c.yaml", Data: []byte("version: 1\ndefaults: {feb_29: march}\n")}}, testCatalog(), testKinds(), testZones); err == nil {
		t.Error("march is taken for a date")
	}
}
