//go:build brokers

package brokers

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// lookAt checks what the package says of a secure cluster of one node.
func lookAt(t *testing.T, c *Cluster) {
	t.Helper()
	ctx := t.Context()
	if _, err := c.AdminClient().CreateTopic(ctx, 1, -1, nil, "x"); err != nil {
		t.Fatal(err)
	}
	if id, err := c.Leader(ctx, "x", 0); err != nil || id != 1 {
		t.Errorf("leader %d, %v", id, err)
	}
	if id, err := c.Controller(ctx); err != nil || id != 1 {
		t.Errorf("controller %d, %v", id, err)
	}
	if log, err := os.ReadFile(c.Log(1)); err != nil || len(log) < 1000 {
		t.Errorf("the log says nothing: %v, %d bytes", err, len(log))
	}
	cl, err := kgo.NewClient(c.ClientOptions(Admin, "wrong")...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	soon, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := cl.Ping(soon); err == nil {
		t.Error("a wrong password is taken")
	}
}
