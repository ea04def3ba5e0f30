package broker_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

// dumped is what Kafka's DumpLogSegments printed of one partition.
type dumped struct {
	batches []dumpedBatch
	records []dumpedRecord
	markers []string
}

type dumpedBatch struct {
	base, last    int64
	count         int
	transactional bool
	control       bool
	codec         string
}

type dumpedRecord struct {
	offset, timestamp int64
	keySize, valSize  int
	headers           string
	key, value        string
}

// Lines of the tool; org.apache.kafka.tools.DumpLogSegments prints them.
var (
	batchLine  = regexp.MustCompile(`^baseOffset: (\d+) lastOffset: (\d+) count: (\d+) .*isTransactional: (\w+) isControl: (\w+) .*compresscodec: (\w+) .*isvalid: (\w+)`)
	recordLine = regexp.MustCompile(`^\| offset: (\d+) \w+: (-?\d+) keySize: (-?\d+) valueSize: (-?\d+)(?: sequence: -?\d+)? headerKeys: \[([^\]]*)\](?: key: (\S*))?(?: payload: (\S*))?`)
	markerLine = regexp.MustCompile(`^\| offset: (\d+) .*endTxnMarker: (\w+)`)
)

func parseDump(t *testing.T, out []byte) dumped {
	t.Helper()
	var d dumped
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		line := lines.Text()
		if m := markerLine.FindStringSubmatch(line); m != nil {
			d.markers = append(d.markers, m[1]+" "+m[2])
			continue
		}
		if m := recordLine.FindStringSubmatch(line); m != nil {
			r := dumpedRecord{offset: number(t, m[1]), timestamp: number(t, m[2]),
				keySize: int(number(t, m[3])), valSize: int(number(t, m[4])), headers: m[5], key: m[6], value: m[7]}
			d.records = append(d.records, r)
			continue
		}
		if m := batchLine.FindStringSubmatch(line); m != nil {
			if m[7] != "true" {
				t.Errorf("Kafka finds the batch invalid: %s", line)
			}
			d.batches = append(d.batches, dumpedBatch{number(t, m[1]), number(t, m[2]), int(number(t, m[3])), m[4] == "true", m[5] == "true", strings.ToLower(m[6])})
		}
	}
	return d
}

