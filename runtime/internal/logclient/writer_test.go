package logclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

func TestTransactionIsAtomicOverPartitions(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ctx := testContext(t)
		ensure(t, log, "a", 3)
		ensure(t, log, "b", 2)
		tps := append(all("a", 3), all("b", 2)...)
		w := newWriter(t, log, "w")
		for round := range 3 {
			for _, tp := range tps {
				write(t, w, tp, fmt.Sprint("kept ", round))
			}
			done := commit(t, w)
			equal(t, "partitions written", len(done), len(tps))
			for _, tp := range tps {
				write(t, w, tp, "dropped")
			}
			noError(t, w.Abort(ctx))
		}
		for _, tp := range tps {
			equal(t, fmt.Sprint(tp), committedValues(t, log, tp), []string{"kept 0", "kept 1", "kept 2"})
		}
	})
}

func TestCommitTellsTheOffsetAfterTheLastRecord(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ensure(t, log, "in", 2)
		a, b := tp("in", 0), tp("in", 1)
		w := newWriter(t, log, "w")
		for range 3 {
			flushed(t, w, a, "large") // several batches
			write(t, w, b, "x", "y")
			done := commit(t, w)
			equal(t, "partitions", len(done), 2)
			for _, tp := range []record.TopicPartition{a, b} {
				records := readTo(t, log, logclient.ReaderConfig{}, logclient.AtStable, offsets{tp: 0}, 1<<20)[tp]
				equal(t, "the offset", done[tp].Offset, records[len(records)-1].offset+1)
				end := lookup(t, log, tp, logclient.At{Kind: logclient.AtEnd})
				equal(t, "the epoch", done[tp].Epoch, end.Epoch)
				equal(t, "the end, after the marker", end.Offset, done[tp].Offset+1)
			}
			write(t, w, b, "z")
			equal(t, "only what this transaction wrote", len(commit(t, w)), 1)
			write(t, w, a, "aborted")
			noError(t, w.Abort(testContext(t)))
		}
	})
}

func TestEmptyTransactions(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ctx := testContext(t)
		ensure(t, log, "in", 1)
		w := newWriter(t, log, "w")
		equal(t, "nothing committed", len(commit(t, w)), 0)
		noError(t, w.Abort(ctx))
		noError(t, w.Abort(ctx))
		equal(t, "the end", lookup(t, log, tp("in", 0), logclient.At{Kind: logclient.AtEnd}).Offset, 0)
		m, a := join(t, log, "app", "in")
		equal(t, "positions alone", len(must(w.Commit(ctx, logclient.Positions{tp("in", 0): {Offset: 0}}, a.Generation))(t)), 0)
		equal(t, "the position", len(must(m.Committed(ctx, all("in", 1)))(t)), 1)
		write(t, w, tp("in", 0), "a")
		commit(t, w)
		equal(t, "the writer goes on", committedValues(t, log, tp("in", 0)), []string{"a"})
	})
}

func TestBufferedIsBounded(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ensure(t, log, "in", 32)
		w := newWriter(t, log, "w")
		equal(t, "before anything", w.Buffered(), 0)
		value := bytes.Repeat([]byte("v"), 1<<10)
		some := 0
		for i := range 16 << 10 {
			noError(t, w.Append(tp("in", i%32), &record.View{Value: value}))
			some = max(some, w.Buffered())
		}
		if some == 0 || some > 8<<20 {
			t.Errorf("of 16 MiB appended %d bytes were in the buffers, expected more than none and at most 8 MiB", some)
		}
		commit(t, w)
		equal(t, "after the commit", w.Buffered(), 0)
		write(t, w, tp("in", 0), "x")
		noError(t, w.Abort(testContext(t)))
		equal(t, "after an abort", w.Buffered(), 0)
		equal(t, "records", len(committedValues(t, log, tp("in", 31))), 512)
	})
}

func TestSecondWriterFencesTheFirst(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ctx := testContext(t)
		ensure(t, log, "in", 1)
		in := tp("in", 0)
		m, a := join(t, log, "app", "in")
		first := newWriter(t, log, "w")
		write(t, first, in, "0")
		commit(t, first)
		flushed(t, first, in, "lost")

		second := newWriter(t, log, "w")
		equal(t, "the successor ends the transaction", lookup(t, log, in, logclient.At{Kind: logclient.AtStable}), lookup(t, log, in, logclient.At{Kind: logclient.AtEnd}))
		_, err := first.Commit(ctx, logclient.Positions{in: {Offset: 1}}, a.Generation)
		if !errors.Is(err, logclient.ErrFenced) || logclient.Classify(err) != logclient.ClassFenced {
			t.Fatalf("Commit of the first: %v, expected ErrFenced", err)
		}
		write(t, second, in, "1")
		commit(t, second)
		for range 2 { // the first stays fenced
			if err := first.Append(in, &record.View{Value: []byte("zombie")}); err == nil {
				_, err = first.Commit(ctx, nil, logclient.Generation{})
				if !errors.Is(err, logclient.ErrFenced) {
					t.Fatalf("Commit of the first, again: %v, expected ErrFenced", err)
				}
			}
			if err := first.Abort(ctx); err != nil && !errors.Is(err, logclient.ErrFenced) {
				t.Fatalf("Abort of the first: %v, expected ErrFenced or nothing", err)
			}
		}
		write(t, second, in, "2")
		commit(t, second)
		equal(t, "records", committedValues(t, log, in), []string{"0", "1", "2"})
		equal(t, "the first's positions", len(must(m.Committed(ctx, all("in", 1)))(t)), 0)
	})
}

