package brokers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Without Java or Maven, the error says what to install.
func TestMissingTools(t *testing.T) {
	t.Setenv("PATH", "")
	t.Setenv("JAVA_HOME", "")
	t.Setenv("SEGMILL_KAFKA_JARS", t.TempDir())
	if _, err := java(t.Context()); err == nil || !strings.Contains(err.Error(), "apt-get install openjdk-17-jre-headless") {
		t.Errorf("java: %v", err)
	}
	if _, err := jars(t.Context(), Newest); err == nil || !strings.Contains(err.Error(), "apt-get install maven") {
		t.Errorf("jars: %v", err)
	}
}

func TestOldJava(t *testing.T) {
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15'\n"
	if err := os.WriteFile(filepath.Join(home, "bin", "java"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JAVA_HOME", home)
	if _, err := java(t.Context()); err == nil || !strings.Contains(err.Error(), "is version 11") {
		t.Errorf("java: %v", err)
	}
}

// Jars that are there are taken as they are: nothing is fetched.
func TestJarsOfCache(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("PATH", "")
	t.Setenv("SEGMILL_KAFKA_JARS", cache)
	want := filepath.Join(cache, "kafka-1.2.3")
	if err := os.Mkdir(want, 0o755); err != nil {
		t.Fatal(err)
	}
	if dir, err := jars(t.Context(), "1.2.3"); err != nil || dir != want {
		t.Errorf("%s, %v", dir, err)
	}
}
