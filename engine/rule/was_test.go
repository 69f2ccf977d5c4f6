package rule

import "testing"

// What rules were called before is in the Spec, in rings and chains too, and of no consequence
// for what they mean.
func TestWas(t *testing.T) {
	set, err := Parse([]File{{Name: "r.yaml", Data: []byte(`version: 1
segments:
  - {id: a, was: b, objective: o, owner: w, review_by: 2099-01-01, when: count(web) > 1}
  - {id: b, was: a, objective: o, owner: w, review_by: 2099-01-01, when: count(web) > 2}
  - {id: d, was: c, objective: o, owner: w, review_by: 2099-01-01, when: count(web) > 3}
  - {id: c, was: old, objective: o, owner: w, review_by: 2099-01-01, when: count(web) > 4}
lifecycles:
  - id: new
    was: life
    objective: o
    owner: w
    review_by: 2099-01-01
    stages:
      - {id: young, was: fresh, when: count(web) == 1}
      - {id: fresh, was: young, when: count(web) == 2}
triggers:
  - {id: left, was: cart, kind: abandoned_cart, after: 30m}
`)}}, testCatalog(), testKinds(), testZones)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range set.Spec.Segments {
		got[s.ID] = s.Was
	}
	for _, l := range set.Spec.Lifecycles {
		got[l.ID] = l.Was
		for _, s := range l.Stages {
			got[l.ID+"/"+s.ID] = s.Was
		}
	}
	for _, tr := range set.Spec.Triggers {
		got["trigger:"+tr.ID] = tr.Was
	}
	for id, was := range map[string]string{
		"a": "b", "b": "a", "c": "old", "d": "c", "new": "life", "new/young": "fresh", "new/fresh": "young", "trigger:left": "cart",
	} {
		if got[id] != was {
			t.Errorf("%s was %q, want %q", id, got[id], was)
		}
	}
}
