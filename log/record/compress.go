package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// compress appends src, compressed, to dst. docs/format/batch.md, "Codecs".
func compress(dst []byte, c Compression, src []byte) ([]byte, error) {
	switch c.Codec {
	case None:
		return append(dst, src...), nil
	case Gzip:
		return compressGzip(dst, src, c)
	case Snappy:
		return compressXerial(dst, src), nil
	case LZ4:
		return compressLZ4(dst, src, c)
	case Zstd:
		e, err := zstdEncoder(c)
		if err != nil {
			return nil, err
		}
		return e.EncodeAll(src, dst), nil
	}
	return nil, fmt.Errorf("%w: %d: expected 0..4", ErrCodec, c.Codec)
}

// decompress appends src, decompressed, to dst, which is empty. It never
// holds more than limit bytes (and the decoder's window).
func decompress(dst []byte, codec Codec, src []byte, limit int) ([]byte, error) {
	var err error
	switch codec {
	case None:
		return append(dst, src...), nil
	case Gzip:
		dst, err = decompressGzip(dst, src, limit)
	case Snappy:
		dst, err = decompressSnappy(dst, src, limit)
	case LZ4:
		dst, err = decompressLZ4(dst, src, limit)
	case Zstd:
		dst, err = decompressZstd(dst, src, limit)
	default:
		return dst, fmt.Errorf("%w: %d: expected 0..4", ErrCodec, codec)
	}
	if err != nil && !errors.Is(err, ErrDecompressedSize) {
		err = fmt.Errorf("%w: %s: %w", ErrDecompress, codec, err)
	}
	return dst, err
}

// Pools. What grew beyond maxScratch is left to the garbage collector.
const maxScratch = 4 << 20

var scratchPool = sync.Pool{New: func() any { return new([]byte) }}

func takeScratch() *[]byte { return scratchPool.Get().(*[]byte) }

func releaseScratch(b *[]byte) {
	if cap(*b) > maxScratch {
		return
	}
	*b = (*b)[:0]
	scratchPool.Put(b)
}

// sink is an io.Writer that appends.
type sink struct{ b []byte }

func (s *sink) Write(p []byte) (int, error) {
	s.b = append(s.b, p...)
	return len(p), nil
}

type gzipEncoder struct {
	out sink
	w   *gzip.Writer
}

// gzipEncoders by level, from -1 to 9.
var gzipEncoders [11]sync.Pool

func compressGzip(dst, src []byte, c Compression) ([]byte, error) {
	level := gzip.DefaultCompression
	if c.Leveled {
		level = min(max(c.Level, -1), 9)
	}
	e, _ := gzipEncoders[level+1].Get().(*gzipEncoder)
	if e == nil {
		w, err := gzip.NewWriterLevel(io.Discard, level)
		if err != nil {
			return nil, err
		}
		e = &gzipEncoder{w: w}
	}
	defer gzipEncoders[level+1].Put(e)
	e.out.b = dst
	e.w.Reset(&e.out)
	_, err := e.w.Write(src)
	if cerr := e.w.Close(); err == nil {
		err = cerr
	}
	dst, e.out.b = e.out.b, nil
	return dst, err
}

type gzipDecoder struct {
	in bytes.Reader
	r  gzip.Reader
}

var gzipDecoders = sync.Pool{New: func() any { return new(gzipDecoder) }}

func decompressGzip(dst, src []byte, limit int) ([]byte, error) {
	d := gzipDecoders.Get().(*gzipDecoder)
	defer gzipDecoders.Put(d)
	d.in.Reset(src)
	defer d.in.Reset(nil)
	if err := d.r.Reset(&d.in); err != nil {
		return dst, unexpectedEOF(err)
	}
	return readAll(dst, &d.r, len(src)*4, limit)
}

type lz4Encoder struct {
	out sink
	w   *lz4.Writer
}

// lz4Encoders by level: the fast compressor, then 1 to 9. Kafka's 10 to 17 are 9 here.
var lz4Encoders [10]sync.Pool

// newLZ4Encoder: Kafka's Java client refuses frames with dependent blocks and
// writes blocks of 64 KiB without checksums.
func newLZ4Encoder(level int) (*lz4Encoder, error) {
	w := lz4.NewWriter(io.Discard)
	l := lz4.Fast
	if level > 0 {
		l = lz4.CompressionLevel(1 << (8 + level))
	}
	err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false),
		lz4.BlockChecksumOption(false), lz4.ConcurrencyOption(1), lz4.CompressionLevelOption(l))
	return &lz4Encoder{w: w}, err
}

func compressLZ4(dst, src []byte, c Compression) ([]byte, error) {
	level := 0
	if c.Leveled {
		level = min(max(c.Level, 1), 9)
	}
	e, _ := lz4Encoders[level].Get().(*lz4Encoder)
	if e == nil {
		var err error
		if e, err = newLZ4Encoder(level); err != nil {
			return nil, err
		}
	}
	defer lz4Encoders[level].Put(e)
	e.out.b = dst
	e.w.Reset(&e.out)
	_, err := e.w.Write(src)
	if cerr := e.w.Close(); err == nil {
		err = cerr
	}
	dst, e.out.b = e.out.b, nil
	return dst, err
}

