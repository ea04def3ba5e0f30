package record

import (
	"encoding/binary"
	"testing"
)

func TestCheckFrames(t *testing.T) {
	build := func() []byte {
		b := NewBuilder()
		for _, v := range []string{"", "a", string(make([]byte, 300))} {
			b.Append(&View{Value: []byte(v), Timestamp: 1})
		}
		raw, err := b.Finish(None)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	for _, c := range []struct {
		name   string
		change func(b []byte)
		good   bool
	}{
		{"as built", func([]byte) {}, true},
		{"a record less than counted", func(b []byte) { binary.BigEndian.PutUint32(b[atCount:], 2) }, false},
		{"a longer first record", func(b []byte) { b[HeaderSize] += 2 }, false},
		{"a negative length", func(b []byte) { b[HeaderSize] = 1 }, false},
		{"a length beyond the batch", func(b []byte) { b[HeaderSize] = 0xfe; b[HeaderSize+1] = 0x7f }, false},
	} {
		b := build()
		c.change(b)
		h, err := ParseHeader(b)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if err := CheckFrames(b, &h); (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func BenchmarkCheckFrames(b *testing.B) {
	builder := NewBuilder()
	for range 1000 {
		builder.Append(&View{Value: make([]byte, 100), Timestamp: 1})
	}
	raw, err := builder.Finish(None)
	if err != nil {
		b.Fatal(err)
	}
	h, err := ParseHeader(raw)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	for range b.N {
		if err := CheckFrames(raw, &h); err != nil {
			b.Fatal(err)
		}
	}
}
