package brokers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/segmill/segmill/internal/leash"
)

// node is a broker and controller.
type node struct {
	id      int
	dir     string
	ports   ports
	process *leash.Process
	frozen  bool
}

func (n *node) config() string { return filepath.Join(n.dir, "server.properties") }

// format writes a node's configuration and makes its folder of data.
func (c *Cluster) format(ctx context.Context, n *node) error {
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		return err
	}
	if c.options.Secure {
		cert, err := c.ca.server()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(n.dir, "server.pem"), cert, 0o600); err != nil {
			return err
		}
	}
	if err := os.WriteFile(n.config(), text(c.properties(n.id)), 0o600); err != nil {
		return err
	}
	args := []string{"format", "--cluster-id", c.id, "--config", n.config()}
	if v := c.options.TransactionVersion; v != "" {
		args = append(args, "--feature", "transaction.version="+v)
	}
	if c.options.Secure {
		args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, Admin, Password))
	}
	if out, err := c.Tool(ctx, "kafka.tools.StorageTool", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("format node %d of Kafka %s: %w\n%s", n.id, c.options.Version, err, out)
	}
	return nil
}

// launch starts a node's process and does not wait.
func (c *Cluster) launch(n *node) error {
	log, err := os.OpenFile(c.Log(n.id), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has it
	cmd := exec.Command(c.java, "-Xmx400m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError",
		"-Djava.awt.headless=true", "-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
		"-cp", c.classpath, "kafka.Kafka", n.config())
	cmd.Dir, cmd.Stdout, cmd.Stderr = n.dir, log, log
	n.frozen = false
	n.process, err = c.leash.Start(cmd)
	return err
}

func (c *Cluster) running(id int) bool { p := c.nodes[id-1].process; return p != nil && p.Running() }

func (c *Cluster) signal(id int, s syscall.Signal) error {
	if !c.running(id) {
		return fmt.Errorf("node %d is not running: %s", id, c.Log(id))
	}
	return c.nodes[id-1].process.Signal(s)
}

// Kill ends a node as `kill -9` does, and waits for its end.
func (c *Cluster) Kill(id int) error {
	if err := c.signal(id, syscall.SIGKILL); err != nil {
		return err
	}
	<-c.nodes[id-1].process.Done()
	return nil
}

// Stop ends a node in good order, and waits for its end: it hands over what it
// leads.
func (c *Cluster) Stop(ctx context.Context, id int) error {
	if err := c.signal(id, syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-c.nodes[id-1].process.Done():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("node %d does not stop: %w", id, ctx.Err())
	}
}

// Freeze suspends a node, connections open, until Thaw.
func (c *Cluster) Freeze(id int) error {
	err := c.signal(id, syscall.SIGSTOP)
	c.nodes[id-1].frozen = err == nil
	return err
}

// Thaw lets a node go on that was frozen.
func (c *Cluster) Thaw(id int) error {
	c.nodes[id-1].frozen = false
	return c.signal(id, syscall.SIGCONT)
}

// Launch starts a node that was ended, and does not wait for it: see AwaitAll.
func (c *Cluster) Launch(id int) error {
	if c.running(id) {
		return fmt.Errorf("node %d is running", id)
	}
	return c.launch(c.nodes[id-1])
}

// WipeDisk removes all data of a node that was ended, as a new disk does. It may
// be started then.
func (c *Cluster) WipeDisk(ctx context.Context, id int) error {
	if c.running(id) {
		return fmt.Errorf("node %d is running", id)
	}
	n := c.nodes[id-1]
	if err := os.RemoveAll(filepath.Join(n.dir, "data")); err != nil {
		return err
	}
	return c.format(ctx, n)
}

// Log returns the path of a node's log.
func (c *Cluster) Log(id int) string {
	return filepath.Join(c.leash.Dir(), fmt.Sprintf("node-%d.log", id))
}

// KeepLogs copies the logs to a folder that Close does not remove, and returns it.
func (c *Cluster) KeepLogs() (string, error) {
	dir, err := os.MkdirTemp("", "segmill-broker-logs-")
	if err != nil {
		return "", err
	}
	for _, n := range c.nodes {
		log, err := os.ReadFile(c.Log(n.id))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(c.Log(n.id))), log, 0o600)
		}
		if err != nil {
			return dir, err
		}
	}
	return dir, nil
}
