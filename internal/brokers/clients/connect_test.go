//go:build brokers

package clients

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sink runs Kafka Connect with two file sinks over a topic, one that takes values
// as text and one that reads their JSON, and returns the lines of both files when
// each has n. The process has ended then.
func sink(t *testing.T, topic string, n int) (texts, objects []string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rest := l.Addr().String()
	l.Close()
	worker := write("worker.properties", fmt.Sprintf(`bootstrap.servers=%s
listeners=http://%s
offset.storage.file.filename=%s
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
consumer.isolation.level=read_committed
offset.flush.interval.ms=500
`, servers(), rest, filepath.Join(dir, "offsets")))
	connector := func(name, more string) (config, file string) {
		file = filepath.Join(dir, name+".out")
		return write(name+".properties", fmt.Sprintf("name=%s\nconnector.class=org.apache.kafka.connect.file.FileStreamSinkConnector\ntopics=%s\nfile=%s\n%s",
			name, topic, file, more)), file
	}
	textConfig, textFile := connector("text", "")
	objectConfig, objectFile := connector("objects", "value.converter=org.apache.kafka.connect.json.JsonConverter\nvalue.converter.schemas.enable=false\n")
	start(t, exec.Command("java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-cp", filepath.Join(suite.connect, "*"), "org.apache.kafka.connect.cli.ConnectStandalone", worker, textConfig, objectConfig),
		filepath.Join(dir, "connect.log"))
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		a, _ := os.ReadFile(textFile) // not there at first
		b, _ := os.ReadFile(objectFile)
		if strings.Count(string(a), "\n") >= n && strings.Count(string(b), "\n") >= n {
			return lines(string(a)), lines(string(b))
		}
		if time.Now().After(end) {
			t.Fatalf("Connect wrote %d and %d of %d lines in 90 s", strings.Count(string(a), "\n"), strings.Count(string(b), "\n"), n)
		}
	}
}
