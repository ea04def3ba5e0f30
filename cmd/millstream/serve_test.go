package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/log/broker"
)

// served is `millstream serve` in this process.
type served struct {
	t    *testing.T
	dir  string
	addr string // of the first listener
	all  []string
	stop context.CancelFunc
	code chan int
	rest chan string // what it printed after the line
}

// serve starts the verb on a directory and a free port, and waits for its line.
// It ends with the test, which must have been its clean end.
func serve(t *testing.T, args ...string) *served {
	t.Helper()
	return serveDir(t, t.TempDir(), args...)
}

func serveDir(t *testing.T, dir string, args ...string) *served {
	t.Helper()
	s := &served{t: t, dir: dir, code: make(chan int, 1), rest: make(chan string, 1)}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	r, w := io.Pipe()
	all := append([]string{"serve", "--data-dir", dir, "--flush", "os"}, args...)
	if !strings.Contains(strings.Join(args, " "), "--listen") {
		all = append(all, "--listen", "127.0.0.1:0")
	}
	go func() {
		s.code <- run(ctx, all, io.Discard, w)
		w.Close()
	}()
	lines := bufio.NewReader(r)
	line, _ := lines.ReadString('\n')
	go func() {
		b, _ := io.ReadAll(lines)
		s.rest <- string(b)
	}()
	at, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if !ok {
		stop()
		t.Fatalf("millstream %v printed %q, expected its listening line", all, line)
	}
	s.all = strings.Split(at, ", ")
	s.addr = s.all[0]
	t.Cleanup(func() { s.end() })
	return s
}

// end ends it as SIGTERM does, and gives what else it printed. It may be called again.
func (s *served) end() string {
	s.stop()
	code, ok := <-s.code
	if !ok {
		return ""
	}
	close(s.code)
	if code != 0 {
		s.t.Errorf("serve ended with %d, expected 0", code)
	}
	return <-s.rest
}

// cli runs a verb against it.
func (s *served) cli(args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	return millstream(s.t, append(args, "--brokers", s.addr)...)
}

// ok runs a verb that must succeed with nothing on stderr, and gives its output.
func (s *served) ok(args ...string) string {
	s.t.Helper()
	code, out, stderr := s.cli(args...)
	if code != 0 || stderr != "" {
		s.t.Errorf("millstream %s: exit %d, stderr %q", strings.Join(args, " "), code, stderr)
	}
	return out
}

func TestServePrintsOneLineAndEndsCleanly(t *testing.T) {
	s := serve(t)
	s.ok("topic", "create", "orders")
	if rest := s.end(); rest != "" {
		t.Errorf("beside the line serve printed %q", rest)
	}
	if _, err := os.Stat(filepath.Join(s.dir, ".kafka_cleanshutdown")); err != nil {
		t.Errorf("no mark of a clean shutdown: %v", err)
	}
	if code, out, stderr := millstream(t, "verify", "--data-dir", s.dir); code != 0 || !strings.Contains(out, "no errors") {
		t.Errorf("verify: exit %d: %s%s", code, out, stderr)
	}
	again := serveDir(t, s.dir)
	if out := again.ok("topic", "list"); !strings.Contains(out, "orders") {
		t.Errorf("after a restart: %q", out)
	}
}