func number(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// written is the test's own account of what went into a partition.
type written struct {
	t       *testing.T
	b       *broker.Broker
	p       *broker.Partition
	next    int64
	records []dumpedRecord
	batches []dumpedBatch
	markers []string
}

func newWritten(t *testing.T, b *broker.Broker, topic string, configs map[string]string) *written {
	t.Helper()
	if _, err := b.CreateTopic(broker.TopicSpec{Name: topic, Partitions: 1, Configs: configs}); err != nil {
		t.Fatal(err)
	}
	p, err := b.Partition(record.TopicPartition{Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	return &written{t: t, b: b, p: p}
}

// batch produces n records of every shape: with and without key, value, headers.
func (w *written) batch(n int, codec record.Codec, valueSize int, prepare func(*record.Builder)) {
	w.t.Helper()
	names := []string{"none", "gzip", "snappy", "lz4", "zstd"}
	bld := record.NewBuilder()
	if prepare != nil {
		prepare(bld)
	}
	for i := range n {
		v := record.View{Timestamp: 1_700_000_000_000 + w.next, Key: fmt.Appendf(nil, "key-%d", w.next),
			Value: append(fmt.Appendf(nil, "value-%d-", w.next), bytes.Repeat([]byte{'x'}, valueSize)...)}
		switch i % 4 {
		case 1:
			v.Key = nil
		case 2:
			v.Value = nil
		case 3:
			v.Headers = []record.Header{{Key: "h1", Value: []byte("1")}, {Key: "h2"}}
		}
		bld.Append(&v)
		r := dumpedRecord{offset: w.next, timestamp: v.Timestamp, keySize: -1, valSize: -1, key: string(v.Key), value: string(v.Value)}
		if v.Key != nil {
			r.keySize = len(v.Key)
		}
		if v.Value != nil {
			r.valSize = len(v.Value)
		}
		if v.Headers != nil {
			r.headers = "h1,h2"
		}
		w.records = append(w.records, r)
		w.next++
	}
	data, err := bld.Finish(codec)
	if err != nil {
		w.t.Fatal(err)
	}
	h, err := record.ParseHeader(data)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.p.Produce(data, broker.AcksLeader); err != nil {
		w.t.Fatal(err)
	}
	w.batches = append(w.batches, dumpedBatch{w.next - int64(n), w.next - 1, n, h.Transactional(), false, names[codec]})
}

// transaction writes one transactional batch and ends it as asked.
func (w *written) transaction(id, end string) {
	w.t.Helper()
	pid, err := w.b.InitProducerID(id, 15*time.Minute, broker.NoProducer)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.b.AddPartitionsToTxn(id, pid, []record.TopicPartition{w.p.TopicPartition()}); err != nil {
		w.t.Fatal(err)
	}
	w.batch(5, record.None, 10, func(b *record.Builder) {
		b.SetProducer(pid.ID, pid.Epoch, 0)
		b.SetTransactional(true)
	})
	if end == "" {
		return
	}
	if _, err := w.b.EndTxn(id, pid, end == "COMMIT"); err != nil {
		w.t.Fatal(err)
	}
	w.markers = append(w.markers, fmt.Sprintf("%d %s", w.next, end))
	w.batches = append(w.batches, dumpedBatch{w.next, w.next, 1, true, true, "none"})
	w.next++
}

// check lets Kafka read every segment and index of the partition and compares.
func (w *written) check(kafka *peers.Kafka, dir string, minSegments int) {
	w.t.Helper()
	tp := w.p.TopicPartition()
	folder := filepath.Join(dir, fmt.Sprintf("%s-%d", tp.Topic, tp.Partition))
	logs := glob(w.t, folder, "*.log")
	if len(logs) < minSegments {
		w.t.Errorf("%s has %d segments, the test wants at least %d", folder, len(logs), minSegments)
	}
	out := dump(w.t, kafka, "--deep-iteration", "--print-data-log", "--files", strings.Join(logs, ","))
	got := parseDump(w.t, out)
	if !slices.Equal(got.records, w.records) {
		w.t.Errorf("%s: Kafka reads %d records, %d were written; first difference: %s",
			tp.Topic, len(got.records), len(w.records), firstDifference(got.records, w.records))
	}
	if !slices.Equal(got.batches, w.batches) {
		w.t.Errorf("%s: Kafka reads other batches: %s", tp.Topic, firstDifference(got.batches, w.batches))
	}
	if !slices.Equal(got.markers, w.markers) {
		w.t.Errorf("%s: Kafka reads the markers %v, written were %v", tp.Topic, got.markers, w.markers)
	}
	checkIndexes(w.t, kafka, folder)
}

func checkIndexes(t *testing.T, kafka *peers.Kafka, folder string) {
	t.Helper()
	var files []string
	for _, pattern := range []string{"*.index", "*.timeindex"} {
		files = append(files, glob(t, folder, pattern)...)
	}
	if len(files) == 0 {
		t.Errorf("%s has no index files", folder)
		return
	}
	out := dump(t, kafka, "--index-sanity-check", "--files", strings.Join(files, ","))
	if n := strings.Count(string(out), "passed sanity check") + strings.Count(string(out), "is empty."); n != len(files) {
		t.Errorf("%s: %d of %d index files pass Kafka's sanity check:\n%s", folder, n, len(files), out)
	}
	// Without the flag the tool follows every entry into the log and complains.
	out = dump(t, kafka, "--deep-iteration", "--files", strings.Join(files, ","))
	for _, complaint := range []string{"Found timestamp mismatch", "Found out of order timestamp", "Mismatches in", "mismatch"} {
		if strings.Contains(string(out), complaint) {
			t.Errorf("%s: Kafka complains about an index:\n%s", folder, out)
			break
		}
	}
	if others := append(glob(t, folder, "*.snapshot"), glob(t, folder, "*.txnindex")...); len(others) > 0 {
		dump(t, kafka, "--files", strings.Join(others, ","))
	}
}

func dump(t *testing.T, kafka *peers.Kafka, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	out, err := kafka.DumpLogSegments(ctx, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func glob(t *testing.T, folder, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, pattern))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return files
}

func firstDifference[T comparable](got, want []T) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("missing %+v", want[i])
		case i >= len(want):
			return fmt.Sprintf("unexpected %+v", got[i])
		case got[i] != want[i]:
			return fmt.Sprintf("read %+v, written %+v", got[i], want[i])
		}
	}
	return "none"
}

