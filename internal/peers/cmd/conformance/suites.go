package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// target is the broker under test. Its plaintext listener is on plainAddr and
// one with SASL on saslAddr, which kafka-go's suite takes for granted.
type target interface {
	Kill()
	LogTail(n int) string
}

const (
	plainPort, saslPort = 9092, 9093
	plainAddr           = "127.0.0.1:9092"
	saslAddr            = "127.0.0.1:9093"
)

// part is how much of a suite runs.
type part struct {
	run     []string // patterns of tests; none is all
	records int      // that franz-go's pipelines move
	env     []string
	timeout time.Duration
}

const (
	kafkaGo = "github.com/segmentio/kafka-go"
	franzGo = "github.com/twmb/franz-go"
)

// kafkaGoMends mends a test helper of kafka-go that dereferences nil whatever
// the broker, and takes down every test that would come after it: getOffsets
// makes a ConsumerGroup without a way to connect.
var kafkaGoMends = struct{ file, old, new string }{
	"reader_test.go", "conn, err := cg.coordinator()", "cg.config.Timeout = 10 * time.Second\n\tcg.config.connect = makeConnect(cg.config)\n\tconn, err := cg.coordinator()",
}

// runKafkaGo copies kafka-go's source from the module cache, whose tests need
// their fixtures beside them and modules that ours does not, and runs those of
// its packages that talk to a broker.
//
// KAFKA_VERSION chooses the tests. Its own CI sets KAFKA_SKIP_NETTEST, because
// golang.org/x/net's nettest wants of a connection what no broker gives.
func runKafkaGo(ctx context.Context, p part, progress io.Writer) (*results, error) {
	src, err := moduleDir(ctx, kafkaGo)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "millstream-kafka-go")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := copyTree(dir, src); err != nil {
		return nil, fmt.Errorf("copy %s: %w", src, err)
	}
	if err := replaceOnce(filepath.Join(dir, kafkaGoMends.file), kafkaGoMends.old, kafkaGoMends.new); err != nil {
		return nil, err
	}
	suite := goTest{
		dir: dir, packages: []string{".", "./sasl", "./topics"}, run: p.run, timeout: p.timeout,
		env: append([]string{"KAFKA_VERSION=3.7.0", "KAFKA_SKIP_NETTEST=1", "GOFLAGS=-mod=mod"}, p.env...),
	}
	return suite.do(ctx, kafkaGo, progress)
}

// runFranzGo runs the tests of franz-go's client from the module cache, with
// one broker (replication factor 1).
func runFranzGo(ctx context.Context, p part, progress io.Writer) (*results, error) {
	suite := goTest{
		dir: ".", packages: []string{franzGo + "/pkg/kgo"}, run: p.run, timeout: p.timeout,
		env: append([]string{
			"KGO_SEEDS=" + plainAddr, "KGO_TEST_RF=1", "KGO_LOG_LEVEL=none",
			fmt.Sprintf("KGO_TEST_RECORDS=%d", p.records),
			"KGO_TEST_SCRAM_SEEDS=" + saslAddr, "KGO_TEST_SCRAM=adminscram:admin-secret-256",
		}, p.env...),
	}
	return suite.do(ctx, franzGo, progress)
}

// moduleDir is where the module cache has the version that go.mod names.
func moduleDir(ctx context.Context, module string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=auto")
	out, err := cmd.Output()
	var m struct{ Dir, Error string }
	if err == nil {
		err = json.Unmarshal(out, &m)
	}
	if err != nil || m.Dir == "" {
		return "", fmt.Errorf("go mod download %s: %v %s", module, err, m.Error)
	}
	return m.Dir, nil
}

// copyTree copies src into dir and makes what it copies writable: the module cache is not.
func copyTree(dir, src string) error {
	return filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(dir, rel), 0o755)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, rel), b, 0o644)
	})
}

func replaceOnce(file, old, replacement string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if n := strings.Count(string(b), old); n != 1 {
		return fmt.Errorf("%s has %q %d times, want once: kafka-go's suite has changed", file, old, n)
	}
	return os.WriteFile(file, []byte(strings.Replace(string(b), old, replacement, 1)), 0o644)
}
