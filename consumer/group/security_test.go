package group

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// rights reads the table of rights in the documentation, with the names of topics
// that tests use.
func rights(t *testing.T) []kfake.ACL {
	t.Helper()
	doc, err := os.ReadFile("../../docs/configure.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(doc), "\\\n", " ")
	inputs := regexp.MustCompile(`for topic in (.*); do`).FindStringSubmatch(text)
	if inputs == nil {
		t.Fatal("no inputs in the table of rights")
	}
	var all []kfake.ACL
	for _, line := range regexp.MustCompile(`(?m)^ *acl --operation .*$`).FindAllString(text, -1) {
		what := regexp.MustCompile(`--(topic|group|transactional-id) "?([^ "]+)`).FindStringSubmatch(line)
		names := []string{what[2]}
		if what[2] == "$topic" {
			names = strings.Fields(inputs[1])
		}
		for _, op := range regexp.MustCompile(`--operation (\w+)`).FindAllStringSubmatch(line, -1) {
			for _, name := range names {
				a := kfake.ACL{Name: testName(name), Pattern: kmsg.ACLResourcePatternTypeLiteral, Allow: true}
				a.Resource = map[string]kmsg.ACLResourceType{
					"topic": kmsg.ACLResourceTypeTopic, "group": kmsg.ACLResourceTypeGroup, "transactional-id": kmsg.ACLResourceTypeTransactionalId,
				}[what[1]]
				a.Operation = map[string]kmsg.ACLOperation{
					"Read": kmsg.ACLOperationRead, "Write": kmsg.ACLOperationWrite, "Create": kmsg.ACLOperationCreate,
					"DescribeConfigs": kmsg.ACLOperationDescribeConfigs,
				}[op[1]]
				if a.Operation == 0 {
					t.Fatalf("unknown operation in %q", line)
				}
				if strings.Contains(line, "prefixed") {
					a.Pattern = kmsg.ACLResourcePatternTypePrefixed
				}
				all = append(all, a)
			}
		}
	}
	return all
}

func testName(doc string) string {
	switch doc {
	case "segments.changes":
		return "changes"
	case "triggers.fired":
		return "triggers"
	}
	return strings.TrimPrefix(doc, "events.")
}

// nameOf returns what a right is about, for messages.
func nameOf(a kfake.ACL) string {
	return a.Operation.String() + " " + a.Name
}

// logged collects what is logged.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) contains(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

func scramOf(user, password string) kgo.Opt {
	return kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha256Mechanism())
}

// guarded returns a rig whose broker asks for a password and rights, and what
// makes the engine use those of its own user.
func guarded(t *testing.T, partitions int32, acls []kfake.ACL) (*fleet, *logged, func(*config.Config)) {
	t.Helper()
	g := newFleetOn(t, partitions, []kfake.Opt{
		kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("SCRAM-SHA-256", "admin", "admin"),
		kfake.User("SCRAM-SHA-256", "segmill", "secret", acls...),
	}, scramOf("admin", "admin"))
	l := &logged{}
	return g, l, func(c *config.Config) {
		c.Kafka = []kgo.Opt{kgo.SeedBrokers(g.Broker.ListenAddrs()...), scramOf("segmill", "secret"), kgo.MetadataMinAge(50 * time.Millisecond)}
		c.Logger = slog.New(slog.NewTextHandler(l, nil))
	}
}

// allow gives the engine's user a right.
func (g *fleet) allow(a kfake.ACL) {
	g.Helper()
	req := kmsg.NewPtrCreateACLsRequest()
	c := kmsg.NewCreateACLsRequestCreation()
	c.ResourceType, c.ResourceName, c.ResourcePatternType = a.Resource, a.Name, a.Pattern
	c.Principal, c.Host, c.Operation, c.PermissionType = "User:segmill", "*", a.Operation, kmsg.ACLPermissionTypeAllow
	req.Creations = append(req.Creations, c)
	resp, err := req.RequestWith(context.Background(), g.Client)
	if err == nil {
		err = kerr.ErrorForCode(resp.Results[0].ErrorCode)
	}
	if err != nil {
		g.Fatal(err)
	}
}

// deny takes a right away.
func (g *fleet) deny(a kfake.ACL) {
	g.Helper()
	req := kmsg.NewPtrDeleteACLsRequest()
	f := kmsg.NewDeleteACLsRequestFilter()
	f.ResourceType, f.ResourceName, f.ResourcePatternType = a.Resource, &a.Name, a.Pattern
	f.Operation, f.PermissionType = a.Operation, kmsg.ACLPermissionTypeAllow
	req.Filters = append(req.Filters, f)
	resp, err := req.RequestWith(context.Background(), g.Client)
	if err != nil || len(resp.Results[0].MatchingACLs) != 1 {
		g.Fatalf("%v %v", resp, err)
	}
}

