package main

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/help.txt anew")

func sorted(text string) string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// input runs a verb with something on stdin.
func (s *served) input(text string, args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	go func() {
		io.WriteString(w, text)
		w.Close()
	}()
	old := os.Stdin
	os.Stdin = r
	defer func() { os.Stdin = old; r.Close() }()
	return s.cli(args...)
}

func (s *served) send(text string, args ...string) {
	s.t.Helper()
	if code, out, stderr := s.input(text, args...); code != 0 || out != "" || stderr != "" {
		s.t.Errorf("millstream %s: exit %d, %q, %q", strings.Join(args, " "), code, out, stderr)
	}
}

func TestTopicVerbs(t *testing.T) {
	s := serve(t)
	for _, step := range []struct {
		args string
		code int
		want string // of stdout, or of stderr where the code is not 0
	}{
		{"topic create a b -p 2 -c cleanup.policy=compact", 0, "created topic a with 2 partitions\ncreated topic b with 2 partitions\n"},
		{"topic create a", 1, "millstream: topic a: "},
		{"topic create a --if-not-exists", 0, "topic a exists\n"},
		{"topic create c --dry-run", 0, "topic c would be created\n"},
		{"topic create c -c retntion.ms=1", 1, `did you mean "retention.ms"`},
		{"topic create c -c retention.ms", 2, "expected NAME=VALUE"},
		{"topic create", 2, "takes the names of the topics"},
		{"topic list", 0, "TOPIC  PARTITIONS  REPLICAS  OFFSETS\na      2           1         0\nb      2           1         0\n"},
		{"topic alter a -p 3 -c segment.ms=1000", 0, "altered topic a\n"},
		{"topic alter a --unset cleanup.policy", 0, "altered topic a\n"},
		{"topic alter a", 2, "nothing to change"},
		{"topic alter aa -p 3", 1, `topic "aa" does not exist: did you mean "a"?`},
		{"topic alter a -p 1", 1, "topic a: "},
		{"topic describe a -o json", 0, `"configs":[{"name":"segment.ms","value":"1000","source":"dynamic_topic_config"}]`},
		{"topic describe orders", 1, `topic "orders" does not exist`},
		{"topic delete a b", 0, "deleted topic a\ndeleted topic b\n"},
		{"topic delete a", 1, `topic "a" does not exist`},
		{"topic delete a --if-exists", 0, "topic a does not exist\n"},
		{"topic list -o json", 0, "[]\n"},
	} {
		args := strings.Fields(step.args)
		code, out, stderr := s.cli(args...)
		got := out
		if step.code != 0 {
			got = stderr
		}
		exact := step.code == 0 && strings.HasSuffix(step.want, "\n")
		if code != step.code || exact && got != step.want || !strings.Contains(got, step.want) {
			t.Errorf("%s: exit %d, stdout %q, stderr %q; want exit %d with %q", step.args, code, out, stderr, step.code, step.want)
		}
		if step.code != 0 && (out != "" || strings.Count(stderr, "\n") != 1) {
			t.Errorf("%s: stdout %q, stderr %q: expected one line on stderr and no data", step.args, out, stderr)
		}
	}
}

func TestProduceAndConsumeFormats(t *testing.T) {
	s := serve(t)
	s.ok("topic", "create", "t")
	s.send("k1:one\nk2:two\n", "produce", "t", "-K", ":", "-H", "a=1", "-H", "b=2")
	s.send("\n", "produce", "t", "-Z", "-k", "gone")
	s.send("é", "produce", "t", "--compression", "zstd") // no final line feed
	for _, c := range []struct{ args, want string }{
		{`-e`, "one\ntwo\n\né\n"},
		{`-e -f %p:%o:%k=%s(%S,%K)[%h]\n`, "0:0:k1=one(3,2)[a=1,b=2]\n0:1:k2=two(3,2)[a=1,b=2]\n0:2:gone=(-1,4)[]\n0:3:=é(2,-1)[]\n"},
		{`-e -f %t%%\x41\t%R --from 3`, "t%A\t\x00\x00\x00\x02"},
		{`-e --from -2 -f %o,`, "2,3,"},
		{`-e --from 9 -f %o,`, ""},
		{`-e --from end -f %o,`, ""},
		{`--until 2 -f %o,`, "0,1,"},
		{`--until -1 --from 1 -f %o,`, "1,2,"},
		{`-c 3 -f %o,`, "0,1,2,"},
		{`-e -p 0 -f %o,`, "0,1,2,3,"},
		{`-e --from @-1h -f %o,`, "0,1,2,3,"},
		{`-e --from @2100-01-01 -f %o,`, ""},
		{`--until @2100-01-01 -f %o,`, "0,1,2,3,"},
	} {
		if got := s.ok(append([]string{"consume", "t"}, strings.Fields(c.args)...)...); got != c.want {
			t.Errorf("consume t %s: %q, want %q", c.args, got, c.want)
		}
	}
	if got := s.ok("consume", "t", "--from", "0", "-c", "1", "-f", "%T %D\n"); !strings.Contains(got, "Z") {
		t.Errorf("times: %q", got)
	}
}