type lz4Decoder struct {
	in bytes.Reader
	r  *lz4.Reader
}

var lz4Decoders = sync.Pool{New: func() any { return &lz4Decoder{r: lz4.NewReader(nil)} }}

func decompressLZ4(dst, src []byte, limit int) ([]byte, error) {
	dst, ok := decodeLZ4(dst, src, limit)
	if ok {
		return dst, nil
	}
	d := lz4Decoders.Get().(*lz4Decoder)
	defer lz4Decoders.Put(d)
	d.in.Reset(src)
	defer d.in.Reset(nil)
	d.r.Reset(&d.in)
	return readAll(dst, d.r, len(src)*3, limit)
}

// zstdEncoders are shared, one for each of the library's four speeds: EncodeAll
// and DecodeAll may be called at once. Their windows are kept small: batches are,
// and each idle coder holds one.
var zstdEncoders [zstd.SpeedBestCompression + 1]struct {
	once sync.Once
	e    *zstd.Encoder
	err  error
}

func zstdEncoder(c Compression) (*zstd.Encoder, error) {
	speed := zstd.SpeedDefault
	if c.Leveled {
		speed = zstd.EncoderLevelFromZstd(c.Level)
	}
	z := &zstdEncoders[speed]
	z.once.Do(func() {
		z.e, z.err = zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	})
	return z.e, z.err
}

// zstdDecoders are kept by their bound, which only the decoder itself can
// hold: a frame's own size may be absent or a lie. Bounds come from
// configuration, so they are few. (The decoder's limit by the destination's
// capacity is not used: it reports a full one like a corrupt block.)
var zstdDecoders sync.Map // int -> *zstd.Decoder

func zstdDecoder(limit int) (*zstd.Decoder, error) {
	if d, ok := zstdDecoders.Load(limit); ok {
		return d.(*zstd.Decoder), nil
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(uint64(limit)))
	if err != nil {
		return nil, err
	}
	kept, _ := zstdDecoders.LoadOrStore(limit, d)
	return kept.(*zstd.Decoder), nil
}

func decompressZstd(dst, src []byte, limit int) ([]byte, error) {
	d, err := zstdDecoder(limit)
	if err != nil {
		return dst, err
	}
	out, err := d.DecodeAll(withinWindow(src, limit), dst)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) || err == nil && len(out) > limit {
		return dst, tooLarge(limit)
	}
	if err != nil {
		return dst, unexpectedEOF(err)
	}
	return out, nil
}

// withinWindow is a zstd frame that says it needs no larger window than limit, or
// src itself, if that is so already. Some encoders name a window of 8 MiB and more
// for any batch, which the decoder refuses beside a smaller bound; what
// decompresses to limit bytes never refers further back than these (RFC 8878,
// section 3.1.1.1.2).
func withinWindow(src []byte, limit int) []byte {
	const magic, descriptor, singleSegment, leastLog = 4, 5, 1 << 5, 10
	if len(src) <= descriptor || src[magic]&singleSegment != 0 {
		return src
	}
	size := func(d byte) uint64 {
		base := uint64(1) << (leastLog + d>>3)
		return base + base/8*uint64(d&7)
	}
	d := src[descriptor]
	if size(d) <= uint64(limit) {
		return src
	}
	for d > 0 && size(d) > uint64(limit) {
		d--
	}
	out := slices.Clone(src)
	out[descriptor] = d
	return out
}

// decompressSnappy reads both forms: Kafka's Java client writes xerial's
// stream of blocks, others one bare block.
func decompressSnappy(dst, src []byte, limit int) ([]byte, error) {
	if bytes.HasPrefix(src, xerialMagic[:]) {
		return decompressXerial(dst, src, limit)
	}
	return appendSnappyBlock(dst, src, limit)
}

func appendSnappyBlock(dst, block []byte, limit int) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	if err != nil {
		return dst, err
	}
	if n > limit-len(dst) {
		return dst, tooLarge(limit)
	}
	at := len(dst)
	dst = slices.Grow(dst, n)
	out, err := snappy.Decode(dst[at:at+n:at+n], block)
	if err != nil {
		return dst[:at], err
	}
	return dst[:at+len(out)], nil
}

// readAll appends r to dst up to limit bytes; guess is a first size for it.
func readAll(dst []byte, r io.Reader, guess, limit int) ([]byte, error) {
	dst = slices.Grow(dst, min(max(guess, 512), limit))
	for {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, min(max(len(dst), 512), limit+1))
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if len(dst) > limit {
			return dst[:0], tooLarge(limit)
		}
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, unexpectedEOF(err)
		}
	}
}

// unexpectedEOF: an io.EOF inside of a frame is no normal end.
func unexpectedEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func tooLarge(limit int) error { return fmt.Errorf("%w of %d bytes", ErrDecompressedSize, limit) }
