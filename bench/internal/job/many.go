package job

import "fmt"

// wide are ten rules over the attributes of Many, so that the state is the same
// however many rules there are.
var wide = []Rule{
	{ID: "w0", When: count + " >= 3"},
	{ID: "w1", When: sum + " > 150"},
	{ID: "w2", When: "count(purchase, days(7)) >= 3"},
	{ID: "w3", When: "sum(purchase.revenue, days(7)) > 250"},
	{ID: "w4", When: "max(purchase.revenue, days(30)) > 97"},
	{ID: "w5", When: "avg(purchase.revenue, days(30)) > 80"},
	{ID: "w6", When: `count(purchase.channel == "app", days(30)) >= 1`},
	{ID: "w7", When: "sum(purchase.total, days(30)) > 640 && " + count + " > 2"},
	{ID: "w8", When: sum + " > 560 && " + currency + ` == "EUR"`},
	{ID: "w9", When: count + " < 4 && " + channel + ` == "store"`},
}

// hot are conditions that many rules share and that change with many events.
var hot = []string{count + " > 2", sum + " > 240", channel + ` == "web"`}

// steep are attributes with a first threshold that next to no customer comes to, and the
// distance of the next ones: ten thousand rules look at distinct numbers.
var steep = []struct {
	attribute   string
	first, step float64
}{
	{sum, 1600, 0.75},
	{count, 40, 1},
	{"sum(purchase.revenue, days(7))", 1200, 0.5},
	{"count(purchase, days(7))", 20, 1},
	{"max(purchase.revenue, days(30))", 100.5, 0.25},
	{"avg(purchase.revenue, days(30))", 100.5, 0.25},
	{"sum(purchase.total, days(30))", 2000, 0.75},
	{`count(purchase.channel == "app", days(30))`, 12, 1},
}

// Many returns n rules: ten that change, and others that seldom do, so that the
// changes an event are about the same for every n. The others have thresholds of
// their own over eight attributes; half of them only with a condition that many share.
func Many(n int) []Rule {
	l := append([]Rule(nil), wide[:min(n, len(wide))]...)
	for i := 0; len(l) < n; i++ {
		s := steep[i%len(steep)]
		k := i / len(steep)
		when := fmt.Sprintf("%s > %g", s.attribute, s.first+float64(k)*s.step)
		if k%2 == 1 {
			when = hot[i%len(hot)] + " && " + when
		}
		l = append(l, Rule{ID: fmt.Sprintf("m%d", i), When: when})
	}
	return l
}
