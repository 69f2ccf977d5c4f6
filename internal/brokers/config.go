package brokers

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Listeners. Clients use the first; brokers and controllers talk to each other
// without a login.
const (
	clients     = "CLIENTS"
	between     = "BROKERS"
	controllers = "CONTROLLERS"
)

// ports are those of one node.
type ports struct{ clients, between, controllers int }

// Ports are taken from below the range that systems give to outgoing connections
// (32768 and up): a broker that is down must find its port free again.
const lowPort, highPort = 12_000, 32_000

func freePort() (int, error) {
	for range 1000 {
		port := lowPort + rand.IntN(highPort-lowPort)
		l, err := net.Listen("tcp", address(port))
		if err != nil {
			continue // taken
		}
		return port, l.Close()
	}
	return 0, fmt.Errorf("no free port between %d and %d", lowPort, highPort)
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// properties returns the configuration of node id, which is broker and controller.
func (c *Cluster) properties(id int) map[string]string {
	n := c.nodes[id-1]
	var voters []string
	for _, v := range c.nodes {
		voters = append(voters, fmt.Sprintf("%d@%s", v.id, address(v.ports.controllers)))
	}
	replicas := strconv.Itoa(len(c.nodes))
	inSync := "1"
	if len(c.nodes) > 1 {
		inSync = "2"
	}
	p := map[string]string{
		"node.id":                        strconv.Itoa(id),
		"process.roles":                  "broker,controller",
		"controller.quorum.voters":       strings.Join(voters, ","),
		"controller.listener.names":      controllers,
		"inter.broker.listener.name":     between,
		"listeners":                      fmt.Sprintf("%s://%s,%s://%s,%s://%s", clients, address(n.ports.clients), between, address(n.ports.between), controllers, address(n.ports.controllers)),
		"advertised.listeners":           fmt.Sprintf("%s://%s,%s://%s", clients, address(n.ports.clients), between, address(n.ports.between)),
		"listener.security.protocol.map": fmt.Sprintf("%s:PLAINTEXT,%s:PLAINTEXT,%s:PLAINTEXT", clients, between, controllers),
		"log.dirs":                       filepath.Join(n.dir, "data"),

		// As a cluster in production, internal topics too.
		"auto.create.topics.enable":                                   "false",
		"default.replication.factor":                                  replicas,
		"min.insync.replicas":                                         inSync,
		"offsets.topic.replication.factor":                            replicas,
		"transaction.state.log.replication.factor":                    replicas,
		"transaction.state.log.min.isr":                               inSync,
		"share.coordinator.state.topic.replication.factor":            replicas,
		"share.coordinator.state.topic.min.isr":                       inSync,
		"group.coordinator.append.linger.ms":                          "0",
		"group.initial.rebalance.delay.ms":                            "0",
		"controlled.shutdown.enable":                                  "true",
		"log.cleaner.dedupe.buffer.size":                              "16777216",
		"log.index.size.max.bytes":                                    "1048576",
		"offsets.topic.num.partitions":                                "6",
		"transaction.state.log.num.partitions":                        "6",
		"share.coordinator.state.topic.num.partitions":                "2",
		"num.network.threads":                                         "2",
		"num.io.threads":                                              "4",
		"offsets.topic.segment.bytes":                                 "10485760",
		"transaction.state.log.segment.bytes":                         "10485760",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
	}
	if c.options.Secure {
		maps.Copy(p, c.secureProperties(n))
	}
	maps.Copy(p, c.options.Properties)
	return p
}

// secureProperties turn on TLS, logins and ACLs for clients.
func (c *Cluster) secureProperties(n *node) map[string]string {
	return map[string]string{
		"listener.security.protocol.map":                       fmt.Sprintf("%s:SASL_SSL,%s:PLAINTEXT,%s:PLAINTEXT", clients, between, controllers),
		"sasl.enabled.mechanisms":                              mechanism,
		"listener.name.clients.scram-sha-256.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
		"ssl.keystore.type":                                    "PEM",
		"ssl.keystore.location":                                filepath.Join(n.dir, "server.pem"),
		"ssl.client.auth":                                      "none",
		"authorizer.class.name":                                "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":                                          "User:ANONYMOUS;User:" + Admin, // ANONYMOUS are the other brokers
	}
}

// text returns properties as a file.
func text(p map[string]string) []byte {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&b, "%s=%s\n", k, p[k])
	}
	return []byte(b.String())
}
