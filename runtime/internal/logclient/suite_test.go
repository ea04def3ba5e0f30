// The conformance suite of the seam: what every implementation of
// logclient.Log must do, written against the interface alone. A new
// implementation adds itself to implementations.
package logclient_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/logclient/memlog"
)

// implementation makes logs to test.
type implementation struct {
	name string
	// open makes an empty log; reopen closes it and opens the same data again.
	open func(t testing.TB) (log logclient.Log, reopen func() logclient.Log)
}

var implementations = []implementation{
	{"memlog", func(t testing.TB) (logclient.Log, func() logclient.Log) {
		l := memlog.New(memlog.Config{})
		t.Cleanup(func() { l.Close() })
		return l, func() logclient.Log { l = l.Reopen(); return l }
	}},
}

// onEach runs a claim against every implementation.
func onEach(t *testing.T, claim func(t *testing.T, log logclient.Log)) {
	for _, impl := range implementations {
		t.Run(impl.name, func(t *testing.T) {
			log, _ := impl.open(t)
			claim(t, log)
		})
	}
}

// patience only ends tests that hang.
const patience = 60 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tp(topic string, p int) record.TopicPartition {
	return record.TopicPartition{Topic: topic, Partition: record.Partition(p)}
}

func all(topic string, n int) []record.TopicPartition {
	var tps []record.TopicPartition
	for p := range n {
		tps = append(tps, tp(topic, p))
	}
	return tps
}

func ensure(t testing.TB, log logclient.Log, topic string, partitions int) {
	t.Helper()
	_, err := log.Ensure(testContext(t), []logclient.TopicSpec{{Name: topic, Partitions: int32(partitions)}})
	noError(t, err)
}

func newWriter(t testing.TB, log logclient.Log, id logclient.TxnID) logclient.Writer {
	t.Helper()
	w := must(log.Writer(testContext(t), id, logclient.WriterConfig{}))(t)
	t.Cleanup(func() { w.Close() })
	return w
}

func newReader(t testing.TB, log logclient.Log, cfg logclient.ReaderConfig) logclient.Reader {
	t.Helper()
	r := must(log.Reader(cfg))(t)
	t.Cleanup(func() { r.Close() })
	return r
}

// write appends one record per value, with key "k" and the timestamp 1000 + its index.
func write(t testing.TB, w logclient.Writer, to record.TopicPartition, values ...string) {
	t.Helper()
	for i, v := range values {
		noError(t, w.Append(to, &record.View{Timestamp: 1000 + int64(i), Key: []byte("k"), Value: []byte(v)}))
	}
}

type written = map[record.TopicPartition]logclient.OffsetEpoch

func commit(t testing.TB, w logclient.Writer) written {
	t.Helper()
	return must(w.Commit(testContext(t), nil, logclient.Generation{}))(t)
}

// load writes values in one committed transaction of a producer of its own.
func load(t testing.TB, log logclient.Log, to record.TopicPartition, values ...string) {
	t.Helper()
	w := newWriter(t, log, logclient.TxnID(fmt.Sprintf("load-%s-%d", to.Topic, to.Partition)))
	write(t, w, to, values...)
	commit(t, w)
	noError(t, w.Close())
}

// flushed writes so much that the log must have got a part of it although
// nothing is committed; the values begin with the prefix.
func flushed(t testing.TB, w logclient.Writer, to record.TopicPartition, prefix string) (records int) {
	t.Helper()
	pad := strings.Repeat("x", 8<<10)
	for i := range 128 {
		write(t, w, to, fmt.Sprintf("%s-%03d-%s", prefix, i, pad))
	}
	return 128
}

// got is a copy of a record that was read.
type got struct {
	tp        record.TopicPartition
	offset    record.Offset
	timestamp int64
	key       string // "null" if there is none
	value     string
	headers   string
}

func text(p []byte) string {
	if p == nil {
		return "null"
	}
	return "=" + string(p)
}

func copied(from record.TopicPartition, v *record.View) got {
	g := got{tp: from, offset: v.Offset, timestamp: v.Timestamp, key: text(v.Key), value: text(v.Value)}
	for _, h := range v.Headers {
		g.headers += fmt.Sprintf("[%s %s]", h.Key, text(h.Value))
	}
	return g
}

// position is how far a reader has come, and what it has seen.
type position struct {
	next    map[record.TopicPartition]record.Offset
	records map[record.TopicPartition][]got
}