// TestIntegrationDumpLogSegments: Kafka's own tool reads our directories, while
// the broker runs and after it has closed: every codec, at least 5 rolled
// segments, committed, aborted and open transactions, headers, null keys and
// values, group offsets and transaction state.
func TestIntegrationDumpLogSegments(t *testing.T) {
	kafka := peers.NeedKafka(t)
	dir := t.TempDir()
	b, err := broker.Open(broker.Config{Dir: dir, MaintenanceInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	codecs := newWritten(t, b, "codecs", map[string]string{"segment.bytes": "16384", "index.interval.bytes": "1024"})
	for i := range 300 {
		codecs.batch(8, record.Codec(i%5), 300, nil)
	}
	txns := newWritten(t, b, "transactions", nil)
	txns.batch(4, record.None, 10, nil)
	for i := range 6 {
		txns.transaction(fmt.Sprintf("t-%d", i), []string{"COMMIT", "ABORT"}[i%2])
	}
	txns.transaction("open", "")
	input := record.TopicPartition{Topic: "codecs"}
	if err := b.CommitOffsets(broker.GroupMember{Group: "readers", Generation: -1}, map[record.TopicPartition]broker.CommittedOffset{
		input: {Offset: 40, Epoch: 0, Metadata: "half"}}); err != nil {
		t.Fatal(err)
	}

	t.Run("while running", func(t *testing.T) {
		codecs.t, txns.t = t, t
		codecs.check(kafka, dir, 6)
		txns.check(kafka, dir, 1)
	})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	t.Run("after closing", func(t *testing.T) {
		codecs.t, txns.t = t, t
		codecs.check(kafka, dir, 6)
		txns.check(kafka, dir, 1)
	})
	t.Run("offsets and transaction state", func(t *testing.T) { checkCoordinators(t, kafka, dir) })
}

func checkCoordinators(t *testing.T, kafka *peers.Kafka, dir string) {
	offsets := decode(t, kafka, dir, "__consumer_offsets", "--offsets-decoder")
	if !strings.Contains(offsets, "readers") || !strings.Contains(offsets, "codecs") || !strings.Contains(offsets, `"offset":40`) {
		t.Errorf("Kafka's offsets decoder does not show readers' offset 40 of codecs-0:\n%s", offsets)
	}
	states := decode(t, kafka, dir, "__transaction_state", "--transaction-log-decoder")
	for _, id := range []string{"t-0", "t-1", "open"} {
		if !strings.Contains(states, id) {
			t.Errorf("Kafka's transaction decoder does not show %s:\n%s", id, states)
		}
	}
}

// decode runs a decoder over all partitions of an internal topic.
func decode(t *testing.T, kafka *peers.Kafka, dir, topic, decoder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, topic+"-*", "*.log"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no segments of %s (%v)", topic, err)
	}
	return string(dump(t, kafka, decoder, "--deep-iteration", "--print-data-log", "--files", strings.Join(files, ",")))
}
