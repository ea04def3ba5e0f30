package logclient_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
	"github.com/millstream-io/millstream/log/wire"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

func init() {
	for name, test := range atLeastOnceSuite {
		suite[name] = test
	}
}

// atLeastOnceSuite is what a writer without transactions must do, on every log.
var atLeastOnceSuite = map[string]func(*testing.T){
	"AtLeastOnceCommitsRecordsAndPositions":           TestAtLeastOnceCommitsRecordsAndPositions,
	"AtLeastOnceWritesNoPositionForAZombie":           TestAtLeastOnceWritesNoPositionForAZombie,
	"AtLeastOnceTakesMuchInEveryStage":                TestAtLeastOnceTakesMuchInEveryStage,
	"AtLeastOnceEndsATransactionalPredecessor":        TestAtLeastOnceEndsATransactionalPredecessor,
	"AtLeastOnceIsFollowedByATransactionalWriter":     TestAtLeastOnceIsFollowedByATransactionalWriter,
	"AtLeastOnceNamesARecordThatIsTooLargeAndGoesOn":  TestAtLeastOnceNamesARecordThatIsTooLargeAndGoesOn,
	"AtLeastOnceWithAnEndedContextWritesNoPosition":   TestAtLeastOnceWithAnEndedContextWritesNoPosition,
	"AtLeastOnceSaysThatItsTopicIsGone":               TestAtLeastOnceSaysThatItsTopicIsGone,
	"AtLeastOnceWritersAtOnceLoseNothingOfEachOthers": TestAtLeastOnceWritersAtOnceLoseNothingOfEachOthers,
}

// TestSuiteAtLeastOnceOnServe runs it on a server in the test's process.
func TestSuiteAtLeastOnceOnServe(t *testing.T) {
	saved := implementations
	defer func() { implementations, settling = saved, 0 }()
	settling = patience
	addr := serveHere(t)
	implementations = []implementation{{"serve", func(t testing.TB) (logclient.Log, func() logclient.Log) { return openCluster(t, []string{addr}) }}}
	for name, test := range atLeastOnceSuite {
		t.Run(name, test)
	}
}

// serveHere is `millstream serve` within the test's process, in memory.
func serveHere(t testing.TB) (addr string) {
	t.Helper()
	b := must(broker.Open(broker.Config{Dir: "/data", FS: vfs.NewMem(), GroupInitialDelay: -1}))(t)
	s := must(wire.New(wire.Config{Broker: b, Listeners: []wire.Listener{{Addr: "127.0.0.1:0"}}}))(t)
	noError(t, s.Listen())
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-served, b.Close()); err != nil {
			t.Error(err)
		}
	})
	return s.Addrs()[0].String()
}

// stageOf the topics of these tests, by their names.
func stageOf(topic string) logclient.Stage {
	switch {
	case strings.HasSuffix(topic, "changelog"):
		return logclient.StageState
	case strings.HasSuffix(topic, "positions"):
		return logclient.StagePosition
	}
	return logclient.StageOutput
}

func aloWriter(t testing.TB, log logclient.Log, id logclient.TxnID, g func() logclient.Generation) logclient.Writer {
	t.Helper()
	w := must(log.Writer(testContext(t), id, logclient.WriterConfig{AtLeastOnce: true, Stage: stageOf, Generation: g}))(t)
	t.Cleanup(func() { w.Close() })
	return w
}

// aloTopics makes an input with four records and what an application writes.
func aloTopics(t testing.TB, log logclient.Log) {
	t.Helper()
	for _, topic := range []string{"in", "out", "changelog", "positions"} {
		ensure(t, log, topic, 1)
	}
	load(t, log, tp("in", 0), "0", "1", "2", "3")
}

var everything = []string{"out", "changelog", "positions"}

