package rule_test

import (
	"fmt"
	"time"

	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/triggers"
)

// zones resolves the names of time zones from Go's database.
func zones(name string) (*time.Location, bool) {
	zone, err := time.LoadLocation(name)
	return zone, err == nil
}

// Rules that are right become a Spec, in which everything has its type and its place.
func ExampleParse() {
	const text = `
version: 1
segments:
  - id: regulars
    objective: retention
    owner: crm
    review_by: 2099-01-01
    when: count(purchase, days(30)) >= 2
triggers:
  - {id: cart_left, kind: abandoned_cart, after: 30m}
`
	set, err := rule.Parse([]rule.File{{Name: "shop.yaml", Data: []byte(text)}}, schemas.Catalog(), triggers.Kinds(), zones)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range set.Spec.Segments {
		fmt.Println("segment", s.ID)
	}
	for _, t := range set.Spec.Triggers {
		fmt.Println("trigger", t.ID)
	}
	// Output:
	// segment regulars
	// trigger cart_left
}

// What is wrong is said with its place and, where that is known, with the remedy. All
// problems of all files come at once.
func ExampleParse_problems() {
	const text = `
version: 1
segments:
  - id: regulars
    objective: retention
    owner: crm
    review_by: 2099-01-01
    when: count(purchases, days(30)) >= 2
`
	_, err := rule.Parse([]rule.File{{Name: "shop.yaml", Data: []byte(text)}}, schemas.Catalog(), triggers.Kinds(), zones)
	fmt.Println(err)
	// Output:
	// shop.yaml:8:17: unknown name "purchases"
	//     when: count(purchases, days(30)) >= 2
	//                 ^ did you mean "purchase"?
}
