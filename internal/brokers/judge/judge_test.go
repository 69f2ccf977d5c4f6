//go:build brokers

package judge

import "testing"

// The judge's own tests: it finds each output that is lost, doubled or wrong.
func TestJudge(t *testing.T) {
	cmd, err := command(t.Context(), "-m", "unittest", "-v")
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

func TestRun(t *testing.T) {
	const history = "testdata/history"
	args := []string{"--files", history, "--acked", history + "/acked.jsonl", "--rules", Rules(), "--until"}
	out, err := Run(t.Context(), append(args, "2026-01-01T00:04:00.045Z")...)
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := Run(t.Context(), append(args, "2026-01-01T00:02:00Z")...); err == nil {
		t.Errorf("nothing is wrong: %s", out)
	}
	if out, err := Run(t.Context(), append(args, "yesterday")...); err == nil {
		t.Errorf("it judged: %s", out)
	}
}