func TestServeSaysInOneLineWhyItCannot(t *testing.T) {
	s := serve(t)
	newer := t.TempDir()
	write(t, filepath.Join(newer, "millstream.properties"), "version=99\nboot.id=x\n")
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "millstream.yaml")
		write(t, name, text)
		return name
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"address in use", []string{"--listen", s.addr}, 1, "another process listens there already"},
		{"HTTP beyond loopback", []string{"--http", "0.0.0.0:0"}, 2, "--http: listener 0.0.0.0:0 is not encrypted and not on loopback"},
		{"HTTP address in use", []string{"--http", s.addr}, 1, "--http " + s.addr + ": another process listens"},
		{"foreign lock", []string{"--data-dir", s.dir}, 1, "another process uses this directory"},
		{"newer directory", []string{"--data-dir", newer}, 1, "format version 99"},
		{"exposed", []string{"--listen", "0.0.0.0:0", "--advertise", "h:9092"}, 2, "say --insecure"},
		{"nothing to advertise", []string{"--listen", "0.0.0.0:0", "--insecure"}, 2, "say which HOST:PORT to advertise"},
		{"no address", []string{"--listen", "localhost"}, 2, "expected HOST:PORT"},
		{"unknown protocol", []string{"--listen", "HTTP://127.0.0.1:0"}, 2, `unknown protocol "HTTP"`},
		{"no certificate", []string{"--listen", "SSL://127.0.0.1:0"}, 2, "--tls-cert"},
		{"PLAIN without users", []string{"--listen", "SASL_PLAINTEXT://127.0.0.1:0", "--sasl-mechanisms", "PLAIN"}, 2, "--sasl-users"},
		{"unknown setting", []string{"--config", file("data-dri: x\n")}, 2, `did you mean "data-dir"?`},
		{"unknown Kafka name", []string{"--config", file("log.retention.hour: 1\n")}, 2, `did you mean "log.retention.hours"?`},
		{"wrong unit", []string{"--config", file("log.retention.ms: 7d\n")}, 2, "log.retention.ms"},
		{"out of bounds", []string{"--property", "num.partitions=0"}, 2, "--property num.partitions: say --partitions"},
		{"wrong number", []string{"--property", "socket.request.max.bytes=0"}, 2, "socket.request.max.bytes"},
		{"wrong flush", []string{"--flush", "never"}, 2, "it must be commit or os"},
		{"key stores of Java", []string{"--property", "ssl.keystore.type=JKS"}, 2, "PEM"},
		{"log level", []string{"--log-level", "loud"}, 2, "debug, info, warn or error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"serve"}, c.args...)
			for flag, value := range map[string]string{"--data-dir": t.TempDir(), "--listen": "127.0.0.1:0"} {
				if !strings.Contains(strings.Join(c.args, " "), flag+" ") {
					args = append(args, flag, value)
				}
			}
			code, out, stderr := millstream(t, args...)
			if code != c.code || out != "" || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit %d, stdout %q, stderr %q; want exit %d and one line with %q", code, out, stderr, c.code, c.want)
			}
		})
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestServeTakesKafkasConfigurationNames: own names go before Kafka's, flags
// before the file, and clients are told what is in force.
func TestServeTakesKafkasConfigurationNames(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "millstream.yaml")
	write(t, name, "listeners: PLAINTEXT://127.0.0.1:1\nnum.partitions: 3\nlog.retention.hours: 5\nauto.create.topics.enable: false\n")
	s := serve(t, "--config", name, "--property", "message.max.bytes=2000000")
	if out := s.ok("topic", "create", "t"); out != "created topic t with 3 partitions\n" {
		t.Errorf("num.partitions of the file: %q", out)
	}
	out := s.ok("topic", "describe", "t", "--all-configs")
	for _, want := range []string{"retention.ms=18000000", "max.message.bytes=2000000"} {
		if !strings.Contains(out, want) {
			t.Errorf("topic describe lacks %s:\n%s", want, out)
		}
	}
	code, out, stderr := millstream(t, "config", "--config", name, "-o", "json")
	var printed []printedSetting
	if err := json.Unmarshal([]byte(out), &printed); code != 0 || err != nil {
		t.Fatalf("config: exit %d, %v, %s", code, err, stderr)
	}
	got := map[string]string{}
	for _, p := range printed {
		got[p.Key] = p.Value + " from " + p.Source
	}
	for key, want := range map[string]string{
		"listen": "PLAINTEXT://127.0.0.1:1 from " + name, "partitions": "3 from " + name, "log.retention.hours": "5 from " + name,
	} {
		if got[key] != want {
			t.Errorf("config prints %s = %s, want %s", key, got[key], want)
		}
	}
}

