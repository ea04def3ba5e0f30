package memlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

var in, out = record.TopicPartition{Topic: "in"}, record.TopicPartition{Topic: "out"}

func newLog(t *testing.T, cfg Config) *Log {
	l := New(cfg)
	_, err := l.Ensure(t.Context(), []logclient.TopicSpec{{Name: "in", Partitions: 1}, {Name: "out", Partitions: 1}})
	check(t, err)
	return l
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newWriter(t *testing.T, l *Log) logclient.Writer {
	t.Helper()
	w, err := l.Writer(t.Context(), "w", logclient.WriterConfig{})
	check(t, err)
	return w
}

func joined(t *testing.T, l *Log) (logclient.Member, logclient.Generation) {
	t.Helper()
	m, err := l.Join(t.Context(), logclient.MemberConfig{Group: "app", Topics: []string{"in"}})
	check(t, err)
	a, err := m.Next(t.Context())
	check(t, err)
	return m, a.Generation
}

func view(value string) record.View { return record.View{Key: []byte("k"), Value: []byte(value)} }

func add(t *testing.T, w logclient.Writer, value string) {
	t.Helper()
	v := view(value)
	check(t, w.Append(out, &v))
}

func have(l *Log, tp record.TopicPartition) string {
	var s []string
	for _, v := range l.Records(tp) {
		s = append(s, string(v.Value))
	}
	return strings.Join(s, " ")
}

func expect(t *testing.T, what, have, expected string) {
	t.Helper()
	if have != expected {
		t.Fatalf("%s: %q, expected %q", what, have, expected)
	}
}

// commitOne writes one record and commits it with position 1.
func commitOne(t *testing.T, w logclient.Writer, g logclient.Generation, value string) error {
	t.Helper()
	add(t, w, value)
	_, err := w.Commit(t.Context(), logclient.Positions{in: {Offset: 1}}, g)
	return err
}

func TestCommitFaults(t *testing.T) {
	for _, c := range []struct {
		fault     CommitFault
		class     logclient.Class
		committed bool
		usable    bool // after Abort
	}{
		{FailBefore, logclient.ClassUnknownOutcome, false, false},
		{FailAfter, logclient.ClassUnknownOutcome, true, false},
		{FailFenced, logclient.ClassFenced, false, false},
		{FailRebalanced, logclient.ClassRebalanced, false, true},
		{FailUnavailable, logclient.ClassRetryable, false, true},
	} {
		l := newLog(t, Config{})
		_, g := joined(t, l)
		w := newWriter(t, l)
		l.FailNextCommit("w", c.fault)
		if err := commitOne(t, w, g, "a"); logclient.Classify(err) != c.class {
			t.Fatalf("fault %d: %v, expected class %v", c.fault, err, c.class)
		}
		if err := w.Abort(t.Context()); (err == nil) != c.usable {
			t.Fatalf("fault %d: Abort: %v", c.fault, err)
		}
		if !c.usable {
			w = newWriter(t, l) // decides what was open
		}
		expected := ""
		if c.committed {
			expected = "a"
		}
		expect(t, fmt.Sprint("records after fault ", c.fault), have(l, out), expected)
		if n := len(l.Positions("app")); (n == 1) != c.committed {
			t.Fatalf("fault %d: %d positions", c.fault, n)
		}
		check(t, commitOne(t, w, g, "b"))
		expect(t, "the next transaction", have(l, out), strings.TrimSpace(expected+" b"))
	}
}

func TestCommittedWaitsOutPendingPositions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, Config{})
		m, g := joined(t, l)
		w := newWriter(t, l)
		l.FailNextCommit("", FailBefore)
		if err := commitOne(t, w, g, "a"); !errors.Is(err, logclient.ErrUnknownOutcome) {
			t.Fatal(err)
		}
		done := false
		go func() {
			if p, err := m.Committed(t.Context(), []record.TopicPartition{in}); err != nil || len(p) != 0 {
				t.Errorf("positions %v, error %v", p, err)
			}
			done = true
		}()
		synctest.Wait()
		if done {
			t.Fatal("Committed returned although a transaction with positions is open")
		}
		newWriter(t, l)
		synctest.Wait()
		if !done {
			t.Fatal("Committed still waits although the transaction was aborted")
		}
	})
}

func TestPollBlocksUntilSomethingIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, Config{BatchBytes: 1})
		r, err := l.Reader(logclient.ReaderConfig{})
		check(t, err)
		r.Assign(map[record.TopicPartition]record.Offset{out: 0})
		got := make(chan string, 1)
		go func() {
			batches, err := r.Poll(t.Context(), 1)
			if err != nil {
				t.Error(err)
				return
			}
			var v record.View
			batches[0].Next(&v)
			got <- string(v.Value)
		}()
		w := newWriter(t, l)
		add(t, w, "a")
		synctest.Wait()
		if len(got) != 0 {
			t.Fatal("an undecided record was read")
		}
		_, err = w.Commit(t.Context(), nil, logclient.Generation{})
		check(t, err)
		synctest.Wait()
		if len(got) != 1 {
			t.Fatal("the commit woke nobody")
		}
		l.FailNextPoll(errors.New("planted"))
		if _, err := r.Poll(t.Context(), 1); err == nil || err.Error() != "planted" {
			t.Fatalf("got %v, expected the planted error", err)
		}
	})
}

func lentBy(t *testing.T, l *Log, cfg logclient.ReaderConfig) logclient.Batch {
	t.Helper()
	r, err := l.Reader(cfg)
	check(t, err)
	r.Assign(map[record.TopicPartition]record.Offset{in: 0})
	batches, err := r.Poll(t.Context(), 1)
	check(t, err)
	return batches[0]
}

func TestMisuseOfLentMemoryShows(t *testing.T) {
	l := newLog(t, Config{})
	l.Produce(in, record.View{Key: []byte("k1"), Value: []byte("v1"), Headers: []record.Header{{Key: "h", Value: []byte("x")}}}, view("v2"))
	b := lentBy(t, l, logclient.ReaderConfig{})
	var first, second record.View
	b.Next(&first)
	key, header := first.Key, first.Headers[0]
	expect(t, "the first record", string(key)+header.Key+string(header.Value), "k1hx")
	b.Next(&second)
	expect(t, "its key after the next record", string(key), "\xdb\xdb")
	expect(t, "its header's key", header.Key, "\xdb")
	value := second.Value
	b.Release()
	expect(t, "a value after Release", string(value), "\xdb\xdb")
	for what, misuse := range map[string]func(){
		"Next after Release": func() { b.Next(&first) },
		"a second Release":   b.Release,
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic", what)
				}
			}()
			misuse()
		}()
	}
	expect(t, "the log itself", have(l, in), "v1 v2")

	b = lentBy(t, l, logclient.ReaderConfig{KeepChunks: true})
	b.Next(&first)
	b.Next(&second)
	b.Release()
	expect(t, "kept values", string(first.Value)+string(second.Value), "v1v2")
}

func TestRebalanceGivesANewAssignment(t *testing.T) {
	l := newLog(t, Config{})
	m, g := joined(t, l)
	w := newWriter(t, l)
	l.Rebalance("app", in)
	if err := commitOne(t, w, g, "a"); !errors.Is(err, logclient.ErrRebalanced) {
		t.Fatalf("a commit of the old generation: %v", err)
	}
	check(t, w.Abort(t.Context()))
	a, err := m.Next(t.Context())
	check(t, err)
	check(t, commitOne(t, w, a.Generation, "b"))
	expect(t, "records", have(l, out), "b")
}

func TestReopenEndsTheOldHandle(t *testing.T) {
	l := newLog(t, Config{})
	m, g := joined(t, l)
	w := newWriter(t, l)
	check(t, commitOne(t, w, g, "a"))
	n := l.Reopen()
	if err := commitOneError(w, g); !errors.Is(err, logclient.ErrClosed) {
		t.Fatalf("the old writer: %v", err)
	}
	if _, err := m.Next(t.Context()); !errors.Is(err, logclient.ErrClosed) {
		t.Fatalf("the old member: %v", err)
	}
	check(t, l.Close()) // of the old handle: nothing to the new one
	_, g = joined(t, n)
	check(t, commitOne(t, newWriter(t, n), g, "b"))
	expect(t, "records", have(n, out), "a b")
}