// TestJSONGoesRound: what consume -o json prints, produce --input json takes,
// also bytes that are no text.
func TestJSONGoesRound(t *testing.T) {
	s := serve(t)
	s.ok("topic", "create", "t", "copy")
	s.send("plain\n\xff\xfe\n", "produce", "t", "-k", "key", "-H", "h=v")
	out := s.ok("consume", "t", "-e", "-o", "json")
	if strings.Count(out, "\n") != 2 || !strings.Contains(out, `"value":"plain"`) || !strings.Contains(out, `"value_base64":"//4="`) {
		t.Fatalf("consume -o json: %s", out)
	}
	s.send(out, "produce", "copy", "--input", "json")
	if got := s.ok("consume", "copy", "-e", "-o", "json"); strings.ReplaceAll(got, `"copy"`, `"t"`) != out {
		t.Errorf("the copy reads\n%swant\n%s", got, out)
	}
	code, stdout, _ := s.input(`{"value":"x"}`+"\n", "produce", "copy", "--input", "json", "-o", "json")
	if code != 0 || !strings.Contains(stdout, `"offset":2`) {
		t.Errorf("produce -o json: exit %d, %q", code, stdout)
	}
}

func TestProduceInOneTransactionIsSeenWhollyOrNot(t *testing.T) {
	s := serve(t)
	s.ok("topic", "create", "t")
	s.send("a\nb\n", "produce", "t", "--transactional-id", "x")
	code, _, stderr := s.input("c:1\nno delimiter\n", "produce", "t", "-K", ":", "--transactional-id", "x")
	if code != 1 || !strings.Contains(stderr, `line 2: no ":" in it`) {
		t.Errorf("a bad line: exit %d, %q", code, stderr)
	}
	if got := s.ok("consume", "t", "-e"); got != "a\nb\n" {
		t.Errorf("committed: %q, expected a and b alone", got)
	}
	if got := s.ok("consume", "t", "-e", "--isolation", "uncommitted"); !strings.HasPrefix(got, "a\nb\n") {
		t.Errorf("uncommitted: %q", got)
	}
	// A partition that ends with a marker ends the reading too.
	if got := s.ok("consume", "t", "--until", "end", "--from", "1", "-f", "%s"); got != "b" {
		t.Errorf("from 1: %q", got)
	}
}

func TestGroupVerbs(t *testing.T) {
	s := serve(t)
	s.ok("topic", "create", "t")
	s.send("a\nb\nc\n", "produce", "t")
	if got := s.ok("consume", "t", "-e", "-g", "readers"); got != "a\nb\nc\n" {
		t.Errorf("consume -g: %q", got)
	}
	s.send("d\n", "produce", "t")
	if got := s.ok("consume", "t", "-c", "1", "-g", "readers"); got != "d\n" {
		t.Errorf("a group goes on where it was: %q, expected d", got)
	}
	if out := s.ok("group", "list"); !strings.Contains(out, "readers  Empty") {
		t.Errorf("group list: %q", out)
	}
	if out := s.ok("group", "describe", "readers"); !strings.Contains(out, "lag 0\n") || !strings.Contains(out, "t      0          4          0      4    0    -") {
		t.Errorf("group describe: %s", out)
	}
	for _, c := range []struct{ args, want string }{
		{"--to-earliest", `"from":4,"to":0,"executed":false`},
		{"--to-latest", `"from":4,"to":4,"executed":false`},
		{"--to-offset 99", `"from":4,"to":4,"executed":false`},
		{"--shift-by -3", `"from":4,"to":1,"executed":false`},
		{"--shift-by -9", `"from":4,"to":0,"executed":false`},
		{"--by-duration 1h", `"from":4,"to":0,"executed":false`},
		{"--to-datetime 2100-01-01T00:00:00Z", `"from":4,"to":4,"executed":false`},
	} {
		code, out, stderr := s.cli(append(strings.Fields("group reset readers -o json -t t"), strings.Fields(c.args)...)...)
		if code != 0 || stderr != "" || !strings.Contains(out, c.want) {
			t.Errorf("group reset %s: exit %d, %q, %q; want %s", c.args, code, out, stderr, c.want)
		}
	}
	if out := s.ok("group", "reset", "readers", "--all-topics", "--to-offset", "2", "--execute"); !strings.Contains(out, "t      0          4     2") {
		t.Errorf("group reset: %q", out)
	}
	if got := s.ok("consume", "t", "-e", "-g", "readers"); got != "c\nd\n" {
		t.Errorf("after the reset: %q, expected c and d", got)
	}
	s.ok("group", "delete", "readers", "-t", "t")
	if out := s.ok("group", "describe", "readers", "-o", "json"); !strings.Contains(out, `"offsets":[]`) {
		t.Errorf("after the deletion of the offsets: %s", out)
	}
}