func TestServeAnswersHTTP(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // a port that was free a moment ago
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	s := serve(t, "--http", addr, "--pprof")
	s.ok("topic", "create", "t")
	get := func(path string) (int, string) {
		t.Helper()
		r, err := http.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(b)
	}
	for path, want := range map[string]string{
		"/healthz": "ok", "/readyz": "ok", "/debug/pprof/": "goroutine",
		"/metrics": `millstream_kafka_request_seconds_count{api="CreateTopics"} 1`,
	} {
		code, body := get(path)
		for range 1000 { // an answer is counted when it is written, which its reader may see before
			if strings.Contains(body, want) {
				break
			}
			code, body = get(path)
		}
		if code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d, without %q: %s", path, code, want, body)
		}
	}
	if _, body := get("/metrics"); !strings.Contains(body, "millstream_log_topics 1") || !strings.Contains(body, "millstream_kafka_connections{") {
		t.Error("/metrics lacks millstream_log_topics 1 or the connections")
	}
}

// TestDirMovesATopicToKafkasDirectoryAndBack stands in for Kafka with the files
// that a stopped broker leaves; TestIntegrationMoveToKafkaAndBack has a real one.
func TestDirMovesATopicToKafkasDirectoryAndBack(t *testing.T) {
	s := serve(t)
	s.ok("topic", "create", "orders", "-p", "2")
	var in bytes.Buffer
	for i := range 100 {
		fmt.Fprintf(&in, "k%d:v%d\n", i, i)
	}
	lines := filepath.Join(t.TempDir(), "lines")
	write(t, lines, in.String())
	s.ok("produce", "orders", lines, "-K", ":")
	want := s.ok("consume", "orders", "-e", "-f", `%p %o %k %s %T\n`)
	s.end()

	id := "pT5cXvaKTFenYhaKuCyGSQ"
	kafka := fakeKafka(t, "orders", 2, id)
	code, out, stderr := millstream(t, "dir", "export", "orders", "--data-dir", s.dir, "--kafka-dir", kafka, "--topic-id", id)
	if code != 0 || strings.Count(out, "orders") != 2 {
		t.Fatalf("export: exit %d: %s%s", code, out, stderr)
	}
	back := filepath.Join(t.TempDir(), "back")
	if code, _, stderr := millstream(t, "dir", "import", "orders", "--data-dir", back, "--kafka-dir", kafka, "-c", "retention.ms=77000"); code != 0 {
		t.Fatalf("import: exit %d: %s", code, stderr)
	}
	if code, out, stderr := millstream(t, "verify", "--data-dir", back); code != 0 {
		t.Errorf("verify: exit %d: %s%s", code, out, stderr)
	}
	again := serveDir(t, back)
	if got := again.ok("consume", "orders", "-e", "-f", `%p %o %k %s %T\n`); sorted(got) != sorted(want) {
		t.Errorf("what came back differs:\n%s\nwas\n%s", got, want)
	}
	if out := again.ok("topic", "describe", "orders"); !strings.Contains(out, id) || !strings.Contains(out, "retention.ms=77000") {
		t.Errorf("topic describe: %s", out)
	}
}

// fakeKafka makes a log directory as a stopped broker of Kafka leaves it.
func fakeKafka(t *testing.T, topic string, partitions int, id string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "meta.properties"), "version=1\ncluster.id=c\nnode.id=1\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAA\n")
	write(t, filepath.Join(dir, ".kafka_cleanshutdown"), `{"version":0,"brokerEpoch":5}`)
	write(t, filepath.Join(dir, "cleaner-offset-checkpoint"), "")
	for i := range partitions {
		p := filepath.Join(dir, fmt.Sprintf("%s-%d", topic, i))
		if err := os.Mkdir(p, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(p, "partition.metadata"), "version: 0\ntopic_id: "+id)
		write(t, filepath.Join(p, "00000000000000000000.log"), "")
	}
	return dir
}