// step polls once and checks what holds of every batch: offsets ascend, lie
// below NextOffset, and go on where the last batch ended.
func (p *position) step(ctx context.Context, t testing.TB, r logclient.Reader, maxBytes int) error {
	t.Helper()
	batches, err := r.Poll(ctx, maxBytes)
	if err != nil {
		return err
	}
	if len(batches) == 0 {
		t.Fatal("Poll returned neither a batch nor an error")
	}
	for _, b := range batches {
		from, at := b.TopicPartition(), p.next[b.TopicPartition()]
		if b.NextOffset() <= at {
			t.Fatalf("%v: a batch ends at %d, expected it to pass %d", from, b.NextOffset(), at)
		}
		var v record.View
		for b.Next(&v) {
			if v.Offset < at || v.Offset >= b.NextOffset() {
				t.Fatalf("%v: offset %d, expected one of %d to %d", from, v.Offset, at, b.NextOffset()-1)
			}
			at = v.Offset + 1
			p.records[from] = append(p.records[from], copied(from, &v))
		}
		noError(t, b.Err())
		p.next[from] = b.NextOffset()
		b.Release()
	}
	return nil
}

func newPosition(from map[record.TopicPartition]record.Offset) *position {
	p := &position{next: map[record.TopicPartition]record.Offset{}, records: map[record.TopicPartition][]got{}}
	for tp, o := range from {
		p.next[tp] = o
	}
	return p
}

// readTo reads partitions from the given offsets up to what kind says is the
// end now, polling maxBytes at a time.
func readTo(t testing.TB, log logclient.Log, cfg logclient.ReaderConfig, kind logclient.AtKind, from map[record.TopicPartition]record.Offset, maxBytes int) map[record.TopicPartition][]got {
	t.Helper()
	r := newReader(t, log, cfg)
	r.Assign(from)
	p := newPosition(from)
	ends := map[record.TopicPartition]record.Offset{}
	for tp := range from {
		if kind == logclient.AtStable {
			settle(t, log, tp)
		}
		ends[tp] = lookup(t, log, tp, logclient.At{Kind: kind}).Offset
	}
	for tp, end := range ends {
		for p.next[tp] < end {
			noError(t, p.step(testContext(t), t, r, maxBytes))
		}
	}
	noError(t, r.Close())
	return p.records
}

// settle waits until every transaction that was ended is seen as ended: a cluster
// writes the markers of a commit after it has answered. It gives up where one is
// open.
func settle(t testing.TB, log logclient.Log, tp record.TopicPartition) {
	t.Helper()
	for end := time.Now().Add(settling); time.Now().Before(end); {
		if lookup(t, log, tp, logclient.At{Kind: logclient.AtStable}).Offset == lookup(t, log, tp, logclient.At{Kind: logclient.AtEnd}).Offset {
			return
		}
	}
}

// settling is how long a cluster may take for a marker; embedded logs need none.
var settling time.Duration

// committedValues are all values of a partition that read_committed shows.
func committedValues(t testing.TB, log logclient.Log, from record.TopicPartition) []string {
	t.Helper()
	start := lookup(t, log, from, logclient.At{Kind: logclient.AtStart}).Offset
	read := readTo(t, log, logclient.ReaderConfig{}, logclient.AtStable, map[record.TopicPartition]record.Offset{from: start}, 1<<20)
	return values(read[from])
}

func values(records []got) []string {
	vs := []string{}
	for _, g := range records {
		vs = append(vs, strings.TrimPrefix(g.value, "="))
	}
	return vs
}

func lookup(t testing.TB, log logclient.Log, of record.TopicPartition, at logclient.At) logclient.OffsetEpoch {
	t.Helper()
	found := must(log.Offsets(testContext(t), []record.TopicPartition{of}, at))(t)
	if len(found) != 1 {
		t.Fatalf("Offsets of one partition returned %d", len(found))
	}
	return found[0]
}

func equal[T any](t testing.TB, what string, have, expected T) {
	t.Helper()
	if h, e := fmt.Sprint(have), fmt.Sprint(expected); h != e {
		t.Fatalf("%s:\n     got %s\nexpected %s", what, h, e)
	}
}

// join makes the log's member and takes its first assignment.
func join(t testing.TB, log logclient.Log, group string, topics ...string) (logclient.Member, logclient.Assignment) {
	t.Helper()
	m := must(log.Join(testContext(t), logclient.MemberConfig{Group: group, Topics: topics}))(t)
	return m, must(m.Next(testContext(t)))(t)
}
