package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"net"
	"reflect"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/semaphore"
)

const (
	// readAhead is the buffer of a connection: most requests but produces fit
	// into it whole, so that they cost one read.
	readAhead = 1 << 10
	// frameStep is how much memory a request gets at first; more comes as its bytes arrive.
	frameStep = 64 << 10
	// minHeader is a request's smallest header: key, version, correlation, null client id.
	minHeader = 2 + 2 + 4 + 2
)

// MalformedError says why a connection was closed: what came is no request
// that this server can read.
type MalformedError struct {
	Expected string
	Found    string
}

func (e *MalformedError) Error() string {
	return fmt.Sprintf("malformed request: expected %s, found %s", e.Expected, e.Found)
}

func malformed(expected string, found any) error {
	return &MalformedError{expected, fmt.Sprint(found)}
}

// frame is the bytes of one request without its size.
type frame struct {
	b      []byte
	memory *semaphore.Weighted // to give weight back to
	weight int64
	pooled *[]byte // produce only: what other requests hold may be kept
	done   func()  // gives back what was reserved for decoding; nil for nothing
}

// unreserve gives the reservation back, but not the memory.
func (f *frame) unreserve() {
	if f.weight > 0 {
		f.memory.Release(f.weight)
		f.weight = 0
	}
}

// release gives memory and its reservation back. It may be called twice.
func (f *frame) release() {
	f.unreserve()
	if f.pooled != nil {
		putBuffer(f.pooled)
	}
	if f.done != nil {
		f.done()
	}
	*f = frame{}
}

// framePools hold the buffers of produce requests: pool i those of frameStep<<i bytes.
var framePools [9]sync.Pool

// getBuffer gives an empty buffer for at least size bytes.
func getBuffer(size int) *[]byte {
	class := bits.Len(uint(size-1) / frameStep)
	if class >= len(framePools) {
		b := make([]byte, 0, size)
		return &b
	}
	if b, ok := framePools[class].Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, frameStep<<class)
	return &b
}

func putBuffer(b *[]byte) {
	class := bits.Len(uint(cap(*b)-1) / frameStep)
	if class < len(framePools) && cap(*b) == frameStep<<class {
		*b = (*b)[:0]
		framePools[class].Put(b)
	}
}

// frameReader reads frames from a connection through a small buffer.
type frameReader struct {
	nc   net.Conn
	min  int32 // smallest size of a frame
	max  int32
	buf  []byte // [from:to] is read and not used
	from int
	to   int
	// proven is how much memory a request gets at once: a peer that has sent a
	// large one is believed to send another.
	proven int
}

// size waits for the next frame up to idle and reads its length; io.EOF where
// the peer is done.
func (f *frameReader) size() (int, error) {
	for f.to-f.from < 4 {
		if err := f.fill(); err != nil {
			if f.to > f.from {
				err = unexpected(err)
			}
			return 0, err
		}
	}
	n := int32(binary.BigEndian.Uint32(f.buf[f.from:]))
	if n < f.min || n > f.max {
		return 0, malformed(fmt.Sprintf("a size from %d to %d bytes (socket.request.max.bytes)", f.min, f.max), n)
	}
	f.from += 4
	return int(n), nil
}

