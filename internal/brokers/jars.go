package brokers

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

// Versions of Kafka that the suite runs on, the newest last.
var Versions = []string{"3.9.1", "4.0.0", "4.3.1"}

// Newest is what Options means by no version.
var Newest = Versions[len(Versions)-1]

//go:embed pom.xml
var pom []byte

// jars returns the folder with the jars of a version. They are fetched once, into
// the user's cache, or into the folder that SEGMILL_KAFKA_JARS names.
func jars(ctx context.Context, version string) (string, error) {
	cache := os.Getenv("SEGMILL_KAFKA_JARS")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no place for Kafka's jars: %w; SEGMILL_KAFKA_JARS names one", err)
		}
		cache = filepath.Join(user, "segmill")
	}
	dir := filepath.Join(cache, "kafka-"+version)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", fmt.Errorf("the jars of Kafka %s are not in %s, and Maven, which fetches them, is not installed (Debian: apt-get install maven)", version, dir)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	fetched, err := os.MkdirTemp(cache, "fetching-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fetched) // what is left does no harm
	project := filepath.Join(fetched, "pom.xml")
	if err := os.WriteFile(project, pom, 0o600); err != nil {
		return "", err
	}
	found := filepath.Join(fetched, "jars")
	out, err := exec.CommandContext(ctx, mvn, "-q", "-B", "-f", project, "dependency:copy-dependencies",
		"-DincludeScope=runtime", "-Dkafka.version="+version, "-DoutputDirectory="+found).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("fetch Kafka %s with Maven: %w\n%s", version, err, out)
	}
	// All or nothing, also when two fetch at once.
	if err := os.Rename(found, dir); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return dir, nil
}

// leastJava is the version of Java that Kafka 4 needs.
const leastJava = 17

var javaVersion = regexp.MustCompile(`version "(\d+)`)

// java returns the path of a Java that is new enough: that of JAVA_HOME, or the
// one in PATH.
func java(ctx context.Context) (string, error) {
	const remedy = "Kafka's brokers need Java 17 or later (Debian: apt-get install openjdk-17-jre-headless)"
	path, err := exec.LookPath("java")
	if home := os.Getenv("JAVA_HOME"); home != "" {
		path, err = exec.LookPath(filepath.Join(home, "bin", "java"))
	}
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, remedy)
	}
	out, err := exec.CommandContext(ctx, path, "-version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s -version: %w: %s", path, err, out)
	}
	m := javaVersion.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("%s -version says %q: %s", path, out, remedy)
	}
	if v, _ := strconv.Atoi(string(m[1])); v < leastJava {
		return "", fmt.Errorf("%s is version %d: %s", path, v, remedy)
	}
	return path, nil
}