func commitOneError(w logclient.Writer, g logclient.Generation) error {
	v := view("x")
	if err := w.Append(out, &v); err != nil {
		return err
	}
	_, err := w.Commit(context.Background(), nil, g)
	return err
}

func TestCrashCutsRaisesEpochsAndAborts(t *testing.T) {
	l := newLog(t, Config{BatchBytes: 1})
	_, g := joined(t, l)
	w := newWriter(t, l)
	for _, v := range []string{"a", "b", "c"} { // offsets 0, 2, 4 and markers after each
		check(t, commitOne(t, w, g, v))
	}
	l = l.Crash(map[record.TopicPartition]record.Offset{out: 3}) // b has lost its marker
	if l.CleanStart() {
		t.Error("a crash is a clean start")
	}
	expect(t, "records", have(l, out), "a")
	found, err := l.Offsets(t.Context(), []record.TopicPartition{out}, logclient.At{Kind: logclient.AtEndOfEpoch, Epoch: 0})
	check(t, err)
	if found[0] != (logclient.OffsetEpoch{Offset: 3, Epoch: 0}) {
		t.Fatalf("the old epoch ends at %+v, expected offset 3", found[0])
	}
	_, g = joined(t, l)
	check(t, commitOne(t, newWriter(t, l), g, "d"))
	expect(t, "records after it", have(l, out), "a d")
	end, err := l.Offsets(t.Context(), []record.TopicPartition{out}, logclient.At{Kind: logclient.AtEnd})
	check(t, err)
	if end[0].Epoch != 1 {
		t.Fatalf("the end is %+v, expected epoch 1", end[0])
	}
}

func TestCompactKeepsTheLastOfEachKeyAndHonoursHold(t *testing.T) {
	l := newLog(t, Config{})
	kv := func(k, v string) record.View {
		r := record.View{Key: []byte(k), Value: []byte(v)}
		if v == "" {
			r.Value = nil
		}
		return r
	}
	l.Produce(in, kv("a", "a1"), kv("b", "b1"), kv("a", "a2"), kv("b", ""), kv("c", ""))
	l.Hold(in, 4)
	if gone := l.Compact(in, true); gone != 3 { // a1, b1, b's tombstone; c's is held
		t.Fatalf("%d records went, expected 3", gone)
	}
	rs := l.Records(in)
	if len(rs) != 2 || rs[0].Offset != 2 || rs[1].Offset != 4 {
		t.Fatalf("left: %+v", rs)
	}
}

func TestExpiredTransactionsAreFenced(t *testing.T) {
	now := time.Unix(0, 0)
	l := newLog(t, Config{BatchBytes: 1, Now: func() time.Time { return now }})
	w := newWriter(t, l)
	add(t, w, "a")
	now = now.Add(59 * time.Second)
	l.ExpireTransactions()
	add(t, w, "b")
	now = now.Add(time.Second)
	l.ExpireTransactions()
	if _, err := w.Commit(t.Context(), nil, logclient.Generation{}); !errors.Is(err, logclient.ErrFenced) {
		t.Fatalf("got %v, expected ErrFenced", err)
	}
	expect(t, "records", have(l, out), "")
}

func TestBeforeCommitSeesWhatIsAboutToHappen(t *testing.T) {
	var seen logclient.Positions
	fail := errors.New("planted")
	var l *Log
	l = newLog(t, Config{BeforeCommit: func(id logclient.TxnID, in logclient.Positions) error {
		seen = in
		if have(l, out) != "" { // no lock is held: the log may be looked at
			t.Error("something is committed already")
		}
		return fail
	}})
	_, g := joined(t, l)
	w := newWriter(t, l)
	if err := commitOne(t, w, g, "a"); err != fail {
		t.Fatalf("got %v, expected the hook's error", err)
	}
	if seen[in].Offset != 1 {
		t.Fatalf("positions %v", seen)
	}
	newWriter(t, l)
	expect(t, "records", have(l, out), "")
}
