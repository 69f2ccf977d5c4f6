package rule

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkParse reads ten thousand rules from ten files.
func BenchmarkParse(b *testing.B) {
	var files []File
	for f := range 10 {
		var conditions []string
		for i := range 1000 {
			conditions = append(conditions, fmt.Sprintf(
				"count(purchase, days(%d)) >= 3 && sum(purchase.revenue, days(90)) > %d && since_last(activity) < days(%d)", i%90+1, i, i%200+1))
		}
		text := strings.ReplaceAll(one(conditions...), "id: s", fmt.Sprintf("id: f%d_", f))
		files = append(files, File{Name: fmt.Sprintf("%d.yaml", f), Data: []byte(text)})
	}
	cat := testCatalog()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(files, cat, testKinds(), testZones); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(10_000*float64(b.N)/b.Elapsed().Seconds(), "rules/s")
}