func TestAtLeastOnceCommitsRecordsAndPositions(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ctx := testContext(t)
		aloTopics(t, log)
		m, a := join(t, log, "app", "in")
		w := aloWriter(t, log, "w", m.Generation)
		equal(t, "nothing", len(commit(t, w)), 0)
		for round := range 3 {
			for _, topic := range everything {
				write(t, w, tp(topic, 0), fmt.Sprint(round), "x")
			}
			done := must(w.Commit(ctx, logclient.Positions{tp("in", 0): {Offset: record.Offset(round + 1), Metadata: "so far"}}, a.Generation))(t)
			equal(t, "partitions written", len(done), 3)
			for _, topic := range everything {
				read := readTo(t, log, logclient.ReaderConfig{}, logclient.AtStable, offsets{tp(topic, 0): 0}, 1<<20)[tp(topic, 0)]
				equal(t, topic+": the offset after the last record", done[tp(topic, 0)].Offset, read[len(read)-1].offset+1)
				equal(t, topic, len(read), 2*(round+1))
			}
			equal(t, "the position", must(m.Committed(ctx, all("in", 1)))(t), positions{tp("in", 0): {Offset: record.Offset(round + 1), Metadata: "so far"}})
			write(t, w, tp("out", 0), "dropped")
			equal(t, "something is buffered", w.Buffered() > 0, true)
			noError(t, w.Abort(ctx))
			equal(t, "nothing is buffered", w.Buffered(), 0)
		}
		equal(t, "output", committedValues(t, log, tp("out", 0)), []string{"0", "x", "1", "x", "2", "x"})
	})
}

func TestAtLeastOnceWritesNoPositionForAZombie(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ctx := testContext(t)
		aloTopics(t, log)
		m, a := join(t, log, "app", "in")
		g := a.Generation
		older, stranger := g, g
		older.ID--
		stranger.Member += "x"
		for what, g := range map[string]logclient.Generation{"an older generation": older, "another member": stranger} {
			w := aloWriter(t, log, "w", func() logclient.Generation { return g })
			for _, topic := range everything {
				write(t, w, tp(topic, 0), what)
			}
			_, err := w.Commit(ctx, logclient.Positions{tp("in", 0): {Offset: 1}}, g)
			if logclient.Classify(err) != logclient.ClassRebalanced {
				t.Fatalf("%s: %v, expected ErrRebalanced", what, err)
			}
			noError(t, w.Abort(ctx))
			for _, topic := range []string{"changelog", "positions"} {
				equal(t, what+": "+topic, committedValues(t, log, tp(topic, 0)), []string{})
			}
			equal(t, "the group's position", must(m.Committed(ctx, all("in", 1)))(t), positions{})
			write(t, w, tp("positions", 0), what+" after all") // of a source: no input positions
			commit(t, w)
			equal(t, "the writer goes on", committedValues(t, log, tp("positions", 0)), []string{what + " after all"})
			noError(t, log.DeleteBefore(ctx, map[record.TopicPartition]record.Offset{tp("positions", 0): lookup(t, log, tp("positions", 0), logclient.At{Kind: logclient.AtEnd}).Offset}))
		}
	})
}

func TestAtLeastOnceTakesMuchInEveryStage(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ctx := testContext(t)
		aloTopics(t, log)
		m, a := join(t, log, "app", "in")
		w := aloWriter(t, log, "w", m.Generation)
		var want []string
		for round := range 2 {
			for i := range 3 {
				for _, topic := range everything {
					flushed(t, w, tp(topic, 0), fmt.Sprint(round, i)) // 1 MiB
				}
				for n := range 128 {
					want = append(want, fmt.Sprintf("%d %d-%03d", round, i, n))
				}
			}
			if n := w.Buffered(); n > 16<<20 {
				t.Errorf("%d bytes are buffered", n)
			}
			equal(t, "partitions written", len(must(w.Commit(ctx, logclient.Positions{tp("in", 0): {Offset: 1}}, a.Generation))(t)), 3)
			equal(t, "nothing is buffered", w.Buffered(), 0)
			flushed(t, w, tp("positions", 0), "dropped")
			flushed(t, w, tp("positions", 0), "dropped") // more than a batch
			noError(t, w.Abort(ctx))
		}
		for _, topic := range everything {
			var got []string
			for _, v := range committedValues(t, log, tp(topic, 0)) {
				got = append(got, strings.Join(strings.Split(v, "-")[:2], "-"))
			}
			equal(t, topic, got, want)
		}
	})
}

func TestAtLeastOnceEndsATransactionalPredecessor(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		aloTopics(t, log)
		out := tp("out", 0)
		first := newWriter(t, log, "w")
		flushed(t, first, out, "lost")
		second := aloWriter(t, log, "w", nil)
		equal(t, "its transaction has ended", lookup(t, log, out, logclient.At{Kind: logclient.AtStable}), lookup(t, log, out, logclient.At{Kind: logclient.AtEnd}))
		_, err := first.Commit(testContext(t), nil, logclient.Generation{})
		equal(t, "the first", logclient.Classify(err), logclient.ClassFenced)
		write(t, second, out, "kept")
		commit(t, second)
		equal(t, "records", committedValues(t, log, out), []string{"kept"})
	})
}