func TestDirRefusesWhatWouldLoseSomething(t *testing.T) {
	s := serve(t)
	s.ok("topic", "create", "orders")
	id := "pT5cXvaKTFenYhaKuCyGSQ"
	running, out, stderr := millstream(t, "dir", "export", "orders", "--data-dir", s.dir, "--kafka-dir", fakeKafka(t, "orders", 1, id), "--topic-id", id)
	if running != 1 || !strings.Contains(stderr, "another process uses this directory") {
		t.Errorf("export of a directory in use: exit %d: %s%s", running, out, stderr)
	}
	s.end()
	unclean := fakeKafka(t, "orders", 1, id)
	if err := os.Remove(filepath.Join(unclean, ".kafka_cleanshutdown")); err != nil {
		t.Fatal(err)
	}
	full := fakeKafka(t, "orders", 1, id)
	write(t, filepath.Join(full, "orders-0", "00000000000000000000.log"), "something")
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no id", []string{"export", "orders", "--kafka-dir", full}, 2, "--topic-id"},
		{"bad id", []string{"export", "orders", "--kafka-dir", full, "--topic-id", "x"}, 2, "22 characters"},
		{"no directory", []string{"export", "orders", "--topic-id", id}, 2, "--kafka-dir"},
		{"other id", []string{"export", "orders", "--kafka-dir", fakeKafka(t, "orders", 1, "AT5cXvaKTFenYhaKuCyGSQ"), "--topic-id", id}, 1, "Kafka would delete"},
		{"Kafka runs", []string{"export", "orders", "--kafka-dir", unclean, "--topic-id", id}, 1, "not closed cleanly"},
		{"records there", []string{"export", "orders", "--kafka-dir", full, "--topic-id", id}, 1, "holds records"},
		{"too many partitions", []string{"export", "orders", "--kafka-dir", fakeKafka(t, "orders", 2, id), "--topic-id", id}, 1, "Kafka's has more"},
		{"no such topic there", []string{"export", "orders", "--kafka-dir", fakeKafka(t, "other", 1, id), "--topic-id", id}, 1, "make the topic in Kafka first"},
		{"no such topic here", []string{"export", "none", "--kafka-dir", fakeKafka(t, "none", 1, id), "--topic-id", id}, 1, "unknown topic"},
		{"exists already", []string{"import", "orders", "--kafka-dir", fakeKafka(t, "orders", 1, id)}, 1, "topic exists"},
		{"nothing to import", []string{"import", "none", "--kafka-dir", full}, 1, "there is no directory none-0"},
		{"damaged", []string{"import", "bad", "--kafka-dir", damaged(t, id)}, 1, "bad-0"},
		{"ours, not Kafka's", []string{"import", "x", "--kafka-dir", s.dir}, 1, "is a data directory of Millstream"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, _, stderr := millstream(t, append([]string{"dir", "--data-dir", s.dir}, c.args...)...)
			if code != c.code || !strings.Contains(stderr, c.want) {
				t.Errorf("exit %d, %q; want exit %d with %q", code, stderr, c.code, c.want)
			}
		})
	}
	// After all of it the directory is whole.
	b, err := broker.Open(broker.Config{Dir: s.dir})
	if err != nil {
		t.Fatal(err)
	}
	if topics := b.Topics(); len(topics) != 1 || topics[0].Name != "orders" {
		t.Errorf("topics %v, expected orders alone", topics)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

func damaged(t *testing.T, id string) string {
	dir := fakeKafka(t, "bad", 1, id)
	write(t, filepath.Join(dir, "bad-0", "00000000000000000000.log"), strings.Repeat("x", 200))
	return dir
}
