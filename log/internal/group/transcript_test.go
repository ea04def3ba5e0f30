package group

import (
	"errors"
	"flag"
	"fmt"
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

// script is a core with what its caller keeps: the clock and the log.
type script struct {
	core *Core
	now  int64
	log  []logged
	ids  int
	lost bool
}

type logged struct {
	Record
	pid    record.ProducerID // of a transactional record, else NoProducerID
	marker string            // commit or abort, of a marker
}

func newScript() *script {
	return &script{core: New(Config{OffsetsRetentionMS: 10_000, MinSessionMS: 10}), now: 1000}
}

// options reads name=value arguments.
func options(a []string) map[string]string {
	out := map[string]string{}
	for _, s := range a {
		k, v, _ := strings.Cut(s, "=")
		out[k] = v
	}
	return out
}

func number(s string, or int64) int64 {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n
	}
	return or
}

// offsets reads a-0:12 arguments.
func offsets(a []string) Offsets {
	out := Offsets{}
	for _, s := range a {
		if tp, o, ok := strings.Cut(s, ":"); ok {
			topic, n, _ := strings.Cut(tp, "-")
			out[record.TopicPartition{Topic: topic, Partition: record.Partition(number(n, 0))}] = Committed{Offset: record.Offset(number(o, 0))}
		}
	}
	return out
}

func (s *script) run(a []string) string {
	o := options(a[1:])
	group := "g"
	commit := CommitRequest{Group: group, GenerationID: int32(number(o["gen"], -1)), MemberID: o["member"], Offsets: offsets(a[1:])}
	pid := record.ProducerID(number(o["pid"], -1))
	switch a[0] {
	case "now":
		s.now = number(a[1], 0)
		return ""
	case "fail":
		s.lost = true
		return ""
	case "join":
		s.ids++
		req := JoinRequest{Group: group, MemberID: o["member"], NewID: fmt.Sprint("m", s.ids), InstanceID: o["instance"], ClientID: "c",
			SessionMS: number(o["session"], 1000), RebalanceMS: number(o["rebalance"], 2000), ProtocolType: "consumer"}
		for _, p := range strings.Split(o["protocols"], ",") {
			req.Protocols = append(req.Protocols, Protocol{p, []byte(o["topics"])})
		}
		return s.step(s.core.Join(req, "join#"+a[1], s.now), record.NoProducerID)
	case "sync":
		req := SyncRequest{Group: group, Generation: commit.GenerationID, MemberID: o["member"], Assignments: map[string][]byte{}}
		for k, v := range o {
			if strings.HasPrefix(k, "m") && k != "member" {
				req.Assignments[k] = []byte(v)
			}
		}
		return s.step(s.core.Sync(req, "sync#"+a[1], s.now), record.NoProducerID)
	case "heartbeat":
		if err := s.core.Heartbeat(group, o["member"], o["instance"], commit.GenerationID, s.now); err != nil {
			return "error: " + err.Error()
		}
		return "ok"
	case "leave":
		return s.step(s.core.Leave(group, o["member"], o["instance"], s.now), record.NoProducerID)
	case "commit":
		return s.step(s.core.Commit(commit, s.now), record.NoProducerID)
	case "txncommit":
		return s.step(s.core.TxnCommit(pid, commit, s.now), pid)
	case "marker":
		s.log = append(s.log, logged{pid: pid, marker: a[2]})
		return fmt.Sprint("settled ", s.core.Marker(pid, a[2] == "commit"))
	case "fetch":
		offs, unstable := s.core.Fetch(group, nil)
		out := ""
		for _, tp := range sorted(offs) {
			out += fmt.Sprintf("%s-%d:%d ", tp.Topic, tp.Partition, offs[tp].Offset)
		}
		if unstable {
			out += "unstable"
		}
		return out
	case "tick":
		var out strings.Builder
		for _, st := range s.core.Tick(s.now) {
			fmt.Fprintln(&out, s.step(st.Step, record.NoProducerID))
		}
		if at, ok := s.core.Deadline(); ok {
			fmt.Fprintf(&out, "next at %d\n", at)
		}
		return out.String()
	case "show":
		info, ok := s.core.Describe(group)
		if !ok {
			return "none"
		}
		out := fmt.Sprintf("%v generation %d leader %q", info.State, info.Generation, info.Leader)
		for _, m := range info.Members {
			out += fmt.Sprintf(" %s(%s)", m.ID, m.Assignment)
		}
		return out
	case "replay":
		return s.replay()
	}
	return "unknown command " + a[0]
}

func (s *script) replay() string {
	s.core = New(s.core.cfg)
	for at, r := range s.log {
		if r.marker != "" {
			s.core.Marker(r.pid, r.marker == "commit")
		} else if err := s.core.Replay(r.Key, r.Value, record.Offset(at), r.pid, s.now); err != nil {
			return err.Error()
		}
	}
	return ""
}

// step does what log/broker does with a step, and tells.
func (s *script) step(st Step, pid record.ProducerID) string {
	if st.Err != nil {
		return "error: " + st.Err.Error()
	}
	var out strings.Builder
	base, err := record.Offset(len(s.log)), error(nil)
	if len(st.Records) > 0 && s.lost {
		s.lost, err = false, errors.New("disk full")
		fmt.Fprintln(&out, "append fails")
	} else {
		for _, r := range st.Records {
			s.log = append(s.log, logged{Record: r, pid: pid})
			what := "offset"
			if r.Key[1] == groupKeyVersion {
				what = "group"
			}
			if r.Value == nil {
				what += " tombstone"
			}
			fmt.Fprintln(&out, "append", what)
		}
	}
	for _, r := range append(st.Replies, s.core.Done(st, base, err)...) {
		switch {
		case r.Err != nil:
			fmt.Fprintln(&out, r.Token, "error:", r.Err)
		case r.Join != nil:
			fmt.Fprintf(&out, "%v %s generation %d %s leader %s", r.Token, r.Join.MemberID, r.Join.Generation, r.Join.Protocol, r.Join.Leader)
			for _, m := range r.Join.Members {
				fmt.Fprintf(&out, " %s(%s)", m.ID, m.Metadata)
			}
			fmt.Fprintln(&out)
		default:
			fmt.Fprintf(&out, "%v assignment %s\n", r.Token, r.Assignment)
		}
	}
	if out.Len() == 0 {
		return "wait"
	}
	return strings.TrimRight(out.String(), "\n")
}

func TestRangeGivesRunsAndCoversEverything(t *testing.T) {
	members := []JoinedMember{
		{ID: "c", Metadata: Subscription([]string{"a", "b"})},
		{ID: "a", Metadata: Subscription([]string{"a"})},
		{ID: "b", Metadata: Subscription([]string{"a", "b", "missing"})},
	}
	got, err := AssignRange(members, func(topic string) int32 { return map[string]int32{"a": 7, "b": 1}[topic] })
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"a": "[{a 0} {a 1} {a 2}]",
		"b": "[{a 3} {a 4} {b 0}]",
		"c": "[{a 5} {a 6}]",
	}
	for id, w := range want {
		tps, err := DecodeAssignment(got[id])
		if err != nil || fmt.Sprint(tps) != w {
			t.Errorf("member %s: expected %s, found %v (%v)", id, w, tps, err)
		}
	}
}
