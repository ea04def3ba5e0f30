package record

import (
	"bytes"
	"errors"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// Encoders of streams name the largest window that they may use, whatever comes.
func TestZstdWithAWindowAboveTheBound(t *testing.T) {
	text := bytes.Repeat([]byte("0123456789abcdef, and again "), 3000)
	var packed bytes.Buffer
	w, err := zstd.NewWriter(&packed, zstd.WithWindowSize(32<<20), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		t.Fatal(err)
	}
	w.Write(text[:40_000])
	if err := errors.Join(w.Flush(), func() error { _, err := w.Write(text[40_000:]); return err }(), w.Close()); err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(packed.Bytes())
	var header zstd.Header
	if err := header.Decode(before); err != nil || header.WindowSize != 32<<20 || header.HasFCS {
		t.Fatalf("the frame is not the one of this test: %+v, %v", header, err)
	}
	for _, limit := range []int{len(text), len(text) + 1, 1 << 20, 64 << 20} {
		out, err := decompressZstd(nil, packed.Bytes(), limit)
		if err != nil || !bytes.Equal(out, text) {
			t.Errorf("limit %d: %d bytes, %v", limit, len(out), err)
		}
	}
	for _, limit := range []int{len(text) - 1, len(text) - 2} {
		if _, err := decompressZstd(nil, packed.Bytes(), limit); !errors.Is(err, ErrDecompressedSize) {
			t.Errorf("limit %d: %v, expected ErrDecompressedSize", limit, err)
		}
	}
	if !bytes.Equal(packed.Bytes(), before) {
		t.Error("the batch was changed")
	}
}
