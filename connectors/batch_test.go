package connectors

import (
	"errors"
	"testing"

	"github.com/millstream-io/millstream/log/record"
)

func TestAddCopiesWhatItIsGiven(t *testing.T) {
	var b Batch
	key, value, hv := []byte("k"), []byte("value"), []byte("h")
	headers := []record.Header{{Key: "a", Value: hv}, {Key: "b"}}
	b.Add(Out{Key: key, Value: value, Headers: headers, Timestamp: 7, Partition: -1})
	key[0], value[0], hv[0] = 'x', 'x', 'x'
	headers[1].Key = "changed"

	got := b.Records()[0]
	if string(got.Key) != "k" || string(got.Value) != "value" || string(got.Headers[0].Value) != "h" || got.Headers[1].Key != "b" {
		t.Fatalf("the batch saw changes made after Add: %q %q %+v", got.Key, got.Value, got.Headers)
	}
	if b.Bytes() != len("k")+len("value")+len("h") || b.Len() != 1 {
		t.Fatalf("Len %d, Bytes %d", b.Len(), b.Bytes())
	}
}

func TestAddKeepsNullAndEmptyApart(t *testing.T) {
	var b Batch
	for range 2 { // with a fresh arena and with a used one
		b.Add(Out{Key: []byte{}, Value: nil, Headers: []record.Header{{Key: "e", Value: []byte{}}, {Key: "n"}}})
		got := b.Records()[0]
		if got.Key == nil || got.Value != nil || got.Headers[0].Value == nil || got.Headers[1].Value != nil {
			t.Fatalf("null and empty got mixed up: %#v", got)
		}
		b.Add(Out{Value: []byte("fills the arena")})
		b.Reset()
	}
}

func TestRecordsDoNotOverlapInTheArena(t *testing.T) {
	var b Batch
	for range 3 {
		b.Add(Out{Value: []byte("abc"), Headers: []record.Header{{Key: "h", Value: []byte("v")}}})
	}
	first := b.Records()[0]
	_ = append(first.Value, "overwritten"...)
	_ = append(first.Headers, record.Header{Key: "overwritten"})
	for i, r := range b.Records() {
		if string(r.Value) != "abc" || r.Headers[0].Key != "h" || string(r.Headers[0].Value) != "v" {
			t.Fatalf("record %d changed: %q %+v", i, r.Value, r.Headers)
		}
	}
}

func TestAddDoesNotAllocateOnceTheBatchHasGrown(t *testing.T) {
	var b Batch
	value, headers := make([]byte, 120), []record.Header{{Key: "h", Value: make([]byte, 8)}}
	fill := func() {
		b.Reset()
		for range 100 {
			b.Add(Out{Key: value[:8], Value: value, Headers: headers})
		}
	}
	fill()
	if n := testing.AllocsPerRun(20, fill); n != 0 {
		t.Fatalf("%v allocations for 100 records into a grown batch, want 0", n)
	}
}

func TestRecordErrorNamesTheRecordAndItsCause(t *testing.T) {
	cause := errors.New("too large")
	var err error = &RecordError{Index: 3, Err: cause}
	if err.Error() != "record 3: too large" || !errors.Is(err, cause) {
		t.Fatalf("%q does not say record 3 and its cause", err)
	}
}
