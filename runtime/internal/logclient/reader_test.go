package logclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

type offsets = map[record.TopicPartition]record.Offset

func TestReaderReturnsEachPartitionInOffsetOrder(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		const partitions, rounds, each = 5, 7, 30
		ensure(t, log, "in", partitions)
		w := newWriter(t, log, "w")
		expected := map[record.TopicPartition][]string{}
		for round := range rounds {
			for i := range each {
				to := tp("in", (i*i+round)%partitions)
				v := fmt.Sprintf("%d-%d", round, i)
				write(t, w, to, v)
				expected[to] = append(expected[to], v)
			}
			commit(t, w)
		}
		from := offsets{}
		for _, tp := range all("in", partitions) {
			from[tp] = 0
		}
		for _, maxBytes := range []int{1, 100, 1 << 20} {
			read := readTo(t, log, logclient.ReaderConfig{}, logclient.AtStable, from, maxBytes)
			for _, tp := range all("in", partitions) {
				equal(t, fmt.Sprintf("%v polled by %d bytes", tp, maxBytes), values(read[tp]), expected[tp])
			}
		}
	})
}

func TestReaderBeginsAtTheOffsetAskedFor(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ensure(t, log, "in", 1)
		in := tp("in", 0)
		load(t, log, in, "0", "1", "2", "3") // one batch, so that 1 to 3 lie inside of it
		for o := range record.Offset(4) {
			read := readTo(t, log, logclient.ReaderConfig{}, logclient.AtStable, offsets{in: o}, 1<<20)[in]
			equal(t, "records", len(read), 4-int(o))
			equal(t, "the first offset", read[0].offset, o)
			equal(t, "the first value", read[0].value, fmt.Sprint("=", o))
		}
	})
}

func TestEverythingOfARecordIsKept(t *testing.T) {
	records := []record.View{
		{Timestamp: 5, Key: []byte("k"), Value: []byte("v")},
		{Timestamp: 0, Key: nil, Value: []byte{}},
		{Timestamp: 1795219200000, Key: []byte{}, Value: nil},
		{Timestamp: 3, Headers: []record.Header{{Key: "a", Value: []byte("1")}, {Key: "a", Value: nil}, {Key: "", Value: []byte{}}}},
		{Timestamp: 2, Key: []byte{0, 255}, Value: bytes.Repeat([]byte("long"), 5000), Headers: []record.Header{{Key: "__millstream.time", Value: []byte{1, 2}}}},
		{Timestamp: 1},
	}
	onEach(t, func(t *testing.T, log logclient.Log) {
		for _, codec := range []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd} {
			topic := "in-" + codec.String()
			ensure(t, log, topic, 1)
			in := tp(topic, 0)
			w := must(log.Writer(testContext(t), "w", logclient.WriterConfig{Compression: codec}))(t)
			expected := []got{}
			for i := range records {
				v := records[i]
				v.Offset = 99 // is ignored
				noError(t, w.Append(in, &v))
				v.Offset = record.Offset(i)
				expected = append(expected, copied(in, &v))
			}
			commit(t, w)
			noError(t, w.Close())
			equal(t, codec.String(), readTo(t, log, logclient.ReaderConfig{}, logclient.AtStable, offsets{in: 0}, 1<<20)[in], expected)
		}
	})
}

func TestAppendCopies(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ensure(t, log, "in", 1)
		w := newWriter(t, log, "w")
		key, value := []byte("key"), []byte("value")
		v := record.View{Key: key, Value: value, Headers: []record.Header{{Key: "h", Value: value[:2]}}}
		noError(t, w.Append(tp("in", 0), &v))
		copy(key, "xxx")
		copy(value, "yyyyy")
		v.Headers[0] = record.Header{}
		commit(t, w)
		read := readTo(t, log, logclient.ReaderConfig{}, logclient.AtStable, offsets{tp("in", 0): 0}, 1<<20)[tp("in", 0)]
		equal(t, "the record", read[0].key+read[0].value+read[0].headers, "=key=value[h =va]")
	})
}

