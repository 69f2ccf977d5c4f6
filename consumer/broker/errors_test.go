package broker

import (
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A broker that dies between the connection and its first answer is waited for, as
// one that refuses connections is: either can be met by who starts beside it.
func TestDyingBrokersAreWaitedFor(t *testing.T) {
	refuses, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := refuses.Close(); err != nil {
		t.Fatal(err)
	}
	dies, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dies.Close()
	go func() {
		for {
			c, err := dies.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1024)) // the client's first request
			c.Close()
		}
	}()
	for name, l := range map[string]net.Listener{"refuses": refuses, "dies": dies} {
		cl, err := kgo.NewClient(kgo.SeedBrokers(l.Addr().String()), kgo.RequestRetries(0))
		if err != nil {
			t.Fatal(err)
		}
		err = cl.Ping(t.Context())
		cl.Close()
		if err == nil || !IsUnreachable(err) {
			t.Errorf("%s: %v is not waited for", name, err)
		}
	}
}
