package logclient_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

func TestEnsureCreatesWhatIsMissingAndDescribesInOrder(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ctx := testContext(t)
		ensure(t, log, "b", 3)
		infos := must(log.Ensure(ctx, []logclient.TopicSpec{
			{Name: "c", Partitions: 2, Configs: map[string]string{"cleanup.policy": "compact"}},
			{Name: "b"}, // whatever it has
			{Name: "a"}, // the default
		}))(t)
		equal(t, "topics", len(infos), 3)
		equal(t, "c", infos[0].Partitions, 2)
		equal(t, "b", infos[1].Partitions, 3)
		if infos[2].Name != "a" || infos[2].Partitions < 1 {
			t.Fatalf("a topic without a number of partitions: %+v", infos[2])
		}
		if infos[0].ID == infos[1].ID || infos[0].ID == [16]byte{} {
			t.Fatalf("topic ids %x and %x, expected two different ones", infos[0].ID, infos[1].ID)
		}
		described := must(log.Describe(ctx, []string{"missing", "c"}))(t)
		equal(t, "a missing topic", described[0], logclient.TopicInfo{Name: "missing"})
		equal(t, "c described", described[1], infos[0])
	})
}

func TestEnsureRefusesAnotherNumberOfPartitions(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ensure(t, log, "in", 3)
		_, err := log.Ensure(testContext(t), []logclient.TopicSpec{{Name: "in", Partitions: 4}})
		var mismatch *logclient.TopicMismatchError
		if !errors.As(err, &mismatch) {
			t.Fatalf("got %v, expected a TopicMismatchError", err)
		}
		equal(t, "the mismatch", *mismatch, logclient.TopicMismatchError{Topic: "in", Have: 3, Expected: 4})
		equal(t, "its class", logclient.Classify(err), logclient.ClassFatal)
	})
}

func TestEnsureFromManyGoroutinesMakesOneTopic(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ids := make([][16]byte, 8)
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() {
				infos, err := log.Ensure(testContext(t), []logclient.TopicSpec{{Name: "in", Partitions: 2}})
				if err != nil {
					t.Error(err)
					return
				}
				ids[i] = infos[0].ID
			})
		}
		wg.Wait()
		for i := range ids {
			equal(t, "the topic's id", ids[i], ids[0])
		}
	})
}

func TestUnknownTopicsAreNamed(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ctx := testContext(t)
		ensure(t, log, "in", 1)
		for _, missing := range []record.TopicPartition{tp("none", 0), tp("in", 1), tp("in", -1)} {
			_, err := log.Offsets(ctx, []record.TopicPartition{tp("in", 0), missing}, logclient.At{Kind: logclient.AtEnd})
			if !errors.Is(err, logclient.ErrUnknownTopic) {
				t.Errorf("Offsets of %v: %v, expected ErrUnknownTopic", missing, err)
			}
			w := newWriter(t, log, "w")
			if err := w.Append(missing, &record.View{}); !errors.Is(err, logclient.ErrUnknownTopic) {
				t.Errorf("Append to %v: %v, expected ErrUnknownTopic", missing, err)
			}
			r := newReader(t, log, logclient.ReaderConfig{})
			r.Assign(map[record.TopicPartition]record.Offset{missing: 0})
			if _, err := r.Poll(ctx, 1<<20); !errors.Is(err, logclient.ErrUnknownTopic) {
				t.Errorf("Poll of %v: %v, expected ErrUnknownTopic", missing, err)
			}
		}
	})
}

func TestOffsetsOfEveryKind(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ctx := testContext(t)
		ensure(t, log, "in", 2)
		in := tp("in", 0)
		at := func(kind logclient.AtKind) logclient.OffsetEpoch { return lookup(t, log, in, logclient.At{Kind: kind}) }
		for _, kind := range []logclient.AtKind{logclient.AtStart, logclient.AtEnd, logclient.AtStable} {
			equal(t, "an offset of an empty partition", at(kind).Offset, 0)
		}

		w := newWriter(t, log, "w")
		for _, ts := range []int64{100, 300, 200, 400} {
			noError(t, w.Append(in, &record.View{Timestamp: ts, Value: []byte("v")}))
		}
		done := commit(t, w)
		equal(t, "the commit's offset", done[in].Offset, 4)
		settle(t, log, in)
		end := at(logclient.AtEnd)
		equal(t, "the end, after the marker", end.Offset, 5)
		equal(t, "the end's epoch", end.Epoch, done[in].Epoch)
		equal(t, "the stable offset", at(logclient.AtStable), end)
		for ts, expected := range map[int64]record.Offset{0: 0, 100: 0, 101: 1, 300: 1, 301: 3, 400: 3} {
			equal(t, "the offset of a time", lookup(t, log, in, logclient.At{Kind: logclient.AtTime, Timestamp: ts}).Offset, expected)
		}
		// Past the last record: the end, or the marker before it, which has a time of its own.
		if late := lookup(t, log, in, logclient.At{Kind: logclient.AtTime, Timestamp: 401}).Offset; late != 4 && late != 5 {
			t.Fatalf("the offset of a time after all records is %d, expected 4 or 5", late)
		}

		flushed(t, w, in, "open")
		equal(t, "the stable offset under an open transaction", at(logclient.AtStable).Offset, 5)
		if end := at(logclient.AtEnd).Offset; end <= 5 {
			t.Fatalf("the end is %d although 1 MiB was appended", end)
		}
		noError(t, w.Abort(ctx))
		settle(t, log, in)
		equal(t, "the stable offset after the abort", at(logclient.AtStable), at(logclient.AtEnd))

		epoch := at(logclient.AtEnd).Epoch
		equal(t, "the end of the current epoch", lookup(t, log, in, logclient.At{Kind: logclient.AtEndOfEpoch, Epoch: epoch}), at(logclient.AtEnd))
		equal(t, "the end of an epoch to come", lookup(t, log, in, logclient.At{Kind: logclient.AtEndOfEpoch, Epoch: epoch + 7}),
			logclient.OffsetEpoch{Offset: record.NoOffset, Epoch: record.NoLeaderEpoch})

		found := must(log.Offsets(ctx, []record.TopicPartition{tp("in", 1), in}, logclient.At{Kind: logclient.AtEnd}))(t)
		equal(t, "the other partition's end", found[0].Offset, 0)
		equal(t, "the order", found[1], at(logclient.AtEnd))
	})
}

