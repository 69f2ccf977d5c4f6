//go:build brokers

package brokers

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/segmill/segmill/internal/promise"
)

// user is who the engine is on a secure cluster.
const user, userPassword = "segmill", "engine-secret"

// A managed offer: TLS and a login, no rights but those that docs/configure.md lists,
// none on Kafka's own topics, no topics that appear by themselves, and quotas.
func TestManagedOffer(t *testing.T) {
	parallel(t)
	r := promise.SeedOf(t)
	c := start(t, Options{Secure: true})
	k := kafka(c)
	lookAt(t, c)
	k.Options = c.ClientOptions(Admin, Password)
	k.Login = fmt.Sprintf(", tls: {ca: %q}, sasl: {mechanism: scram-sha-256, user: %s, password: %s}", c.CA(), user, userPassword)
	j := promise.New(t, k, promise.Setup{Rules: promise.Seconds})
	scrams, err := j.Admin.AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{{User: user, Mechanism: kadm.ScramSha256, Iterations: 4096, Password: userPassword}})
	if err == nil {
		err = scrams.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	in := j.Instance("a", "")
	p := in.Start()
	in.AwaitLog("AUTHORIZATION_FAILED")
	if p.End() == nil {
		t.Error("it runs without rights")
	}
	for _, b := range rights(j) {
		if made, err := j.Admin.CreateACLs(t.Context(), b.Allow("User:"+user).AllowHosts("*")); err != nil || len(made) == 0 || made[0].Err != nil {
			t.Fatalf("%v: %v", made, err)
		}
	}
	limited(t, j, 15_000)
	p = in.Start()
	j.Load.For(r, 10*time.Second, 60)
	j.Load.Flush()
	j.Finish(9*time.Second, p)
	j.Judge(notExact)
	if s := in.Logged(); strings.Contains(s, `"level":"ERROR"`) {
		t.Error("there are errors in the log")
	}
}

// rights are those that docs/configure.md gives.
func rights(j *promise.Job) []*kadm.ACLBuilder {
	return []*kadm.ACLBuilder{
		kadm.NewACLs().Topics(j.Topic("web"), j.Topic("purchase"), j.Topic("email"), j.Topic("profile")).
			ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpRead, kadm.OpDescribeConfigs),
		kadm.NewACLs().Topics(j.App+".").ResourcePatternType(kadm.ACLPatternPrefixed).
			Operations(kadm.OpRead, kadm.OpWrite, kadm.OpDescribeConfigs, kadm.OpCreate),
		kadm.NewACLs().TransactionalIDs(j.App + "-").ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kadm.OpWrite),
		kadm.NewACLs().Groups(j.App, j.App+"-progress").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpRead),
	}
}

// limited gives the engine's user a quota, in bytes a second.
func limited(t *testing.T, j *promise.Job, bytes float64) {
	t.Helper()
	name := user
	l, err := j.Admin.AlterClientQuotas(t.Context(), []kadm.AlterClientQuotaEntry{{
		Entity: kadm.ClientQuotaEntity{{Type: "user", Name: &name}},
		Ops:    []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Value: bytes}, {Key: "consumer_byte_rate", Value: bytes}},
	}})
	if err == nil && len(l) == 1 {
		err = l[0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
}

// All brokers are down when the engine starts: it waits, says for what, and ends
// well when it is stopped. It begins when they come. Then they die under it.
func TestBrokersDown(t *testing.T) {
	parallel(t)
	r := promise.SeedOf(t)
	c := start(t, Options{})
	j := promise.New(t, kafka(c), promise.Setup{Rules: promise.Seconds})
	in := j.Instance("a", "")
	if err := c.Kill(1); err != nil {
		t.Fatal(err)
	}
	p := in.Start()
	in.AwaitLog("waiting for a broker to answer")
	p.Stop() // the exit code is 0
	p = in.Start()
	in.AwaitLog("waiting for a broker to answer")
	if err := c.Launch(1); err != nil {
		t.Fatal(err)
	}
	stop := j.Load.Begin(r.Uint64(), 60)
	j.AwaitCommit(p)
	// In good order: if all brokers are killed in the middle of a transaction's end,
	// Kafka 4.3 may never end it. See "What is not shown" in reliability.md.
	if err := c.Stop(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	time.Sleep(4 * time.Second)
	if err := c.Launch(1); err != nil {
		t.Fatal(err)
	}
	if err := c.AwaitAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	j.AwaitCommit(p)
	stop()
	j.Finish(9*time.Second, p)
	j.Judge(notExact)
}

// The cluster does not take the replication that the configuration asks for: the
// engine says so, with the setting, and ends.
func TestReplicationRefused(t *testing.T) {
	parallel(t)
	j := promise.New(t, kafka(one.get(t)), promise.Setup{})
	in := j.Instance("a", "")
	configure(t, in, `triggers: "`, `create: {replication: 3}, triggers: "`)
	if in.Start().End() == nil {
		t.Error("it runs with replication 3 on one broker")
	}
	if log := in.Logged(); !strings.Contains(log, "INVALID_REPLICATION_FACTOR") || !strings.Contains(log, "topics.create.replication") {
		t.Errorf("the log does not name the setting: %s", log)
	}
}

func configure(t *testing.T, in *promise.Instance, replace, by string) {
	t.Helper()
	b, err := os.ReadFile(in.Config)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(b), replace, by, 1)
	if text == string(b) {
		t.Fatalf("no %s in %s", replace, b)
	}
	if err := os.WriteFile(in.Config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Many times the input that fits into the memory, large records among it; the
// process is killed in the middle. Its memory stays bounded, and nothing is lost.
func TestOverload(t *testing.T) {
	parallel(t)
	r := promise.SeedOf(t)
	j := promise.New(t, kafka(one.get(t)), promise.Setup{})
	large := 250
	if long {
		large = 1500
	}
	for n := range large {
		rec := j.Load.Event(r, time.Now())
		rec.Value = make([]byte, 900_000)
		for i := range rec.Value {
			rec.Value[i] = byte('a' + r.IntN(26)) // no event, and hard to compress
		}
		j.Load.Publish(rec)
		for range 100 {
			j.Load.Publish(j.Load.Event(r, time.Now()))
		}
		if n%50 == 0 {
			j.Load.Flush()
		}
	}
	j.Load.Flush()
	in := j.Instance("a", "")
	in.Env = []string{"GOMEMLIMIT=256MiB"}
	p := in.Start()
	j.AwaitCommit(p)
	p.Send(syscall.SIGKILL)
	in.LoseDisk()
	p = in.Start()
	j.AwaitRead()
	peak := peakMemory(t, p.Pid())
	t.Logf("%d MiB of large records; the process took %d MiB at most", large*900_000>>20, peak>>20)
	if peak > 384<<20 {
		t.Error("that is too much for GOMEMLIMIT=256MiB")
	}
	j.Finish(0, p)
	j.Judge(notExact)
}

// peakMemory returns the most memory that a process has had, in bytes.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "VmHWM:")
	var kib int
	if _, err := fmt.Sscan(after, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