func TestAtLeastOnceIsFollowedByATransactionalWriter(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		aloTopics(t, log)
		m, a := join(t, log, "app", "in")
		w := aloWriter(t, log, "w", m.Generation)
		write(t, w, tp("out", 0), "a")
		must(w.Commit(testContext(t), logclient.Positions{tp("in", 0): {Offset: 1, Metadata: "plain"}}, a.Generation))(t)
		noError(t, w.Close())
		w = newWriter(t, log, "w")
		write(t, w, tp("out", 0), "b")
		must(w.Commit(testContext(t), logclient.Positions{tp("in", 0): {Offset: 2}}, a.Generation))(t)
		equal(t, "records", committedValues(t, log, tp("out", 0)), []string{"a", "b"})
		equal(t, "the position", must(m.Committed(testContext(t), all("in", 1)))(t), positions{tp("in", 0): {Offset: 2}})
	})
}

func TestAtLeastOnceNamesARecordThatIsTooLargeAndGoesOn(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		aloTopics(t, log)
		for _, topic := range everything {
			w := aloWriter(t, log, "w", nil)
			err := w.Append(tp(topic, 0), &record.View{Value: make([]byte, 3<<20)})
			if err == nil {
				_, err = w.Commit(testContext(t), nil, logclient.Generation{})
			}
			var large *logclient.RecordTooLargeError
			if !errors.As(err, &large) {
				t.Fatalf("%s: %v, expected a RecordTooLargeError", topic, err)
			}
			noError(t, w.Abort(testContext(t)))
			write(t, w, tp(topic, 0), "after")
			commit(t, w)
			equal(t, topic, committedValues(t, log, tp(topic, 0)), []string{"after"})
		}
	})
}

func TestAtLeastOnceWithAnEndedContextWritesNoPosition(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		aloTopics(t, log)
		w := aloWriter(t, log, "w", nil)
		write(t, w, tp("positions", 0), "a")
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := w.Commit(ended, nil, logclient.Generation{}); logclient.Classify(err) != logclient.ClassRetryable {
			t.Fatalf("%v, expected an error that can be retried", err)
		}
		noError(t, w.Abort(testContext(t)))
		write(t, w, tp("positions", 0), "b")
		commit(t, w)
		equal(t, "records", committedValues(t, log, tp("positions", 0)), []string{"b"})
	})
}

func TestAtLeastOnceSaysThatItsTopicIsGone(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		w := aloWriter(t, log, "w", nil)
		if err := w.Append(tp("none", 0), &record.View{}); !errors.Is(err, logclient.ErrUnknownTopic) {
			t.Fatalf("%v, expected ErrUnknownTopic", err)
		}
	})
}

func TestAtLeastOnceWritersAtOnceLoseNothingOfEachOthers(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		aloTopics(t, log)
		const writers, rounds = 4, 20
		done := make(chan error, writers)
		for n := range writers {
			w := aloWriter(t, log, logclient.TxnID(fmt.Sprint("w", n)), nil)
			go func() {
				var err error
				for r := 0; r < rounds && err == nil; r++ {
					v := record.View{Value: fmt.Appendf(nil, "%d %d", n, r)}
					err = errors.Join(w.Append(tp("out", 0), &v), w.Append(tp("positions", 0), &v))
					if err == nil {
						_, err = w.Commit(t.Context(), nil, logclient.Generation{})
					}
				}
				done <- err
			}()
		}
		for range writers {
			noError(t, <-done)
		}
		for _, topic := range []string{"out", "positions"} {
			next := [writers]int{}
			for _, v := range committedValues(t, log, tp(topic, 0)) {
				var n, r int
				if _, err := fmt.Sscan(v, &n, &r); err != nil || r != next[n] {
					t.Fatalf("%s: %q, expected round %d of writer %d", topic, v, next[n], n)
				}
				next[n]++
			}
			equal(t, topic, next, [writers]int{rounds, rounds, rounds, rounds})
		}
	})
}
