package task

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/streams/processor"
)

// The headers of a repartition topic, whatever is in them: a watermark moves the
// time of one upstream task or is ErrBadWatermark, a carried time counts if it
// is whole, and nothing panics or lets stream time fall.
func FuzzRepartitionHeaders(f *testing.F) {
	ms := func(v int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(v)) }
	f.Add([]byte("7_1"), ms(140), ms(400), int64(90))
	f.Add([]byte("7_0"), ms(processor.NoTime), ms(10), int64(90))
	f.Add([]byte("7_1"), ms(processor.MaxTime), ms(processor.MaxTime), int64(-1))
	f.Add([]byte("9_9"), ms(140), []byte(nil), int64(0))
	f.Add([]byte("7_00"), ms(-1), ms(-1), int64(-5))
	f.Add([]byte(nil), ms(1), []byte(nil), int64(0))
	f.Add([]byte("7_"), []byte{1, 2}, []byte{1, 2}, int64(1))
	f.Add([]byte("99999999999999999999_0"), []byte(nil), []byte("123456789"), int64(1))
	f.Fuzz(func(t *testing.T, from, value, carried []byte, timestamp int64) {
		d := &driver{t: t, now: time.UnixMilli(1_000_000), next: map[string]record.Offset{},
			from: map[record.TopicPartition]record.Offset{}, ready: map[record.TopicPartition]logclient.OffsetEpoch{}}
		for _, command := range []string{"task repartition", "mark in0 7_0 200", "mark in0 7_1 150", "work"} {
			if err := d.do(strings.Fields(command)); err != nil {
				t.Fatal(err)
			}
		}
		// Each kind once, so that neither hides the other.
		d.feed("in0", record.View{Timestamp: timestamp, Value: []byte("x"), Headers: []record.Header{{Key: headerTime, Value: carried}, {Key: "user", Value: carried}}})
		if err := d.do([]string{"work"}); err != nil {
			t.Fatalf("carried %x: %v", carried, err)
		}
		want := timestamp
		if len(carried) == 8 {
			want = max(want, int64(binary.BigEndian.Uint64(carried)))
		}
		if line := fmt.Sprintf("process 0: in0 x@%d time %s headers 1\n", timestamp, at(want)); !strings.HasSuffix(d.out.String(), line) {
			t.Errorf("carried %x: it went %q, want at its end %q", carried, d.out.String(), line)
		}
		if len(from) == 0 {
			from = nil // as a header's null value comes
		}
		d.feed("in0", record.View{Value: value, Headers: []record.Header{{Key: headerWatermark, Value: from}}})
		err := d.do([]string{"work"})
		if strings.Count(d.out.String(), "process") != 1 {
			t.Errorf("watermark of %q, %x: the unit got it as a record", from, value)
		}
		id, ok := parseTaskID(from)
		upstream := slices.Contains([]plan.TaskID{{Sub: 7, Partition: 0}, {Sub: 7, Partition: 1}}, id)
		if good := ok && upstream && len(value) == 8; good != (err == nil) || err != nil && !errors.Is(err, ErrBadWatermark) {
			t.Errorf("watermark of %q, %x: %v", from, value, err)
		}
		wantTime := int64(150)
		if err == nil && id.Partition == 1 {
			wantTime = min(max(wantTime, int64(binary.BigEndian.Uint64(value))), 200)
		}
		if got := d.task.StreamTime(); got != wantTime {
			t.Errorf("watermark of %q, %x: stream time %d, want %d", from, value, got, wantTime)
		}
	})
}
