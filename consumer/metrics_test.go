package consumer

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// Every metric can be read, also those of the client library, before and between
// clients.
func TestMetricsGather(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := NewMetrics(reg)
	m.deadLetters.WithLabelValues("decode").Inc()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) < 5 {
		t.Errorf("%d families", len(families))
	}
}
