package rule_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/triggers"
)

// parseReading parses files, which lack only their version.
func parseReading(files ...string) (*rule.Set, error) {
	var l []rule.File
	for i, f := range files {
		l = append(l, rule.File{Name: fmt.Sprintf("%c.yaml", 'a'+i), Data: []byte("version: 1\n" + f)})
	}
	return rule.Parse(l, schemas.Catalog(), triggers.Kinds(), zones)
}

// What a set says of reading is in its versions where it is written, and only there.
func TestReadings(t *testing.T) {
	set, err := parseReading("readings: {dedup: {web: 36h, purchase: 2w}, rates: {usd: 0.920, GBP: 1}, min_event_time: 2000-02-29}",
		"defaults: {currency: eur}\nreadings: {rates: {USD: 0.92}, dedup: {web: 36h}}")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"defaults:timezone": "UTC", "defaults:feb_29": "feb_28", "defaults:currency": "EUR", "reading:rates": "GBP 1, USD 0.92",
		"reading:dedup:web": "1d12h", "reading:dedup:purchase": "14d", "reading:min_event_time": "2000-02-29",
	}
	p, err := plan.Compile(set.Spec, zones)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, p.Versions()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// Every mistake has its place and a remedy.
func TestReadingErrors(t *testing.T) {
	const eur = "defaults: {currency: EUR}\n"
	for text, want := range map[string]string{
		"readings: {dedup: {web: 30m}}":                                                 `a.yaml:2:25: "30m" is not a duration of hours, days or weeks`,
		"readings: {dedup: {web: 0d}}":                                                  `event ids cannot be remembered for 0d`,
		"readings: {dedup: {web: 91d}}":                                                 `write 1h to 90d`,
		"readings: {dedup: {wbe: 1d}}":                                                  `a.yaml:2:20: there is no stream "wbe"`,
		"readings: {dedup: 1d}":                                                         `dedup must be a mapping`,
		"readings: {dedups: {web: 1d}}":                                                 `unknown key "dedups" in readings`,
		"readings: {min_event_time: soon}":                                              `"soon" is not a date`,
		"defaults: {currency: euro}":                                                    `"euro" is not a currency`,
		"readings: {rates: {USD: 0.92}}":                                                `there is a rate of USD and no default currency`,
		eur + "readings: {rates: {EUR: 1}}":                                             `EUR is the default currency, which needs no rate`,
		eur + "readings: {rates: {USD: 0}}":                                             `"0" is not a rate`,
		eur + "readings: {rates: {USD: -1}}":                                            `"-1" is not a rate`,
		eur + "readings: {rates: {USD: 1e3}}":                                           `"1e3" is not a rate`,
		eur + "readings: {rates: {DOLLAR: 1}}":                                          `"DOLLAR" is not a currency`,
		eur + "|readings: {rates: {USD: 1}}|readings: {rates: {usd: 2}}":                `c.yaml:2:20: the rate of USD is also set in b.yaml:2, to another value`,
		eur + "|defaults: {currency: USD}":                                              `b.yaml:2:22: the default currency is USD here and EUR in a.yaml:2`,
		"readings: {dedup: {web: 1d}}|readings: {dedup: {web: 25h}}":                    `dedup of web is also set in a.yaml:2, to another value`,
		"readings: {min_event_time: 2000-01-01}|readings: {min_event_time: 2001-01-01}": `min_event_time is also set in a.yaml:2`,
	} {
		if _, err := parseReading(strings.Split(text, "|")...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n%v\nwant %s", text, err, want)
		}
	}
}
