package record_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/log/record"
)

// The files in testdata/kafka were written by Apache Kafka 4.3.1's own
// MemoryRecordsBuilder, one transactional batch for each codec with the
// records below, and by MemoryRecords.withEndTransactionMarker.

const goldenTime = int64(1795219200000)

// goldenRecord is record i of those batches.
func goldenRecord(i int) record.View {
	v := record.View{Offset: record.Offset(100 + i)}
	switch i {
	case 0:
		v.Timestamp, v.Key, v.Value = goldenTime, []byte("k0"), []byte("hello")
		v.Headers = []record.Header{{Key: "h", Value: []byte("v")}, {Key: ""}, {Key: "dup", Value: []byte("1")}, {Key: "dup", Value: []byte{}}}
	case 1:
		v.Timestamp, v.Value = goldenTime+1, []byte{}
	case 2:
		v.Timestamp, v.Key = goldenTime-5000, []byte{}
	default:
		v.Timestamp = goldenTime + int64(i)*1000
		v.Key = fmt.Appendf(nil, "key-%d", i)
		var s strings.Builder
		for j := range 10 {
			fmt.Fprintf(&s, "Invalid user %d from 10.0.0.%d ", i, j*i%250)
		}
		v.Value = []byte(s.String())
	}
	return v
}

func goldenCount(c record.Codec) int {
	if c == record.None {
		return 10
	}
	return 300
}

func goldenFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "kafka", name+".batch"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func goldenBatch(t testing.TB, c record.Codec) []byte {
	t.Helper()
	b := record.NewBuilder()
	b.SetBaseOffset(100)
	b.SetLeaderEpoch(7)
	b.SetProducer(4711, 3, 500)
	b.SetTransactional(true)
	for i := range goldenCount(c) {
		v := goldenRecord(i)
		b.Append(&v)
	}
	batch, err := b.Finish(c)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

var codecs = []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd}

// readAll copies every record out of buf.
func readAll(t testing.TB, buf []byte, opts record.ReadOptions) []record.View {
	t.Helper()
	it := record.NewIterator(buf, opts)
	defer it.Release()
	var got []record.View
	var v record.View
	for it.Next(&v) {
		got = append(got, copyView(v))
	}
	if err := it.Err(); err != nil {
		t.Fatalf("iterating: %v", err)
	}
	return got
}

func copyView(v record.View) record.View {
	v.Key, v.Value = bytes.Clone(v.Key), bytes.Clone(v.Value)
	headers := v.Headers
	v.Headers = nil
	for _, h := range headers {
		v.Headers = append(v.Headers, record.Header{Key: strings.Clone(h.Key), Value: bytes.Clone(h.Value)})
	}
	return v
}

func wantViews(t *testing.T, got, want []record.View) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d records, want %d", len(got), len(want))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("record %d:\n got %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

func TestKafkasBatchesReadAsWritten(t *testing.T) {
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			batch := goldenFile(t, c.String())
			h, err := record.CheckRecords(batch, 0)
			if err != nil {
				t.Fatal(err)
			}
			if h.BaseOffset != 100 || h.LeaderEpoch != 7 || h.ProducerID != 4711 || h.ProducerEpoch != 3 || h.BaseSequence != 500 ||
				!h.Transactional() || h.Control() || h.LogAppendTime() || h.Codec() != c || h.Size() != len(batch) ||
				h.BaseTimestamp != goldenTime || int(h.Count) != goldenCount(c) || h.LastOffset() != record.Offset(99+goldenCount(c)) {
				t.Errorf("header %+v", h)
			}
			var want []record.View
			for i := range goldenCount(c) {
				want = append(want, goldenRecord(i))
			}
			wantViews(t, readAll(t, batch, record.ReadOptions{}), want)
		})
	}
}

func TestUncompressedBatchIsByteForByteKafkas(t *testing.T) {
	if got, want := goldenBatch(t, record.None), goldenFile(t, "none"); !bytes.Equal(got, want) {
		t.Errorf("got\n%x\nKafka writes\n%x", got, want)
	}
}

func TestCompressedFramesBeginAsKafkas(t *testing.T) {
	for c, n := range map[record.Codec]int{record.Snappy: 16, record.LZ4: 7} {
		got, want := goldenBatch(t, c)[record.HeaderSize:], goldenFile(t, c.String())[record.HeaderSize:]
		if !bytes.Equal(got[:n], want[:n]) {
			t.Errorf("%s frame header: got %x, Kafka writes %x", c, got[:n], want[:n])
		}
	}
}

func TestMarkersAreByteForByteKafkas(t *testing.T) {
	for name, typ := range map[string]record.ControlType{"commit": record.CommitMarker, "abort": record.AbortMarker} {
		got := record.AppendMarkerBatch(nil, 4711, 3, record.Marker{Type: typ, CoordinatorEpoch: 12}, goldenTime)
		record.SetBaseOffset(got, 42)
		record.SetLeaderEpoch(got, 9)
		want := goldenFile(t, name)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got\n%x\nKafka writes\n%x", name, got, want)
		}
		h, err := record.CheckRecords(want, 0)
		if err != nil || !h.Control() || !h.Transactional() || h.BaseSequence != record.NoSequence {
			t.Errorf("%s: header %+v, error %v", name, h, err)
		}
		v := readAll(t, want, record.ReadOptions{})[0]
		m, err := record.ParseMarker(&v)
		if err != nil || m != (record.Marker{Type: typ, CoordinatorEpoch: 12}) {
			t.Errorf("%s: marker %+v, error %v", name, m, err)
		}
	}
}

// Values printed by org.apache.kafka.common.utils.Utils.murmur2.
func TestMurmur2IsKafkas(t *testing.T) {
	for key, want := range map[string]int32{
		"": 275646681, "a": -1563381124, "ab": 316155434, "abc": 479470107, "abcd": -1323649548,
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "\u00ff\u00fe": -1869419400,
		"neworder42": 154757846, "update42": 1203672744, "host-0123456789a": 1472359451,
	} {
		if got := record.Murmur2([]byte(key)); got != want {
			t.Errorf("Murmur2(%q) = %d, want %d", key, got, want)
		}
		if got, want := record.PartitionForKey([]byte(key), 7), record.Partition((want&0x7fffffff)%7); got != want {
			t.Errorf("PartitionForKey(%q, 7) = %d, want %d", key, got, want)
		}
	}
}
