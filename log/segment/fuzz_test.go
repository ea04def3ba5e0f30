package segment

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// Every decoder must refuse or read any bytes without a panic, and what it
// accepts must be what its encoder writes.

func FuzzSnapshot(f *testing.F) {
	f.Add(appendSnapshot(nil, nil))
	f.Add(appendSnapshot(nil, []ProducerState{{ProducerID: 1, Epoch: 2, LastSequence: 3, LastOffset: 4, LastTimestamp: 5, TxnFirst: -1}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		states, err := parseSnapshot("f", b)
		if err == nil && len(states) < 2 && !bytes.Equal(appendSnapshot(nil, states), b) {
			t.Errorf("accepted %x, which is not what is written for %+v", b, states)
		}
	})
}

func FuzzTxnIndex(f *testing.F) {
	f.Add(appendTxnEntry(nil, AbortedTxn{1, 2, 3, 4}))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseTxnIndex("f", b, 0, 1<<40)
		if err != nil {
			return
		}
		var again []byte
		for _, e := range list {
			again = appendTxnEntry(again, e)
		}
		if !bytes.Equal(again, b) {
			t.Errorf("accepted %x, which is not what is written for %+v", b, list)
		}
	})
}

func FuzzIndexes(f *testing.F) {
	f.Add(appendOffsetEntry(nil, 0, 5, 100), int64(200))
	f.Add(appendTimeEntry(nil, 0, 5, 100), int64(200))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		if checkOffsetIndex("f", b, size) == nil && len(b)%offsetEntrySize != 0 {
			t.Error("accepted a partial entry")
		}
		if checkTimeIndex("f", b) == nil && len(b)%timeEntrySize != 0 {
			t.Error("accepted a partial entry")
		}
	})
}

func FuzzCheckpointFiles(f *testing.F) {
	f.Add([]byte("0\n1\n0 0\n"))
	f.Add([]byte("0\n1\nt 0 5\n"))
	f.Add(formatMetadata([16]byte{1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, err := parseEpochs("f", b); err == nil {
			if again := (&epochs{list: list}).format(); !bytes.Equal(again, b) {
				t.Errorf("epochs: accepted %q, written is %q", b, again)
			}
		}
		if id, err := parseMetadata("f", b); err == nil && !bytes.Equal(bytes.TrimSuffix(b, []byte("\n")), formatMetadata(id)) {
			t.Errorf("metadata: accepted %q", b)
		}
		offsets, err := parseOffsetCheckpoint("f", b)
		if err != nil {
			return
		}
		fs := vfs.NewMem()
		if err := WriteOffsetCheckpoint(fs, "/f", offsets); err != nil {
			t.Fatal(err)
		}
		if again, err := ReadOffsetCheckpoint(fs, "/f"); err != nil || !reflect.DeepEqual(again, offsets) {
			t.Errorf("offsets %v came back as %v, %v", offsets, again, err)
		}
	})
}

// FuzzRecovery opens a partition whose only .log file holds any bytes.
func FuzzRecovery(f *testing.F) {
	b := record.NewBuilder()
	b.Append(&record.View{Key: []byte("k")})
	one, _ := b.Finish(record.None)
	f.Add(bytes.Clone(one), int64(0))
	f.Add(record.AppendMarkerBatch(bytes.Clone(one), 1, 1, record.Marker{}, 1), int64(1))
	f.Fuzz(func(t *testing.T, data []byte, recoveryPoint int64) {
		fs := vfs.NewMem()
		if err := fs.MkdirAll("/data/t-0"); err != nil {
			t.Fatal(err)
		}
		if err := writeFile(fs, "/data/t-0/00000000000000000000.log", data, false); err != nil {
			t.Fatal(err)
		}
		l, r, err := Open(testConfig(fs, small), OpenOptions{RecoveryPoint: record.Offset(recoveryPoint & 3)})
		if err != nil {
			return
		}
		defer l.Abandon()
		if got := l.Bytes() + r.Cut; got != int64(len(data)) {
			t.Errorf("%d bytes kept and cut, the file had %d", got, len(data))
		}
		end := l.End()
		if _, err := l.Append(bytes.Clone(one), AppendOptions{}); err != nil || l.End() != end+1 {
			t.Errorf("append after recovery: %v, %s", err, fmt.Sprint(l.End()))
		}
	})
}
