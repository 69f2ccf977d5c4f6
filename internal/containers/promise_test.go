package containers

import (
	"testing"

	"github.com/segmill/segmill/internal/promise"
)

func TestKilled(t *testing.T) {
	onEach(t, func(t *testing.T, address string) {
		for _, delivery := range promise.Deliveries {
			t.Run(delivery, func(t *testing.T) { promise.Killed(t, kafkaAt(address), delivery) })
		}
	})
}

func TestLive(t *testing.T) {
	onEach(t, func(t *testing.T, address string) {
		for _, delivery := range promise.Deliveries {
			t.Run(delivery, func(t *testing.T) { promise.Live(t, kafkaAt(address), delivery, 8) })
		}
	})
}

func kafkaAt(address string) promise.Kafka {
	return promise.Kafka{Addresses: []string{address}, Replication: 1}
}