// says reports whether a text is shown: by a task, or by the group.
func (in *instance) says(text string) bool {
	st := in.o.Status()
	return !st.Ready && (strings.Contains(st.Refused, text) ||
		slices.ContainsFunc(st.Tasks, func(t task.Status) bool { return t.State == task.Waiting && strings.Contains(t.Error, text) }))
}

// The table of rights in the documentation is what is needed, and no more: without
// any one of them the engine says which, at the start and when it is taken away
// while it runs, and goes on when it is given back.
func TestRights(t *testing.T) {
	all := rights(t)
	inUse := []string{"web", "purchase", "profile", "changes", "triggers", "shop.", "shop-", "shop", "shop-progress"}
	all = slices.DeleteFunc(all, func(a kfake.ACL) bool { return !slices.Contains(inUse, a.Name) })
	if len(all) != 6+3+3+4+1+1+1 {
		t.Fatalf("%d rights in the table", len(all))
	}
	denied := map[kmsg.ACLResourceType]string{
		kmsg.ACLResourceTypeTopic: "TOPIC_AUTHORIZATION_FAILED", kmsg.ACLResourceTypeGroup: "GROUP_AUTHORIZATION_FAILED",
		kmsg.ACLResourceTypeTransactionalId: "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
	}
	for i, a := range all {
		t.Run(nameOf(a), func(t *testing.T) {
			t.Parallel()
			without := slices.Delete(slices.Clone(all), i, i+1)
			missing := denied[a.Resource]
			// At the start, where no topic exists yet.
			g, log, config := guarded(t, 1, without)
			in := g.start(fixture.Rules, vfs.NewMem(), config)
			switch {
			case a.Operation == kmsg.ACLOperationDescribeConfigs: // only for warnings
				in.ready()
			case a.Operation == kmsg.ACLOperationCreate || a.Resource == kmsg.ACLResourceTypeTopic && a.Pattern == kmsg.ACLResourcePatternTypeLiteral:
				err := in.wait()
				if err == nil || !strings.Contains(err.Error(), missing) || !strings.Contains(err.Error(), "topic "+a.Name) {
					t.Fatalf("%v", err)
				}
				g.allow(a)
				in = g.start(fixture.Rules, vfs.NewMem(), config)
			case a.Name == rig.App+"-progress":
				in.ready()
			default:
				g.Produce(g.Event(plan.Purchase, "first", g.Now(), nil))
				g.Eventually("it is shown", func() bool { return in.says(missing) && in.says(a.Name) })
				g.allow(a)
			}
			in.caughtUp()
			if a.Operation == kmsg.ACLOperationDescribeConfigs || a.Operation == kmsg.ACLOperationCreate {
				in.stop()
				return
			}
			// While it runs.
			if a.Name == rig.App+"-progress" {
				g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
				g.Eventually("it is shown", func() bool { return log.contains(missing) && log.contains("group="+a.Name) })
				in.caughtUp()
				in.stop()
				return
			}
			g.deny(a)
			// The cart is left before the purchase, also where it is read much earlier.
			g.Produce(g.Event(plan.Web, "anna", g.Now().Add(-time.Hour), map[string]any{"name": "product_added", "items": []map[string]any{{"product_id": "p"}}}))
			g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil), g.Event(plan.Profile, "anna", g.Now(), nil))
			g.Eventually("it is shown", func() bool { return in.says(missing) && in.says(a.Name) })
			asked := g.asks(kmsg.JoinGroup, kmsg.InitProducerID, kmsg.Fetch, kmsg.Produce)
			if rig.Within(500*time.Millisecond, func() bool { return asked.Hits() > 100 }) {
				t.Errorf("%d requests in half a second", asked.Hits())
			}
			g.allow(a)
			in.caughtUp()
			in.stop()
			if !slices.Contains(g.Members(), "anna buyer") {
				t.Error(g.Members())
			}
		})
	}
}

// A password that is wrong from the start, and one that is changed while the
// engine runs: it says so, asks at ever longer intervals, and goes on when it is
// right again.
func TestPasswordChanges(t *testing.T) {
	t.Parallel()
	g, _, limited := guarded(t, 1, rights(t))
	w := &wire{}
	in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) {
		limited(c)
		c.Kafka = append(c.Kafka, kgo.Dialer(w.dial))
	})
	in.ready()
	g.password("segmill", "another")
	w.cut()
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
	g.Eventually("it is shown", func() bool { return in.says("SASL") || in.says("EOF") })
	g.password("segmill", "secret")
	in.caughtUp()
	in.stop()
	if got := g.Members(); !slices.Equal(got, []string{"anna buyer"}) {
		t.Error(got)
	}
}

// password sets the password of a user.
func (g *fleet) password(user, password string) {
	g.Helper()
	got, err := kadm.NewClient(g.Client).AlterUserSCRAMs(context.Background(), nil, []kadm.UpsertSCRAM{{
		User: user, Mechanism: kadm.ScramSha256, Iterations: 4096, Password: password,
	}})
	if err == nil {
		err = got.Error()
	}
	if err != nil {
		g.Fatal(err)
	}
}
