package app

import "testing"

// Links to other machines without encryption are warned of; those on this machine
// are not.
func TestPlainText(t *testing.T) {
	for _, c := range []struct {
		conf KafkaConfig
		want string
	}{
		{KafkaConfig{Brokers: []string{"localhost:9092", "127.0.0.1:9093", "[::1]:9094"}}, ""},
		{KafkaConfig{Brokers: []string{"localhost:9092", "kafka-1:9092"}}, "kafka-1:9092"},
		{KafkaConfig{Brokers: []string{"kafka-1:9092"}, TLS: &TLSConfig{}}, ""},
	} {
		if got := c.conf.plainText(); got != c.want {
			t.Errorf("%v: %q, want %q", c.conf.Brokers, got, c.want)
		}
	}
	for addr, want := range map[string]bool{"127.0.0.1:9600": true, "localhost:1": true, "0.0.0.0:9600": false, ":9600": false} {
		if isLoopback(addr) != want {
			t.Errorf("%s stays on this machine: %v", addr, !want)
		}
	}
}
