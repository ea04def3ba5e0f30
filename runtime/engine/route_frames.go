package engine

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// What one instance asks of another, and the answer: POST /stores/STORE/raw/1 with
// a question as its body. Numbers are unsigned varints (LEB128) but for times,
// which are signed ones (zigzag); texts and bytes have their length before them, or
// one more than it where none (0) is not the same as empty.
//
//	question:  op(1 byte: g, s or c)  application  partitions: count, each
//	           g: stored key          the first of the partitions that has it
//	           s: from?  to?  plain?  limit      the entries of a span of one partition
//	           c:                     nothing but the commits
//
//	answer:    frames, each type(1 byte) length body
//	           T  partition  stream time  positions: count, each topic partition offset
//	           E  key, then the value to the frame's end: an entry of the task before it
//	           X  text: what went wrong
//	           Z  (empty) the answer is complete
//
// An answer that ends without X or Z was cut off.
const rawVersion = "1"

// Kinds of questions and frames.
const (
	rawGet    = 'g'
	rawScan   = 's'
	rawCommit = 'c'

	frameTask  = 'T'
	frameEntry = 'E'
	frameError = 'X'
	frameEnd   = 'Z'
)

// Bounds of what is believed of another instance.
const (
	rawQuestionMost = 8 << 20   // bytes
	rawFrameMost    = 256 << 20 // bytes; far over any record
	rawTasksMost    = 1 << 16
)

// question is what one instance asks of another about one store.
type question struct {
	op         byte
	app        string
	partitions []int32 // at least one; of rawScan exactly one
	key        []byte
	in         span
}

func (q *question) append(b []byte) []byte {
	b = append(b, q.op)
	b = appendBytes(b, []byte(q.app))
	b = binary.AppendUvarint(b, uint64(len(q.partitions)))
	for _, p := range q.partitions {
		b = binary.AppendUvarint(b, uint64(p))
	}
	switch q.op {
	case rawGet:
		b = appendBytes(b, q.key)
	case rawScan:
		b = appendNullable(b, q.in.from)
		b = appendNullable(b, q.in.to)
		b = appendNullable(b, q.in.plain)
		b = binary.AppendUvarint(b, q.in.limit)
	}
	return b
}

func decodeQuestion(b []byte) (q question, err error) {
	r := rawReader{b: b}
	q.op = r.byte()
	q.app = string(r.bytes())
	n := r.uint(rawTasksMost)
	for range n {
		q.partitions = append(q.partitions, int32(r.uint(math.MaxInt32)))
		if r.err != nil {
			break
		}
	}
	switch q.op {
	case rawGet:
		q.key = r.bytes()
	case rawScan:
		q.in.from, q.in.to, q.in.plain, q.in.limit = r.nullable(), r.nullable(), r.nullable(), r.uint(math.MaxUint64)
	case rawCommit:
	default:
		r.fail("a question of kind %q", q.op)
	}
	if len(q.partitions) == 0 || (q.op == rawScan && len(q.partitions) != 1) {
		r.fail("a question about %d tasks", len(q.partitions))
	}
	if len(r.b) > 0 {
		r.fail("%d bytes after the question", len(r.b))
	}
	return q, r.err
}

func appendBytes(b, s []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendNullable(b, s []byte) []byte {
	if s == nil {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(s))+1)
	return append(b, s...)
}

// rawReader takes a body apart; after its first error it gives zeros.
type rawReader struct {
	b   []byte
	err error
}

func (r *rawReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.b = nil
}

func (r *rawReader) byte() byte {
	if len(r.b) == 0 {
		r.fail("cut off")
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *rawReader) uint(most uint64) uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.fail("cut off in a number")
		return 0
	}
	if n > most {
		r.fail("number %d, expected at most %d", n, most)
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *rawReader) int() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.fail("cut off in a number")
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *rawReader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail("cut off: %d bytes of %d", len(r.b), n)
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *rawReader) bytes() []byte { return r.take(r.uint(rawFrameMost)) }