// TestClientErrorsAreOneLineEach: what to do stands in it.
func TestClientErrorsAreOneLineEach(t *testing.T) {
	s := serve(t)
	s.ok("topic", "create", "orders")
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"topic list -b 127.0.0.1:1", 1, "nobody listens on 127.0.0.1:1"},
		{"topic list -b http://h:1", 2, "give HOST:PORT"},
		{"topic list -b a:b:c", 2, "expected HOST:PORT"},
		{"topic list --tls", 1, "does it speak TLS there"},
		{"topic list --sasl PLAIN", 2, "needs --user"},
		{"topic list --user u", 2, "no mechanism"},
		{"topic list --sasl MAGIC --user u", 2, "it must be PLAIN"},
		{"topic list --ca-file absent.pem", 2, "absent.pem"},
		{"topic list --timeout soon", 2, "timeout"},
		{"consume ordrs -e", 1, `topic "ordrs" does not exist: did you mean "orders"?`},
		{"consume orders -e -p 7", 1, "topic orders has no partition 7"},
		{"consume orders -f %q", 2, "unknown %q"},
		{"consume orders -f %", 2, "ends with %"},
		{`consume orders -f \q`, 2, `unknown escape \q`},
		{"consume orders --from middle", 2, "is no place"},
		{"consume orders --from @yesterday", 2, "is no time"},
		{"consume orders --isolation none", 2, "committed or uncommitted"},
		{"consume orders -g g --from 7", 2, "a group goes on at its offsets"},
		{"consume orders -e --until 5", 2, "until"},
		{"consume", 2, "takes the names of the topics"},
		{"produce ordrs", 1, `did you mean "orders"?`},
		{"produce orders absent-file", 1, "absent-file"},
		{"produce orders --compression brotli", 2, "it must be none, gzip"},
		{"produce orders --acks some", 2, "it must be all"},
		{"produce orders --acks none --transactional-id x", 2, "needs --acks all"},
		{"produce", 2, "takes a topic"},
		{"group describe none", 1, `group "none" does not exist`},
		{"group reset g", 2, "say which topics"},
		{"group reset g -t orders", 2, "say where to"},
		{"group reset g -t orders:x --to-latest", 2, "is no partition"},
		{"group reset g -t orders --to-datetime soon", 2, "is no time"},
		{"group reset g -t orders --shift-by 1", 1, "no offset to shift"},
		{"group delete none", 1, `group "none" does not exist`},
		{"bench consume --topic orders", 1, "topic orders is empty"},
		{"bench produce --topic orders", 1, "topic orders exists: give --recreate"},
		{"bench produce --size 3", 2, "--size is 3"},
		{"bench latency --rate 0", 2, "--rate"},
		{"bench spead", 2, "unknown benchmark"},
		{"topic lst", 2, `did you mean "list"?`},
		{"group lst", 2, `did you mean "list"?`},
		{"dir exprt", 2, `did you mean "export"?`},
	} {
		args := strings.Fields(c.args)
		if !slices.Contains(args, "-b") && len(args) > 1 && !strings.Contains(c.want, "did you mean \"list") && !strings.Contains(c.want, "export") && args[1] != "spead" {
			args = append(args, "-b", s.addr)
		}
		code, out, stderr := millstream(t, args...)
		if code != c.code || out != "" || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit %d, stdout %q, stderr %q; want exit %d and one line with %q", c.args, code, out, stderr, c.code, c.want)
		}
	}
}

func TestBenchVerifiesWhatItCounts(t *testing.T) {
	s := serve(t)
	out := s.ok("bench", "produce", "--records", "3000", "--size", "50", "-p", "3", "--compression", "lz4", "-o", "json")
	if !strings.Contains(out, `"records":3000,"verified":true`) {
		t.Errorf("bench produce: %s", out)
	}
	if out := s.ok("bench", "consume", "--rounds", "2", "-o", "json"); !strings.Contains(out, `"records":6000,"bytes":300000,"rounds":2,"verified":true`) {
		t.Errorf("bench consume: %s", out)
	}
	s.send("a line that is no record of ours\n", "produce", "millstream-bench")
	if code, _, stderr := s.cli("bench", "consume"); code != 1 || !strings.Contains(stderr, "does not hold each record") {
		t.Errorf("bench consume of something else: exit %d, %q", code, stderr)
	}
	if out := s.ok("bench", "latency", "--rate", "500", "--duration", "1s", "--recreate", "-o", "json"); !strings.Contains(out, `"records":500,"verified":true`) {
		t.Errorf("bench latency: %s", out)
	}
}

// TestHelp holds every verb's help text: testdata/help.txt, written by -rewrite.
func TestHelp(t *testing.T) {
	var got bytes.Buffer
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		code, out, stderr := millstream(t, append(strings.Fields(cmd.CommandPath())[1:], "--help")...)
		if code != 0 || stderr != "" {
			t.Errorf("%s --help: exit %d, %q", cmd.CommandPath(), code, stderr)
		}
		got.WriteString("$ " + cmd.CommandPath() + " --help\n" + out + "\n")
		for _, c := range cmd.Commands() {
			if !c.Hidden {
				walk(c)
			}
		}
	}
	walk(newRoot())
	name := filepath.Join("testdata", "help.txt")
	if *rewrite {
		write(t, name, got.String())
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("help texts differ from %s; look at them and run with -rewrite", name)
	}
}
