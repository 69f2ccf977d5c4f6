//go:build brokers

package clients

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/segmill/segmill/internal/brokers"
	"github.com/segmill/segmill/internal/brokers/tools"
	"github.com/segmill/segmill/internal/leash"
)

var (
	//go:embed requirements.txt
	requirements []byte
	//go:embed package.json
	manifest []byte
	//go:embed pom.xml
	pom []byte
)

// suite is what all tests share: one broker, and the clients.
var suite struct {
	cluster *brokers.Cluster
	leash   *leash.Leash
	python  string // a Python with its clients
	modules string // node_modules
	connect string // folder with the jars of Kafka Connect
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run installs the clients, starts a broker, and runs the tests. Nothing is left
// out for want of a client.
func run(m *testing.M) int {
	if err := prepare(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "clients:", err)
		return 1 // the leashes end what was started
	}
	code := m.Run()
	if code != 0 {
		if logs, err := suite.cluster.KeepLogs(); err == nil {
			fmt.Println("logs of the broker:", logs)
		}
	}
	for _, err := range []error{suite.leash.Close(), suite.cluster.Close()} {
		if err != nil {
			fmt.Fprintln(os.Stderr, "clients:", err)
			code = 1
		}
	}
	return code
}

func prepare(ctx context.Context) (err error) {
	if _, err := exec.LookPath("kcat"); err != nil {
		return fmt.Errorf("%w (Debian: apt-get install kcat)", err)
	}
	if _, err := exec.LookPath("node"); err != nil {
		return fmt.Errorf("%w (Debian: apt-get install nodejs npm)", err)
	}
	if suite.python, err = tools.Python(ctx, requirements); err != nil {
		return err
	}
	if suite.modules, err = tools.Node(ctx, manifest); err != nil {
		return err
	}
	if suite.connect, err = tools.Jars(ctx, pom); err != nil {
		return err
	}
	if suite.leash, err = leash.New("segmill-clients"); err != nil {
		return err
	}
	if suite.cluster, err = brokers.Start(ctx, brokers.Options{}); err != nil {
		return err
	}
	fmt.Println("Kafka", suite.cluster.Version())
	for _, cmd := range [][]string{{"kcat", "-V"}, {"node", "--version"}, {suite.python, "--version"}, {"java", "-version"}} {
		said, err := exec.CommandContext(ctx, cmd[0], cmd[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", cmd, err, said)
		}
		fmt.Printf("%s: %s\n", filepath.Base(cmd[0]), strings.Join(strings.Fields(string(said)), " "))
	}
	return nil
}

// servers returns the brokers as clients are given them.
func servers() string { return strings.Join(suite.cluster.Addresses(), ",") }

// start starts a program that lives until the end of the test at most. Its output
// goes to a file, which is shown if the test fails.
func start(t *testing.T, cmd *exec.Cmd, log string) *leash.Process {
	t.Helper()
	f, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	p, err := suite.leash.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Signal(syscall.SIGKILL) // it may have ended
		<-p.Done()
		if b, err := os.ReadFile(log); t.Failed() && err == nil {
			t.Logf("%s:\n%s", filepath.Base(log), b[max(0, len(b)-4000):])
		}
	})
	return p
}
