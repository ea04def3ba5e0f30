package record

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/pierrec/lz4/v4"
)

// words is data that compresses about three times.
func words(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]byte, 0, n)
	for len(out) < n {
		out = append(out, []string{"invalid user ", "accepted password for ", "session opened "}[r.IntN(3)]...)
		for range 12 {
			out = append(out, byte('a'+r.IntN(16)))
		}
	}
	return out[:n]
}

func lz4Frame(t testing.TB, src []byte, options ...lz4.Option) []byte {
	t.Helper()
	var out bytes.Buffer
	w := lz4.NewWriter(&out)
	if err := w.Apply(options...); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(src); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func lz4Frames(t testing.TB, src []byte) map[string][]byte {
	incompressible := make([]byte, 100_000)
	for i := range incompressible {
		incompressible[i] = byte(rand.Uint32())
	}
	return map[string][]byte{
		"library's default": lz4Frame(t, src),
		"as Java writes":    lz4Frame(t, src, lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false)),
		"block sums":        lz4Frame(t, src, lz4.BlockSizeOption(lz4.Block256Kb), lz4.BlockChecksumOption(true)),
		"with its size":     lz4Frame(t, src, lz4.SizeOption(uint64(len(src)))),
		"raw blocks":        lz4Frame(t, incompressible),
		"nothing":           lz4Frame(t, nil),
	}
}

// What clients write takes the short way, and both ways read the same.
func TestFramesOfLZ4AreReadWithoutTheLibrarysReader(t *testing.T) {
	for name, frame := range lz4Frames(t, words(300_000)) {
		want, err := readAll(nil, lz4.NewReader(bytes.NewReader(frame)), 0, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := decodeLZ4([]byte("before"), frame, len(want))
		if !ok || !bytes.Equal(got, append([]byte("before"), want...)) {
			t.Errorf("%s: read %v, %d bytes, expected %d", name, ok, len(got)-6, len(want))
		}
		if len(want) > 0 {
			if got, ok = decodeLZ4(nil, frame, len(want)-1); ok || len(got) > 0 {
				t.Errorf("%s: one byte above the limit: %d bytes", name, len(got))
			}
			if _, err = decompress(nil, LZ4, frame, len(want)-1); !errors.Is(err, ErrDecompressedSize) {
				t.Errorf("%s: one byte above the limit: error %v", name, err)
			}
		}
	}
}

// A frame whose blocks look back into those before, as librdkafka can write
// (LZ4F with linked blocks); made by hand: the library writes none.
func TestFramesOfLinkedBlocksAreRead(t *testing.T) {
	frame := []byte{0x04, 0x22, 0x4d, 0x18, lz4Version, 4 << 4, 0}
	frame[6] = byte(xxh32(frame[4:6]) >> 8)
	frame = append(frame, 8, 0, 0, 0x80)                             // raw, 8 bytes
	frame = append(frame, "abcdefgh"...)                             //
	frame = append(frame, 9, 0, 0, 0)                                // compressed:
	frame = append(frame, 0x04, 8, 0, 0x50, 'v', 'w', 'x', 'y', 'z') // 8 bytes from 8 back; 5 literals
	frame = append(frame, 0, 0, 0, 0)
	got, ok := decodeLZ4(nil, frame, 100)
	if want := "abcdefghabcdefghvwxyz"; !ok || string(got) != want {
		t.Fatalf("read %v, %q, expected %q", ok, got, want)
	}
}

// Whatever is damaged gets the verdict of the library's reader, but for the sum
// of the content, which is left to the batch's checksum.
func TestDamagedFramesOfLZ4AreLeftToTheLibrary(t *testing.T) {
	for name, frame := range lz4Frames(t, words(5_000)) {
		for i := 0; i < len(frame); i += 1 + i/20 { // every byte of the header
			for _, bad := range [][]byte{frame[:i], append(append(bytes.Clone(frame[:i]), frame[i]^1<<(i%8)), frame[i+1:]...)} {
				got, ok := decodeLZ4(nil, bad, 1<<20)
				if !ok {
					continue
				}
				want, err := readAll(nil, lz4.NewReader(bytes.NewReader(bad)), 0, 1<<20)
				if err != nil && !errors.Is(err, lz4.ErrInvalidFrameChecksum) || err == nil && !bytes.Equal(got, want) {
					t.Fatalf("%s: damaged at byte %d of %d: read %d bytes, the library %d, %v", name, i, len(frame), len(got), len(want), err)
				}
			}
		}
	}
}

func FuzzLZ4Frame(f *testing.F) {
	for _, frame := range lz4Frames(f, words(1000)) {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		const limit = 1 << 20
		got, ok := decodeLZ4(nil, frame, limit)
		if !ok {
			return
		}
		want, err := readAll(nil, lz4.NewReader(bytes.NewReader(frame)), 0, limit)
		if err != nil && !errors.Is(err, lz4.ErrInvalidFrameChecksum) || err == nil && !bytes.Equal(got, want) {
			t.Fatalf("read %d bytes; the library %d, %v", len(got), len(want), err)
		}
	})
}

func BenchmarkDecompressLZ4(b *testing.B) {
	src := words(1 << 20)
	for _, c := range []struct {
		name string
		sum  bool
	}{{"with content sum", true}, {"without", false}} {
		b.Run(c.name, func(b *testing.B) {
			frame := lz4Frame(b, src, lz4.ChecksumOption(c.sum))
			var dst []byte
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if dst, err = decompressLZ4(dst[:0], frame, 1<<26); err != nil || len(dst) != len(src) {
					b.Fatal(err)
				}
			}
		})
	}
}