func TestWaitingPollIsWokenByACommit(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ctx := testContext(t)
		ensure(t, log, "in", 50)
		r := newReader(t, log, logclient.ReaderConfig{})
		from := offsets{}
		for _, tp := range all("in", 50) {
			from[tp] = 0
		}
		r.Assign(from)
		w := newWriter(t, log, "w")
		p := newPosition(from)
		for i := range 20 { // the position passes the marker, so the next round waits again
			to := tp("in", i*17%50)
			committed := make(chan error, 1)
			go func() {
				err := w.Append(to, &record.View{Value: []byte(fmt.Sprint(i))})
				if err == nil {
					_, err = w.Commit(ctx, nil, logclient.Generation{})
				}
				committed <- err
			}()
			for end := p.next[to] + 2; p.next[to] < end; {
				noError(t, p.step(ctx, t, r, 1<<20))
			}
			noError(t, <-committed)
			read := p.records[to]
			equal(t, "the record that woke the reader", read[len(read)-1].value, fmt.Sprint("=", i))
		}
	})
}

func TestPollEndsWithItsContext(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ensure(t, log, "in", 1)
		r := newReader(t, log, logclient.ReaderConfig{})
		for _, from := range []offsets{{}, {tp("in", 0): 0}} {
			r.Assign(from)
			ctx, cancel := context.WithCancel(testContext(t))
			waiting := make(chan error)
			go func() {
				_, err := r.Poll(ctx, 1<<20)
				waiting <- err
			}()
			cancel()
			if err := <-waiting; !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v, expected context.Canceled", err)
			}
		}
		load(t, log, tp("in", 0), "a")
		p := newPosition(nil)
		noError(t, p.step(testContext(t), t, r, 1<<20))
		equal(t, "the reader goes on after it", values(p.records[tp("in", 0)]), []string{"a"})
	})
}

func TestReadCommittedHoldsBackUndecidedAndSkipsAbortedRecords(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ctx := testContext(t)
		ensure(t, log, "in", 1)
		in := tp("in", 0)
		a, b := newWriter(t, log, "a"), newWriter(t, log, "b")
		n := flushed(t, a, in, "a")
		write(t, b, in, "b")
		commit(t, b)

		stable := lookup(t, log, in, logclient.At{Kind: logclient.AtStable}).Offset
		equal(t, "the stable offset under a's transaction", stable, 0)
		uncommitted := readTo(t, log, logclient.ReaderConfig{ReadUncommitted: true}, logclient.AtEnd, offsets{in: 0}, 1<<20)[in]
		if len(uncommitted) < 2 || uncommitted[len(uncommitted)-1].value != "=b" {
			t.Fatalf("read uncommitted: %d records, expected some of a and then b's", len(uncommitted))
		}
		r := newReader(t, log, logclient.ReaderConfig{})
		r.Assign(offsets{in: 0})
		equal(t, "the end for read_committed", r.End(in), 0)
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := r.Poll(ended, 1<<20); !errors.Is(err, context.Canceled) {
			t.Fatalf("Poll under an open transaction: %v, expected nothing until the context ends", err)
		}

		noError(t, a.Abort(ctx))
		settle(t, log, in)
		end := lookup(t, log, in, logclient.At{Kind: logclient.AtEnd}).Offset
		p := newPosition(offsets{in: 0})
		for p.next[in] < end {
			noError(t, p.step(ctx, t, r, 64<<10))
		}
		equal(t, "after the abort", values(p.records[in]), []string{"b"})
		equal(t, "the position passes the last marker", p.next[in], end)
		equal(t, "the end", r.End(in), end)
		uncommitted = readTo(t, log, logclient.ReaderConfig{ReadUncommitted: true}, logclient.AtEnd, offsets{in: 0}, 1<<20)[in]
		if len(uncommitted) < 2 || len(uncommitted) > n+1 {
			t.Fatalf("read uncommitted after the abort: %d records", len(uncommitted))
		}

		flushed(t, a, in, "a")
		commit(t, a)
		equal(t, "a's second transaction", len(committedValues(t, log, in)), n+1)
	})
}

