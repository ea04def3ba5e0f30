package txn

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/log/record"
)

var rewrite = flag.Bool("rewrite", false, "write what is found into the transcripts")

// TestTranscripts runs testdata/*.txt: a line that begins with "> " is an
// event, what follows is what comes out of it.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) { transcript(t, name) })
	}
}

func transcript(t *testing.T, name string) {
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	s := newScript()
	var got strings.Builder
	for _, line := range strings.Split(strings.TrimRight(string(want), "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "> "):
			fmt.Fprintln(&got, line)
			if out := s.run(strings.Fields(line[2:])); out != "" {
				fmt.Fprintln(&got, strings.TrimRight(out, "\n"))
			}
		case strings.HasPrefix(line, "#") || line == "":
			fmt.Fprintln(&got, line)
		}
	}
	if *rewrite {
		if err := os.WriteFile(name, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got.String() != string(want) {
		t.Errorf("%s (go test -rewrite accepts it):\nexpected:\n%s\nfound:\n%s", name, want, got.String())
	}
}

// script is a core with what its caller keeps: the clock, the log, the last step.
type script struct {
	core *Core
	now  int64
	next record.ProducerID
	log  [][2][]byte
	ends record.Offset
	lost bool // the next append fails

	noIDs bool // allocation of producer ids fails
}

func newScript() *script {
	s := &script{now: 1000, next: 7}
	s.core = s.newCore()
	return s
}

func (s *script) newCore() *Core {
	return New(Config{MaxTimeoutMS: 100_000, ExpiryMS: 1_000_000, NewProducerID: func() (record.ProducerID, error) {
		if s.noIDs {
			return 0, errNoIDs
		}
		s.next++
		return s.next - 1, nil
	}})
}

var errNoIDs = errors.New("no producer ids")

func identity(s string) Identity {
	a, b, ok := strings.Cut(s, "/")
	if !ok {
		return NoIdentity
	}
	pid, _ := strconv.ParseInt(a, 10, 64)
	epoch, _ := strconv.ParseInt(b, 10, 16)
	return Identity{record.ProducerID(pid), record.ProducerEpoch(epoch)}
}

func partitions(args []string) []record.TopicPartition {
	var out []record.TopicPartition
	for _, a := range args {
		topic, n, _ := strings.Cut(a, "-")
		i, _ := strconv.Atoi(n)
		out = append(out, record.TopicPartition{Topic: topic, Partition: record.Partition(i)})
	}
	return out
}

func (s *script) run(a []string) string {
	arg := func(i int) string {
		if i < len(a) {
			return a[i]
		}
		return ""
	}
	number := func(i int) int64 { n, _ := strconv.ParseInt(arg(i), 10, 64); return n }
	switch a[0] {
	case "now":
		s.now = number(1)
		return ""
	case "fail": // the next record is not written
		s.lost = true
		return ""
	case "epoch": // as after many fencings
		t := s.core.ids[arg(1)].clone()
		t.Epoch = record.ProducerEpoch(number(2))
		s.core.ids[arg(1)] = t
		return ""
	case "init": // id timeout current
		return s.step(s.core.Init(arg(1), number(2), identity(arg(3)), s.now))
	case "add":
		return s.step(s.core.Add(arg(1), identity(arg(2)), partitions(a[3:]), false, s.now))
	case "join": // as a produce request of KIP-890's protocol
		return s.step(s.core.Add(arg(1), identity(arg(2)), partitions(a[3:]), true, s.now))
	case "verify":
		t, err := s.core.Verify(arg(1), identity(arg(2)))
		if err != nil {
			return "error: " + err.Error()
		}
		return fmt.Sprintf("%v %v", t.State, t.Has(partitions(a[3:])[0]))
	case "end":
		return s.step(s.core.End(arg(1), identity(arg(2)), arg(3) == "commit", s.now))
	case "bump": // end by KIP-890's protocol
		return s.step(s.core.EndAndBump(arg(1), identity(arg(2)), arg(3) == "commit", s.now))
	case "noids":
		s.noIDs = arg(1) == "on"
		return ""
	case "markers":
		s.core.MarkersWritten(arg(1))
		return s.show(s.core.Get(arg(1)))
	case "complete":
		return s.step(s.core.Complete(arg(1), s.now))
	case "due":
		return strings.Join(s.core.Due(s.now), " ")
	case "tick":
		return s.step(s.core.Tick(arg(1), s.now))
	case "newboot": // id, greatest epoch in a partition
		var seen record.ProducerEpoch
		if len(a) > 2 {
			seen = record.ProducerEpoch(number(2))
		}
		return s.step(s.core.NewBoot(arg(1), seen, s.now))
	case "show":
		return s.show(s.core.Get(arg(1)))
	case "replay": // a new coordinator over the same log
		s.core = s.newCore()
		for _, r := range s.log {
			if err := s.core.Replay(r[0], r[1]); err != nil {
				return err.Error()
			}
		}
		var out strings.Builder
		for _, t := range s.core.All() {
			fmt.Fprintln(&out, s.show(t))
		}
		for _, t := range s.core.Undone() {
			fmt.Fprintln(&out, "undone:", s.show(t))
		}
		return out.String()
	}
	return "unknown command " + a[0]
}

// step does what log/broker does with a step, and tells.
func (s *script) step(st Step) string {
	if st.Err != nil {
		return "error: " + st.Err.Error()
	}
	var out strings.Builder
	if st.Next != nil {
		if st.Markers {
			for range st.Next.Partitions {
				s.ends += 10
				st.Next.Ends = append(st.Next.Ends, End{Offset: s.ends})
			}
		}
		key, value := st.Record()
		verb := "append"
		if st.Sync {
			verb = "append+sync"
		}
		if s.lost {
			s.lost = false
			return verb + " fails"
		}
		s.log = append(s.log, [2][]byte{key, value})
		s.core.Apply(st)
		s.checkRecord(&out, st.Next)
		if st.Tombstone {
			fmt.Fprintf(&out, "%s tombstone of %s\n", verb, st.Next.TransactionalID)
		} else {
			fmt.Fprintln(&out, verb, s.show(st.Next))
		}
	}
	if st.Markers {
		fmt.Fprintln(&out, "write markers")
	}
	if st.Identity != (Identity{}) {
		fmt.Fprintf(&out, "reply %d/%d\n", st.Identity.ID, st.Identity.Epoch)
	}
	if st.Again {
		fmt.Fprintln(&out, "and again")
	}
	if out.Len() == 0 {
		return "nothing"
	}
	return out.String()
}

// checkRecord says so if the log does not hold what was applied: a coordinator
// that stops after any record must come back with the same.
func (s *script) checkRecord(out io.Writer, t *Txn) {
	c := s.newCore()
	for _, r := range s.log {
		if err := c.Replay(r[0], r[1]); err != nil {
			fmt.Fprintln(out, "REPLAY FAILS:", err)
		}
	}
	found, expected := c.Get(t.TransactionalID), s.core.Get(t.TransactionalID)
	if expected != nil {
		e := *expected
		e.LastEpoch = record.NoProducerEpoch // in memory only
		expected = &e
	}
	if s.show(found) != s.show(expected) || found != nil && (found.TimeoutMS != t.TimeoutMS || found.StartMS != t.StartMS || found.UpdateMS != t.UpdateMS) {
		fmt.Fprintln(out, "REPLAY DIFFERS:", s.show(found))
	}
}

func (s *script) show(t *Txn) string {
	if t == nil {
		return "none"
	}
	out := fmt.Sprintf("%s %d/%d %v", t.TransactionalID, t.ID, t.Epoch, t.State)
	for i, tp := range t.Partitions {
		out += fmt.Sprintf(" %s-%d", tp.Topic, tp.Partition)
		if t.Ends != nil {
			out += fmt.Sprintf("<%d", t.Ends[i].Offset)
		}
	}
	if t.Implicit() {
		out += " v2"
	}
	if t.Next != record.NoProducerID {
		out += fmt.Sprintf(" next=%d", t.Next)
	}
	if t.Previous != t.ID && t.Previous != record.NoProducerID {
		out += fmt.Sprintf(" previous=%d", t.Previous)
	}
	if t.LastEpoch != record.NoProducerEpoch {
		out += fmt.Sprintf(" last=%d", t.LastEpoch)
	}
	if t.Unlogged {
		out += " unlogged"
	}
	return out
}

func TestARecordThatIsNotATransactionsIsRefused(t *testing.T) {
	c := New(Config{})
	good := Step{Next: &Txn{TransactionalID: "x", Identity: Identity{1, 2}, State: Ongoing, Partitions: partitions([]string{"a-0", "b-3"})}}
	key, value := good.Record()
	if err := c.Replay(key, value); err != nil {
		t.Fatal(err)
	}
	for name, kv := range map[string][2][]byte{
		"empty key":       {{}, value},
		"other version":   {{0, 9, 0, 1, 'x'}, value},
		"cut value":       {key, value[:len(value)-3]},
		"unknown state":   {key, append(append([]byte{}, value[:16]...), append([]byte{77}, value[17:]...)...)},
		"unknown version": {key, append([]byte{0, 9}, value[2:]...)},
	} {
		if err := c.Replay(kv[0], kv[1]); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
