package containers

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/modules/kafka"
	"github.com/testcontainers/testcontainers-go/modules/redpanda"
	"github.com/testcontainers/testcontainers-go/wait"
)

// brokers are the kinds of brokers that the suite runs against. SEGMILL_TEST_BROKERS
// is the address of one that is running already and takes the place of all.
// SEGMILL_<NAME>_IMAGE gives another image.
var brokers = []struct {
	name, env, image string
	start            func(t *testing.T, image string) (address string)
}{
	// With transaction.version 2 (KIP-890), and before it.
	{"kafka4", "SEGMILL_KAFKA4_IMAGE", "apache/kafka:4.1.0", startApache},
	{"kafka3", "SEGMILL_KAFKA3_IMAGE", "confluentinc/confluent-local:7.5.0", startConfluent},
	{"redpanda", "SEGMILL_REDPANDA_IMAGE", "docker.redpanda.com/redpandadata/redpanda:v25.2.1", startRedpanda},
}

// onEach runs a test on every broker.
func onEach(t *testing.T, test func(t *testing.T, address string)) {
	if given := os.Getenv("SEGMILL_TEST_BROKERS"); given != "" {
		t.Run("given", func(t *testing.T) { test(t, given) })
		return
	}
	testcontainers.SkipIfProviderIsNotHealthy(t)
	for _, b := range brokers {
		t.Run(b.name, func(t *testing.T) {
			image := b.image
			if i := os.Getenv(b.env); i != "" {
				image = i
			}
			test(t, b.start(t, image))
		})
	}
}

func startConfluent(t *testing.T, image string) string {
	c, err := kafka.Run(t.Context(), image, kafka.WithClusterID("segmill"))
	testcontainers.CleanupContainer(t, c)
	if err != nil {
		t.Fatal(err)
	}
	addresses, err := c.Brokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return addresses[0]
}

func startRedpanda(t *testing.T, image string) string {
	c, err := redpanda.Run(t.Context(), image)
	testcontainers.CleanupContainer(t, c)
	if err != nil {
		t.Fatal(err)
	}
	address, err := c.KafkaSeedBroker(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// A broker tells its clients its address, which is known only when the container
// runs: so the container waits for a script that says it.
const (
	apachePort   = "9092/tcp"
	apacheScript = "/tmp/start.sh"
)

// startApache starts the image of the Kafka project, for which there is no module.
func startApache(t *testing.T, image string) string {
	tell := func(ctx context.Context, c testcontainers.Container) error {
		address, err := c.PortEndpoint(ctx, apachePort, "")
		if err != nil {
			return err
		}
		script := fmt.Sprintf("#!/bin/sh\nexport KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://%s,BROKER://localhost:9094\nexec /etc/kafka/docker/run\n", address)
		return c.CopyToContainer(ctx, []byte(script), apacheScript, 0o755)
	}
	c, err := testcontainers.Run(t.Context(), image,
		testcontainers.WithExposedPorts(apachePort),
		testcontainers.WithEnv(map[string]string{
			"KAFKA_NODE_ID":                                  "1",
			"KAFKA_PROCESS_ROLES":                            "broker,controller",
			"KAFKA_LISTENERS":                                "PLAINTEXT://:9092,CONTROLLER://:9093,BROKER://:9094",
			"KAFKA_LISTENER_SECURITY_PROTOCOL_MAP":           "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,BROKER:PLAINTEXT",
			"KAFKA_CONTROLLER_LISTENER_NAMES":                "CONTROLLER",
			"KAFKA_INTER_BROKER_LISTENER_NAME":               "BROKER",
			"KAFKA_CONTROLLER_QUORUM_VOTERS":                 "1@localhost:9093",
			"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR":         "1",
			"KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
			"KAFKA_TRANSACTION_STATE_LOG_MIN_ISR":            "1",
			"KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS":         "0",
		}),
		testcontainers.WithEntrypoint("sh"),
		testcontainers.WithCmd("-c", "until [ -x "+apacheScript+" ]; do sleep 0.1; done; exec "+apacheScript),
		testcontainers.WithLifecycleHooks(testcontainers.ContainerLifecycleHooks{PostStarts: []testcontainers.ContainerHook{tell}}),
		testcontainers.WithAdditionalWaitStrategy(wait.ForLog("Kafka Server started")),
	)
	testcontainers.CleanupContainer(t, c)
	if err != nil {
		t.Fatal(err)
	}
	address, err := c.PortEndpoint(t.Context(), apachePort, "")
	if err != nil {
		t.Fatal(err)
	}
	return address
}