// fill reads once into the free end of the buffer.
func (f *frameReader) fill() error {
	if f.buf == nil {
		f.buf = make([]byte, readAhead)
	}
	if f.from > 0 {
		f.to = copy(f.buf, f.buf[f.from:f.to])
		f.from = 0
	}
	n, err := f.nc.Read(f.buf[f.to:])
	f.to += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// key looks at the API key of the frame whose size was read.
func (f *frameReader) key() (int16, error) {
	for f.to-f.from < 2 {
		if err := f.fill(); err != nil {
			return 0, unexpected(err)
		}
	}
	return int16(binary.BigEndian.Uint16(f.buf[f.from:])), nil
}

// unexpected is the end of the stream inside a frame.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// frameRate is how fast a large request must arrive on the whole, beyond the
// first FrameTimeout.
const frameRate = 1 << 20 // bytes per second

// body reads size bytes. Room for them is reserved first; the memory itself
// grows with what arrives, so a peer that announces much and sends little costs
// little. Each step must come within timeout, and all of it in good time.
func (f *frameReader) body(ctx context.Context, m *memory, size int, produce bool, timeout time.Duration) (frame, error) {
	var fr frame
	var err error
	if fr.memory, err = m.reserve(ctx, size); err != nil {
		return frame{}, err
	}
	if fr.memory != nil {
		fr.weight = int64(size)
	}
	if first := min(size, max(frameStep, f.proven)); produce && size > tinyFrame {
		fr.pooled = getBuffer(first)
		fr.b = *fr.pooled
	} else {
		fr.b = make([]byte, 0, first)
	}
	have := min(size, f.to-f.from)
	fr.b = append(fr.b[:0], f.buf[f.from:f.from+have]...)
	f.from += have
	if err := f.rest(&fr, size, timeout); err != nil {
		n := len(fr.b)
		fr.release()
		return frame{}, fmt.Errorf("after %d of %d bytes of a request: %w", n, size, unexpected(err))
	}
	f.proven = max(f.proven, 2*size)
	return fr, nil
}

// rest reads what was not in the buffer.
func (f *frameReader) rest(fr *frame, size int, timeout time.Duration) error {
	if len(fr.b) == size {
		return nil
	}
	last := time.Now().Add(timeout + time.Duration(size)*time.Second/frameRate)
	for len(fr.b) < size {
		if len(fr.b) == cap(fr.b) {
			fr.grow(min(size, 4*cap(fr.b)))
		}
		next := time.Now().Add(timeout)
		if next.After(last) {
			next = last
		}
		if err := f.nc.SetReadDeadline(next); err != nil {
			return err
		}
		n, err := f.nc.Read(fr.b[len(fr.b):min(cap(fr.b), size)])
		fr.b = fr.b[:len(fr.b)+n]
		if err != nil && len(fr.b) < size {
			return err
		}
	}
	return nil
}

// grow moves the frame into a larger buffer.
func (f *frame) grow(size int) {
	if f.pooled == nil {
		f.b = append(make([]byte, 0, size), f.b...)
		return
	}
	larger := getBuffer(size)
	f.b = append(*larger, f.b...)
	putBuffer(f.pooled)
	f.pooled = larger
}

// header is what stands before a request's body.
type header struct {
	key, version int16
	correlation  int32
	clientID     string
	rest         []byte // tags, if flexible, and body
}

// parseHeader reads the part of the header that every version has.
func parseHeader(b []byte) (header, error) {
	if len(b) < minHeader {
		return header{}, malformed(fmt.Sprintf("a header of at least %d bytes", minHeader), fmt.Sprintf("%d bytes", len(b)))
	}
	h := header{
		key: int16(binary.BigEndian.Uint16(b)), version: int16(binary.BigEndian.Uint16(b[2:])),
		correlation: int32(binary.BigEndian.Uint32(b[4:])),
	}
	n := int(int16(binary.BigEndian.Uint16(b[8:])))
	b = b[minHeader:]
	switch {
	case n < -1 || n > len(b):
		return h, malformed(fmt.Sprintf("a client id of -1 to %d bytes", len(b)), n)
	case n > 0:
		h.clientID = string(b[:n])
		b = b[n:]
	}
	h.rest = b
	return h, nil
}

// skipTags passes over a tag section.
func skipTags(b []byte) ([]byte, error) {
	n, b, ok := uvarint(b)
	if !ok || int64(n) > int64(len(b)) {
		return nil, malformed("a tag section", "one that does not end")
	}
	for range n {
		var size uint32
		if _, b, ok = uvarint(b); ok {
			size, b, ok = uvarint(b)
		}
		if !ok || int64(size) > int64(len(b)) {
			return nil, malformed("a tag", "one that is longer than the request")
		}
		b = b[size:]
	}
	return b, nil
}

func uvarint(b []byte) (v uint32, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || size > 5 || n > math.MaxUint32 {
		return 0, nil, false
	}
	return uint32(n), b[size:], true
}

// decode reads the body of a request whose key and version are served. room, if
// there is one, is asked before memory is made for the elements of a produce or
// fetch.
func decode(h *header, room func(elements int) error) (req kmsg.Request, err error) {
	req = kmsg.RequestForKey(h.key)
	req.SetVersion(h.version)
	body := h.rest
	if req.IsFlexible() {
		if body, err = skipTags(body); err != nil {
			return nil, err
		}
	}
	if h.key == keyProduce || h.key == keyFetch {
		var elements int
		if elements, err = checkShape(h.key, h.version, body); err == nil {
			if room != nil {
				if err := room(elements); err != nil {
					return nil, err
				}
			}
			err = req.(kmsg.UnsafeReadFrom).UnsafeReadFrom(body)
		}
	} else if err = req.ReadFrom(body); err == nil && len(body) > maxString && longString(reflect.ValueOf(req)) {
		err = fmt.Errorf("a string of more than %d bytes", maxString)
	}
	if err != nil {
		return nil, malformed(fmt.Sprintf("a %s request of version %d", kmsg.NameForKey(h.key), h.version), err)
	}
	return req, nil
}

const (
	keyProduce     = 0
	keyFetch       = 1
	keyApiVersions = 18
)