func TestOtherTransactionalIDsAreNotFenced(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ensure(t, log, "in", 1)
		a := newWriter(t, log, "a")
		write(t, a, tp("in", 0), "a")
		newWriter(t, log, "b")
		commit(t, a)
		equal(t, "records", committedValues(t, log, tp("in", 0)), []string{"a"})
	})
}

func TestSuccessorAbortsWhatACrashLeft(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ensure(t, log, "in", 3)
		for round := range 3 {
			w := newWriter(t, log, "w")
			for _, tp := range all("in", 3) {
				equal(t, "stable when the successor is there", lookup(t, log, tp, logclient.At{Kind: logclient.AtStable}),
					lookup(t, log, tp, logclient.At{Kind: logclient.AtEnd}))
				write(t, w, tp, fmt.Sprint(round))
			}
			commit(t, w)
			for _, tp := range all("in", 3) {
				flushed(t, w, tp, "crashed")
			}
			noError(t, w.Close()) // with the transaction open
			if stable, end := lookup(t, log, tp("in", 0), logclient.At{Kind: logclient.AtStable}), lookup(t, log, tp("in", 0), logclient.At{Kind: logclient.AtEnd}); round == 0 && stable.Offset == end.Offset {
				t.Fatal("the test needs an open transaction in the log")
			}
		}
		newWriter(t, log, "w")
		for _, tp := range all("in", 3) {
			equal(t, fmt.Sprint(tp), committedValues(t, log, tp), []string{"0", "1", "2"})
		}
	})
}

func TestCommitWithAnEndedContextDoesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ensure(t, log, "in", 1)
		w := newWriter(t, log, "w")
		write(t, w, tp("in", 0), "a")
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := w.Commit(ended, nil, logclient.Generation{})
		equal(t, "the class", logclient.Classify(err), logclient.ClassRetryable)
		noError(t, w.Abort(testContext(t)))
		write(t, w, tp("in", 0), "b")
		commit(t, w)
		equal(t, "records", committedValues(t, log, tp("in", 0)), []string{"b"})
	})
}

func TestLargeRecords(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ctx := testContext(t)
		ensure(t, log, "in", 2)
		w := newWriter(t, log, "w")
		large := bytes.Repeat([]byte("0123456789"), 90_000)
		for i := range 3 {
			write(t, w, tp("in", i%2), "small", string(large), "small")
		}
		commit(t, w)
		equal(t, "large and small", committedValues(t, log, tp("in", 1)), []string{"small", string(large), "small"})

		err := w.Append(tp("in", 0), &record.View{Value: bytes.Repeat(large, 4)})
		if err == nil {
			_, err = w.Commit(ctx, nil, logclient.Generation{})
		}
		var tooLarge *logclient.RecordTooLargeError
		if !errors.As(err, &tooLarge) || tooLarge.Size < 4*len(large) || tooLarge.Limit <= 0 {
			t.Fatalf("3.6 MB in a record: %v, expected a RecordTooLargeError", err)
		}
		equal(t, "its class", logclient.Classify(err), logclient.ClassFatal)
		noError(t, w.Abort(ctx))
		write(t, w, tp("in", 1), "after")
		commit(t, w)
		equal(t, "the writer goes on", len(committedValues(t, log, tp("in", 1))), 4)
	})
}

func TestManyPartitions(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		const partitions = 64
		ensure(t, log, "in", partitions)
		w := newWriter(t, log, "w")
		from := offsets{}
		for i, tp := range all("in", partitions) {
			from[tp] = 0
			write(t, w, tp, fmt.Sprint(i))
		}
		equal(t, "partitions written", len(commit(t, w)), partitions)
		read := readTo(t, log, logclient.ReaderConfig{}, logclient.AtStable, from, 1<<20)
		for i, tp := range all("in", partitions) {
			equal(t, fmt.Sprint(tp), values(read[tp]), []string{fmt.Sprint(i)})
		}
	})
}