func (r *rawReader) nullable() []byte {
	n := r.uint(rawFrameMost)
	if n == 0 {
		return nil
	}
	return r.take(n - 1)
}

// taskFrame is frame T.
type taskFrame struct {
	partition int32
	timeMS    int64
	positions []InputOffset
}

func (f *taskFrame) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(f.partition))
	b = binary.AppendVarint(b, f.timeMS)
	b = binary.AppendUvarint(b, uint64(len(f.positions)))
	for _, p := range f.positions {
		b = appendBytes(b, []byte(p.Topic))
		b = binary.AppendUvarint(b, uint64(p.Partition))
		b = binary.AppendUvarint(b, uint64(p.Offset))
	}
	return b
}

func decodeTask(b []byte) (f taskFrame, err error) {
	r := rawReader{b: b}
	f.partition = int32(r.uint(math.MaxInt32))
	f.timeMS = r.int()
	n := r.uint(rawTasksMost)
	f.positions = []InputOffset{}
	for range n {
		p := InputOffset{Topic: string(r.bytes()), Partition: int32(r.uint(math.MaxInt32)), Offset: int64(r.uint(math.MaxInt64))}
		if r.err != nil {
			break
		}
		f.positions = append(f.positions, p)
	}
	if len(r.b) > 0 {
		r.fail("%d bytes after the positions", len(r.b))
	}
	return f, r.err
}

// splitEntry takes frame E apart.
func splitEntry(b []byte) (key, value []byte, err error) {
	r := rawReader{b: b}
	key = r.bytes()
	return key, r.b, r.err
}

// frameWriter writes an answer. Its errors are sticky.
type frameWriter struct {
	w    io.Writer
	body []byte // the next frame's, kept for its memory
	err  error
}

func (f *frameWriter) frame(kind byte, body []byte) error {
	if f.err != nil {
		return f.err
	}
	var head [1 + binary.MaxVarintLen64]byte
	head[0] = kind
	n := 1 + binary.PutUvarint(head[1:], uint64(len(body)))
	if _, f.err = f.w.Write(head[:n]); f.err == nil {
		_, f.err = f.w.Write(body)
	}
	return f.err
}

func (f *frameWriter) task(t taskFrame) error {
	f.body = t.append(f.body[:0])
	return f.frame(frameTask, f.body)
}

func (f *frameWriter) entry(key, value []byte) error {
	f.body = append(appendBytes(f.body[:0], key), value...)
	return f.frame(frameEntry, f.body)
}

// frameReader reads an answer.
type frameReader struct {
	r    *bufio.Reader
	body bytes.Buffer
}

// next is the next frame; its body is borrowed until the call after it. An answer
// that is over is io.EOF, one that was cut off io.ErrUnexpectedEOF, and what the
// other instance says went wrong an *askedError.
func (f *frameReader) next() (kind byte, body []byte, err error) {
	if kind, err = f.r.ReadByte(); err != nil {
		return 0, nil, cutOff(err)
	}
	n, err := binary.ReadUvarint(f.r)
	if err != nil {
		return 0, nil, cutOff(err)
	}
	if n > rawFrameMost {
		return 0, nil, fmt.Errorf("a frame of %d bytes, expected at most %d", n, rawFrameMost)
	}
	f.body.Reset()
	if _, err := io.CopyN(&f.body, f.r, int64(n)); err != nil { // grows with what is there
		return 0, nil, cutOff(err)
	}
	switch kind {
	case frameTask, frameEntry:
		return kind, f.body.Bytes(), nil
	case frameError:
		return 0, nil, &askedError{f.body.String()}
	case frameEnd:
		return 0, nil, io.EOF
	}
	return 0, nil, fmt.Errorf("a frame of kind %q", kind)
}

func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// askedError is what another instance says of its own trouble.
type askedError struct{ text string }

func (e *askedError) Error() string { return e.text }