func TestInterleavedTransactionsAreToldApart(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ctx := testContext(t)
		ensure(t, log, "in", 1)
		in := tp("in", 0)
		ws := []logclient.Writer{newWriter(t, log, "0"), newWriter(t, log, "1"), newWriter(t, log, "2")}
		expected := map[byte]int{}
		for round := range 6 { // writer 0 aborts odd rounds, 1 even ones, 2 none
			var n [3]int
			for i, w := range ws {
				n[i] = flushed(t, w, in, fmt.Sprint(i))
			}
			for i, w := range ws {
				if i < 2 && (round+i)%2 == 1 {
					noError(t, w.Abort(ctx))
					continue
				}
				commit(t, w)
				expected["012"[i]] += n[i]
			}
		}
		have := map[byte]int{}
		for _, v := range committedValues(t, log, in) {
			have[v[0]]++
		}
		equal(t, "committed records per writer", have, expected)
	})
}

// A broker lists aborted transactions by their ends or by their beginnings.
func TestAbortedTransactionsOverlapInAnyOrder(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ctx := testContext(t)
		ensure(t, log, "in", 1)
		in := tp("in", 0)
		ws := []logclient.Writer{newWriter(t, log, "0"), newWriter(t, log, "1"), newWriter(t, log, "2")}
		for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
			for i, w := range ws {
				flushed(t, w, in, fmt.Sprint(i))
			}
			for _, i := range order {
				noError(t, ws[i].Abort(ctx))
			}
			settle(t, log, in)
		}
		load(t, log, in, "kept")
		shown := map[string]int{}
		for _, v := range committedValues(t, log, in) {
			shown[v[:min(len(v), 4)]]++
		}
		equal(t, "what is committed", shown, map[string]int{"kept": 1})
	})
}

func TestAssignPauseResume(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ctx := testContext(t)
		ensure(t, log, "in", 2)
		a, b := tp("in", 0), tp("in", 1)
		for range 4 { // several batches each
			load(t, log, a, "a")
			load(t, log, b, "b")
		}
		r := newReader(t, log, logclient.ReaderConfig{})
		p := newPosition(nil)
		r.Assign(offsets{a: 0, b: 0})
		r.Pause(a)
		for p.next[b] < 8 {
			noError(t, p.step(ctx, t, r, 1))
		}
		equal(t, "records of the paused partition", len(p.records[a]), 0)
		r.Pause(b)
		r.Resume(a)
		noError(t, p.step(ctx, t, r, 1))
		if len(p.records[a]) == 0 {
			t.Fatal("nothing of the resumed partition")
		}
		for p.next[a] < 8 {
			noError(t, p.step(ctx, t, r, 1))
		}
		equal(t, "everything once", len(p.records[a]), 4)

		p = newPosition(nil)
		r.Assign(offsets{b: 2}) // replaces: a is gone, b is not paused any more
		for p.next[b] < 8 {
			noError(t, p.step(ctx, t, r, 1))
		}
		equal(t, "b from 2 on", len(p.records[b]), 3)
		equal(t, "a is not assigned", len(p.records[a]), 0)
	})
}

func TestOffsetOutOfRangeIsTyped(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		ctx := testContext(t)
		ensure(t, log, "in", 1)
		in := tp("in", 0)
		load(t, log, in, "0", "1", "2", "3")
		noError(t, log.DeleteBefore(ctx, offsets{in: 2}))
		r := newReader(t, log, logclient.ReaderConfig{})
		for _, o := range []record.Offset{0, 1, 6, 100} {
			r.Assign(offsets{in: o})
			for range 2 { // also when asked again
				_, err := r.Poll(ctx, 1<<20)
				var out *logclient.OffsetOutOfRangeError
				if !errors.As(err, &out) {
					t.Fatalf("offset %d: %v, expected an OffsetOutOfRangeError", o, err)
				}
				equal(t, "the error", *out, logclient.OffsetOutOfRangeError{TopicPartition: in, Offset: o, Start: 2, End: 5})
				equal(t, "its class", logclient.Classify(err), logclient.ClassFatal)
			}
		}
		r.Assign(offsets{in: 2})
		p := newPosition(nil)
		noError(t, p.step(ctx, t, r, 1<<20))
		equal(t, "after a new Assign", values(p.records[in]), []string{"2", "3"})
	})
}

