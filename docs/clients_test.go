package docs

import (
	"regexp"
	"strings"
	"testing"
)

// The versions of clients that formats.md lists are those that are run.
func TestClientsTable(t *testing.T) {
	text := read(t, "formats.md")
	const folder = "../internal/brokers/"
	pinned := map[string]string{"kafkajs": find(t, folder+"clients/package.json", `"kafkajs": "([^"]+)"`)}
	for _, name := range []string{"confluent-kafka", "aiokafka", "fastavro"} {
		pinned[name] = find(t, folder+"clients/requirements.txt", name+`==(\S+)`)
	}
	pinned["Connect"] = find(t, folder+"clients/pom.xml", `<kafka.version>(.+)</kafka.version>`)
	pinned["Apicurio"] = find(t, folder+"apicurio/apicurio.go", `Version = "(.+)"`)
	for name, version := range pinned {
		if !regexp.MustCompile(regexp.QuoteMeta(name) + `[^\n]* ` + regexp.QuoteMeta(version)).MatchString(strings.ReplaceAll(text, "\nfastavro", " fastavro")) {
			t.Errorf("formats.md does not say that %s %s is run", name, version)
		}
	}
	if judge := find(t, folder+"judge/requirements.txt", `confluent-kafka==(\S+)`); judge != pinned["confluent-kafka"] {
		t.Errorf("the judge has confluent-kafka %s, the other tests %s", judge, pinned["confluent-kafka"])
	}
}

// find returns the first group of a pattern in a file.
func find(t *testing.T, file, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(read(t, file))
	if m == nil {
		t.Fatalf("%s has no %s", file, pattern)
	}
	return m[1]
}
