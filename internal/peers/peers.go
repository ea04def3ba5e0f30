// Package peers brings real programs of others into tests: Apache Kafka's own
// tools, fetched by Maven and run with the machine's Java.
//
// It is for tests only (layering_test.go keeps that). A test asks for what it
// needs; where that is missing, the test skips with one line that says why, or
// fails when INTEGRATION=require is set. What Maven fetched stays in the
// user's cache directory and is fetched once.
package peers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	_ "embed"
)

//go:embed kafka-pom.xml
var kafkaPOM []byte

// Wanted reports whether this run is one for tests with foreign programs:
// `make integration` sets INTEGRATION.
func Wanted() bool { return os.Getenv("INTEGRATION") != "" }

// Required reports whether a missing foreign program is a failure.
func Required() bool { return os.Getenv("INTEGRATION") == "require" }

// NeedIntegration skips a test outside `make integration`.
func NeedIntegration(t testing.TB) {
	t.Helper()
	if !Wanted() {
		t.Skip("skipped: runs in `make integration`")
	}
}

// missing ends the test: skipped, or failed where a skip is a failure.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if Required() {
		t.Fatalf("INTEGRATION=require: "+format, args...)
	}
	t.Skipf("skipped: "+format, args...)
}

// Kafka holds the jars of an Apache Kafka distribution.
type Kafka struct {
	classpath string
	java      string
}

// NeedKafka gives Kafka's jars, fetching them with Maven at first use.
func NeedKafka(t testing.TB) *Kafka {
	t.Helper()
	NeedIntegration(t)
	k, err := FindKafka()
	if err != nil {
		missing(t, "%v", err)
	}
	return k
}

// FindKafka is NeedKafka for commands: an error where the test would skip.
func FindKafka() (*Kafka, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, errors.New("no java on this machine (Java 17 or newer runs Kafka's tools)")
	}
	dir, err := jars("kafka", kafkaPOM)
	if err != nil {
		return nil, fmt.Errorf("jars of Kafka: %w", err)
	}
	return &Kafka{classpath: filepath.Join(dir, "*"), java: java}, nil
}

// jars copies the runtime dependencies of a POM into the cache and returns the
// directory. The directory's name is the POM's hash, so a new POM fetches anew.
func jars(name string, pom []byte) (string, error) {
	dir := cacheDir(name, pom)
	if _, err := os.Stat(filepath.Join(dir, "complete")); err == nil {
		return dir, nil
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", fmt.Errorf("no mvn on this machine to fetch them")
	}
	work, err := os.MkdirTemp("", "millstream-peers")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := os.WriteFile(filepath.Join(work, "pom.xml"), pom, 0o644); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, mvn, "-B", "-q", "dependency:copy-dependencies", "-DoutputDirectory="+dir, "-DincludeScope=runtime")
	cmd.Dir = work
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mvn dependency:copy-dependencies: %w\n%s", err, tail(out, 2000))
	}
	return dir, os.WriteFile(filepath.Join(dir, "complete"), nil, 0o644)
}

// cacheDir is the folder in the user's cache for what a description names.
func cacheDir(name string, description []byte) string {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256(description)
	return filepath.Join(cache, "millstream-peers", name+"-"+hex.EncodeToString(sum[:6]))
}

// DumpLogSegments runs Kafka's own reader of log directories with the given
// arguments and returns what it printed. A non-zero exit is an error.
func (k *Kafka) DumpLogSegments(ctx context.Context, args ...string) ([]byte, error) {
	all := append([]string{"-Xmx512M", "-cp", k.classpath, "org.apache.kafka.tools.DumpLogSegments"}, args...)
	cmd := exec.CommandContext(ctx, k.java, all...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return out, fmt.Errorf("DumpLogSegments %v: %w\n%s", args, err, tail(out, 4000))
	}
	return out, nil
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		return b[len(b)-n:]
	}
	return b
}
