package clients

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-io/millstream/internal/peers"
)

// someRecords are what a client may send: null and empty keys, values and header
// values, headers twice, bytes that are no text, a large value, times apart.
func someRecords(partitions, each int) []record {
	var all []record
	for i := range each {
		for p := range partitions {
			r := record{
				Partition: int32(p), Time: 1_700_000_000_000 + int64(i*7+p), Headers: []header{},
				Key: []byte(fmt.Sprintf("key-%d", i%17)), Value: bytes.Repeat([]byte(fmt.Sprintf("value %d of %d ", i, p)), 1+i%5),
			}
			switch i % 11 {
			case 1:
				r.Key = nil
			case 2:
				r.Value = nil
			case 3:
				r.Key, r.Value = []byte{}, []byte{}
			case 4:
				r.Headers = []header{{"h", []byte("one")}, {"h", []byte("two")}, {"empty", []byte{}}, {"null", nil}}
			case 5:
				r.Value = []byte{0, 255, 0xfe, '\n', 0x80}
			case 6:
				r.Value = bytes.Repeat([]byte{byte(i), byte(p), 3}, 5000)
			}
			all = append(all, r)
		}
	}
	return all
}

// placed are the records as the log has them: with the offsets in their partitions.
func placed(records []record) []record {
	next := map[int32]int64{}
	out := make([]record, len(records))
	for i, r := range records {
		out[i] = r
		out[i].Offset = next[r.Partition]
		next[r.Partition]++
	}
	return inOrder(out)
}

// sameRecords compares exactly, but for what the library's interface cannot tell apart.
func sameRecords(t *testing.T, l library, what string, got, want []record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d records, want %d", what, len(got), len(want))
	}
	for i := range want {
		g, w := got[i], want[i]
		if l.nullIsEmpty {
			g, w = flattened(g), flattened(w)
		}
		if !reflect.DeepEqual(g, w) {
			t.Fatalf("%s: record %d of partition %d differs:\ngot  %.300q\nwant %.300q", what, w.Offset, w.Partition, fmt.Sprintf("%#v", g), fmt.Sprintf("%#v", w))
		}
	}
}

// flattened shows null as empty.
func flattened(r record) record {
	r.Key, r.Value = append([]byte{}, r.Key...), append([]byte{}, r.Value...)
	hs := []header{}
	for _, h := range r.Headers {
		hs = append(hs, header{h.Key, append([]byte{}, h.Value...)})
	}
	r.Headers = hs
	return r
}

// create makes a topic by franz-go, so that tests of other matters do not depend on the client under test.
func create(t *testing.T, partitions int32, configs map[string]*string) string {
	t.Helper()
	topic, f := name(t, "topic"), startFranzGo(t, target(t))
	if err := f.admin("create", adminArgs{Topic: topic, Partitions: partitions, Configs: configs}, nil); err != nil {
		t.Fatal(err)
	}
	until(t, "the topic known to the broker", func() (bool, string) { // Kafka's controller tells it a little later
		for p := range partitions {
			var end int64
			if err := f.admin("offset", adminArgs{Topic: topic, Partition: p, At: -1}, &end); err != nil {
				return false, err.Error()
			}
		}
		return true, ""
	})
	return topic
}

var codecNumbers = map[string]uint8{"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}

func TestIntegrationRecordsOfEachClientAreReadExactly(t *testing.T) {
	each(t, func(library) bool { return true }, func(t *testing.T, l library, c client) {
		want := someRecords(3, 120)
		for _, codec := range l.codecs {
			topic := create(t, 3, nil)
			offsets, err := c.produce(produceArgs{Topic: topic, Codec: codec, Acks: "all", Idempotent: l.idempotent, Records: want})
			if err != nil {
				t.Fatalf("%s: %v", codec, err)
			}
			sent := make([]record, len(want))
			for i, r := range want {
				sent[i] = r
				sent[i].Offset = offsets[i]
			}
			sameRecords(t, l, codec+": what the client says it sent", inOrder(sent), placed(want))
			var got []record
			err = startFranzGo(t, target(t)).(*franzGo).readEach(readArgs{Topic: topic}, func(r *kgo.Record) {
				got = append(got, franzDecode(r))
				if n := r.Attrs.CompressionType(); n != codecNumbers[codec] && r.Offset == 0 {
					t.Errorf("the first batch of partition %d is compressed by codec %d, sent with %s", r.Partition, n, codec)
				}
			})
			if err != nil {
				t.Fatalf("%s: %v", codec, err)
			}
			sameRecords(t, l, codec+": what the log has", inOrder(got), placed(want))
		}
	})
}

func TestIntegrationEachClientReadsExactly(t *testing.T) {
	peers.NeedIntegration(t)
	topic, want := create(t, 3, nil), []record(nil)
	f := startFranzGo(t, target(t))
	for _, codec := range allCodecs {
		records := someRecords(3, 40)
		if _, err := f.produce(produceArgs{Topic: topic, Codec: codec, Acks: "all", Idempotent: true, Records: records}); err != nil {
			t.Fatal(err)
		}
		want = append(want, records...)
	}
	each(t, func(library) bool { return true }, func(t *testing.T, l library, c client) {
		got, err := c.read(readArgs{Topic: topic, Isolation: "read_uncommitted"})
		if err != nil {
			t.Fatal(err)
		}
		sameRecords(t, l, "read", inOrder(got), placed(want))
	})
}

// Acks 0 and 1 differ from all in what the client waits for, not in what is kept.
func TestIntegrationEachAcksKeepsTheRecords(t *testing.T) {
	each(t, func(library) bool { return true }, func(t *testing.T, l library, c client) {
		for _, acks := range []string{"1", "0"} {
			topic, want := create(t, 2, nil), someRecords(2, 30)
			if _, err := c.produce(produceArgs{Topic: topic, Codec: "none", Acks: acks, Records: want}); err != nil {
				t.Fatalf("acks=%s: %v", acks, err)
			}
			f := startFranzGo(t, target(t))
			var got []record
			until(t, "acks="+acks+": all records", func() (bool, string) {
				var err error
				got, err = f.read(readArgs{Topic: topic})
				return err == nil && len(got) >= len(want), fmt.Sprintf("%d of %d, %v", len(got), len(want), err)
			})
			sameRecords(t, l, "acks="+acks, inOrder(got), placed(want))
		}
	})
}