func TestDeleteBeforeRaisesTheStart(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ctx := testContext(t)
		ensure(t, log, "in", 2)
		in, other := tp("in", 0), tp("in", 1)
		load(t, log, in, "0", "1", "2", "3", "4")
		load(t, log, other, "a", "b")
		noError(t, log.DeleteBefore(ctx, map[record.TopicPartition]record.Offset{in: 3}))
		equal(t, "the start", lookup(t, log, in, logclient.At{Kind: logclient.AtStart}).Offset, 3)
		equal(t, "what is left", committedValues(t, log, in), []string{"3", "4"})
		equal(t, "the other partition", committedValues(t, log, other), []string{"a", "b"})
		noError(t, log.DeleteBefore(ctx, map[record.TopicPartition]record.Offset{in: 1})) // lower: nothing
		equal(t, "the start", lookup(t, log, in, logclient.At{Kind: logclient.AtStart}).Offset, 3)

		end := lookup(t, log, in, logclient.At{Kind: logclient.AtEnd}).Offset
		if err := log.DeleteBefore(ctx, map[record.TopicPartition]record.Offset{in: end + 1}); err == nil {
			t.Fatal("deletion beyond the end was accepted")
		}
		noError(t, log.DeleteBefore(ctx, map[record.TopicPartition]record.Offset{in: end}))
		load(t, log, in, "5")
		equal(t, "after everything was deleted", committedValues(t, log, in), []string{"5"})
	})
}

func TestReopenedLogHasEverythingThatWasCommitted(t *testing.T) {
	for _, impl := range implementations {
		t.Run(impl.name, func(t *testing.T) {
			ctx := testContext(t)
			log, reopen := impl.open(t)
			ensure(t, log, "in", 2)
			before := must(log.Describe(ctx, []string{"in"}))(t)
			cluster := log.ClusterID()
			m, a := join(t, log, "app", "in")
			w := newWriter(t, log, "w")
			write(t, w, tp("in", 0), "a", "b")
			_, err := w.Commit(ctx, logclient.Positions{tp("in", 0): {Offset: 1, Epoch: 0, Metadata: "m"}}, a.Generation)
			noError(t, err)
			flushed(t, w, tp("in", 1), "never committed")
			_ = m

			log = reopen()
			if !log.CleanStart() {
				t.Error("a log that was closed says that it starts uncleanly")
			}
			equal(t, "the topic", must(log.Describe(ctx, []string{"in"}))(t), before)
			equal(t, "the cluster id", log.ClusterID(), cluster)
			equal(t, "the records", committedValues(t, log, tp("in", 0)), []string{"a", "b"})
			m, a = join(t, log, "app", "in")
			have := must(m.Committed(ctx, all("in", 2)))(t)
			equal(t, "the positions", have, map[record.TopicPartition]logclient.Position{tp("in", 0): {Offset: 1, Epoch: 0, Metadata: "m"}})

			w = newWriter(t, log, "w") // ends what was open
			equal(t, "an abandoned transaction", committedValues(t, log, tp("in", 1)), []string{})
			write(t, w, tp("in", 1), "c")
			_, err = w.Commit(ctx, logclient.Positions{tp("in", 0): {Offset: 2}}, a.Generation)
			noError(t, err)
			equal(t, "the successor's record", committedValues(t, log, tp("in", 1)), []string{"c"})
		})
	}
}

func TestClosedLogSaysSo(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ctx := testContext(t)
		ensure(t, log, "in", 1)
		r := newReader(t, log, logclient.ReaderConfig{})
		r.Assign(map[record.TopicPartition]record.Offset{tp("in", 0): 0})
		waiting := make(chan error, 1)
		go func() {
			_, err := r.Poll(ctx, 1<<20)
			waiting <- err
		}()
		w := newWriter(t, log, "w")
		noError(t, log.Close())
		if err := <-waiting; !errors.Is(err, logclient.ErrClosed) {
			t.Errorf("a waiting Poll: %v, expected ErrClosed", err)
		}
		if _, err := log.Offsets(ctx, all("in", 1), logclient.At{}); !errors.Is(err, logclient.ErrClosed) {
			t.Errorf("Offsets: %v, expected ErrClosed", err)
		}
		if err := w.Append(tp("in", 0), &record.View{}); err == nil {
			if _, err = w.Commit(ctx, nil, logclient.Generation{}); !errors.Is(err, logclient.ErrClosed) {
				t.Errorf("Commit: %v, expected ErrClosed", err)
			}
		}
	})
}