func TestPollIsFairOverPartitions(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		const partitions = 8
		ensure(t, log, "in", partitions)
		w := newWriter(t, log, "w")
		from := offsets{}
		for _, tp := range all("in", partitions) {
			from[tp] = 0
			flushed(t, w, tp, "v")
		}
		commit(t, w)
		r := newReader(t, log, logclient.ReaderConfig{})
		r.Assign(from)
		seen := map[record.TopicPartition]int{}
		for range 2 * partitions {
			batches := must(r.Poll(testContext(t), 1))(t)
			equal(t, "batches of a Poll for one byte", len(batches), 1)
			seen[batches[0].TopicPartition()]++
			batches[0].Release()
		}
		for _, tp := range all("in", partitions) {
			if settling > 0 && seen[tp] > 0 {
				continue // over a network the next chunk of one may come before that of another
			}
			equal(t, fmt.Sprint("turns of ", tp), seen[tp], 2)
		}
	})
}

func TestKeptChunksStayAsTheyWere(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		for _, codec := range []record.Codec{record.None, record.LZ4, record.Zstd} {
			topic := "in-" + codec.String()
			ensure(t, log, topic, 1)
			in := tp(topic, 0)
			w := must(log.Writer(testContext(t), "w", logclient.WriterConfig{Compression: codec}))(t)
			for i := range 400 {
				noError(t, w.Append(in, &record.View{Key: fmt.Appendf(nil, "key-%d", i), Value: []byte(strings.Repeat(fmt.Sprintf("%d ", i), 400))}))
				if i%50 == 49 {
					commit(t, w)
				}
			}
			noError(t, w.Close())
			r := newReader(t, log, logclient.ReaderConfig{KeepChunks: true})
			r.Assign(offsets{in: 0})
			var kept []record.View
			for len(kept) < 400 {
				for _, b := range must(r.Poll(testContext(t), 8<<10))(t) {
					var v record.View
					for b.Next(&v) {
						kept = append(kept, v)
					}
					noError(t, b.Err())
					b.Release()
				}
			}
			for i, v := range kept {
				equal(t, "a key", string(v.Key), fmt.Sprintf("key-%d", i))
				equal(t, "a value", string(v.Value), strings.Repeat(fmt.Sprintf("%d ", i), 400))
			}
		}
	})
}

func TestBatchesMayBeHeldWhileOthersAreRead(t *testing.T) {
	onEach(t, func(t *testing.T, log logclient.Log) {
		const partitions = 4
		ensure(t, log, "in", partitions)
		from := offsets{}
		for _, tp := range all("in", partitions) {
			from[tp] = 0
			load(t, log, tp, "1", "2", "3", "4", "5")
		}
		r := newReader(t, log, logclient.ReaderConfig{})
		r.Assign(from)
		var held []logclient.Batch
		heads := map[record.TopicPartition]*record.View{}
		for len(heads) < partitions { // hold the first record of each, as a merge by time does
			for _, b := range must(r.Poll(testContext(t), 1))(t) {
				held = append(held, b)
				v := &record.View{}
				if b.Next(v) {
					heads[b.TopicPartition()] = v
				}
			}
		}
		for i := range 5 {
			for _, b := range held {
				v := heads[b.TopicPartition()]
				if i > 0 && b.NextOffset() >= 5 && v.Offset < 4 {
					b.Next(v)
				}
			}
			for tp, v := range heads {
				equal(t, fmt.Sprint("head of ", tp), string(v.Value), fmt.Sprint(v.Offset+1))
			}
		}
		for _, b := range held {
			b.Release()
		}
	})
}
