package app

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// RegistryMetrics returns what counts the answers of a schema registry; nil if they are
// registered nowhere.
func RegistryMetrics(reg prometheus.Registerer) func(code string, took time.Duration) {
	if reg == nil {
		return nil
	}
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "segmill", Name: "registry_requests_total",
		Help: "Requests to the schema registry, by the status that it answered with; error: it did not answer.",
	}, []string{"code"})
	seconds := prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "segmill", Name: "registry_request_seconds",
		Help:    "Time from a request to the schema registry to the head of its answer, or to its failure.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
	})
	reg.MustRegister(requests, seconds)
	for _, code := range []string{"200", "404", "error"} {
		requests.WithLabelValues(code) // so that the first one is an increase
	}
	return func(code string, took time.Duration) {
		requests.WithLabelValues(code).Inc()
		seconds.Observe(took.Seconds())
	}
}
