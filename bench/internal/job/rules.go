package job

import (
	"fmt"
	"strings"
)

// Facts are what the ten rules look at: over the last 30 days, and the latest values.
type Facts struct {
	Count    int64
	Sum      int64  // 1/10000 of the currency
	Channel  uint16 // see ChannelCode
	Currency uint16 // see CurrencyCode
}

// ChannelCode returns the index in Channels, and one beyond for anything else.
func ChannelCode(s []byte) uint16 { return code(Channels[:], s) }

// CurrencyCode returns the index in Currencies, and one beyond for anything else.
func CurrencyCode(s []byte) uint16 { return code(Currencies[:], s) }

func code(list []string, s []byte) uint16 {
	for i, t := range list {
		if t == string(s) {
			return uint16(i)
		}
	}
	return uint16(len(list))
}

// Rule is one of the ten.
type Rule struct {
	ID   string
	When string // in the language of rule files
	// Holds is the same condition in Go.
	Holds func(*Facts) bool
}

const money = 10_000

const (
	count    = "count(purchase, days(30))"
	sum      = "sum(purchase.revenue, days(30))"
	channel  = "last(purchase.channel)"
	currency = "last(purchase.currency)"
)

// WindowMillis is the window of all ten rules.
const WindowMillis = 30 * Day

// Ten are the rules, sorted by id.
var Ten = []Rule{
	{"active", count + " >= 1", func(f *Facts) bool { return f.Count >= 1 }},
	{"app_regular", count + " >= 4 && " + channel + ` == "app"`, func(f *Facts) bool { return f.Count >= 4 && f.Channel == 1 }},
	{"big", sum + " > 640", func(f *Facts) bool { return f.Sum > 640*money }},
	{"euro_spender", sum + " > 240 && " + currency + ` == "EUR"`, func(f *Facts) bool { return f.Sum > 240*money && f.Currency == 0 }},
	{"frequent", count + " >= 12", func(f *Facts) bool { return f.Count >= 12 }},
	{"regular", count + " >= 5", func(f *Facts) bool { return f.Count >= 5 }},
	{"repeat", count + " >= 3", func(f *Facts) bool { return f.Count >= 3 }},
	{"spender", sum + " > 150", func(f *Facts) bool { return f.Sum > 150*money }},
	{"store_casual", count + " < 5 && " + channel + ` == "store"`, func(f *Facts) bool { return f.Count < 5 && f.Channel == 2 }},
	{"vip", count + " >= 10 && " + sum + " > 560", func(f *Facts) bool { return f.Count >= 10 && f.Sum > 560*money }},
}

// CountCuts and SumCuts are the thresholds in Ten, ascending: count >= c (which is
// also where count < c ends), sum > s. In them time alone can change a rule.
var (
	CountCuts = []int64{1, 3, 4, 5, 10, 12}
	SumCuts   = []int64{150 * money, 240 * money, 560 * money, 640 * money}
)

// RuleFile returns rules as a rule file.
func RuleFile(rules []Rule) string {
	var b strings.Builder
	b.WriteString("version: 1\nsegments:\n")
	for _, r := range rules {
		fmt.Fprintf(&b, "  - id: %s\n    objective: bench\n    owner: bench\n    review_by: 2027-06-01\n    when: |\n      %s\n", r.ID, r.When)
	}
	return b.String()
}
