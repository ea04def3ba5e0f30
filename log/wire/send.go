package wire

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-io/millstream/log/segment"
)

// traffic counts the bytes of record batches on their way to clients.
type traffic struct {
	copied atomic.Int64 // through this process's memory
	sent   atomic.Int64 // by sendfile
}

// copyPool holds the buffers through which ranges go that sendfile cannot send.
var copyPool = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// writeFetch encodes and sends a fetch's answer, and gives its ranges back. It
// returns the bytes sent without the size field.
func (c *conn) writeFetch(r *request, a *fetchAnswer, b []byte) ([]byte, int64, error) {
	defer a.done()
	a.node = c.srv.b.NodeID()
	b = beginAnswer(b, r.correlation, a)
	b, outside, err := a.encode(b)
	r.frame.release()
	if err != nil {
		return b, 0, err
	}
	size := int64(len(b)-4) + outside
	binary.BigEndian.PutUint32(b, uint32(size))
	c.srv.traffic.copied.Add(r.fetched - outside)
	from := 0
	for _, cut := range a.cuts {
		if err := c.sendBefore(b[from:cut.at], &a.found[cut.found].got.Range); err != nil {
			return b, 0, err
		}
		from = cut.at
	}
	return b, size, c.send(b[from:])
}

// sendBefore sends a piece of encoding and the range that follows it.
func (c *conn) sendBefore(b []byte, r *segment.Range) error {
	if c.tcp != nil && canSendfile {
		if f, ok := r.OSFile(); ok {
			if err := c.sendMore(b); err != nil {
				return err
			}
			n, err := c.sendfile(f, r.Pos(), r.Len())
			c.srv.traffic.sent.Add(n)
			return err
		}
	}
	if err := c.send(b); err != nil {
		return err
	}
	return c.copyRange(r)
}

// copyRange sends a range through a pooled buffer.
func (c *conn) copyRange(r *segment.Range) error {
	buf := copyPool.Get().(*[]byte)
	defer copyPool.Put(buf)
	for at := int64(0); at < r.Len(); {
		n, err := r.ReadAt(*buf, at)
		if err != nil && !(errors.Is(err, io.EOF) && n > 0) {
			return errors.Join(errShortRange, err)
		}
		if err := c.send((*buf)[:n]); err != nil {
			return err
		}
		at += int64(n)
		c.srv.traffic.copied.Add(int64(n))
	}
	return nil
}

// errShortRange: the answer's size was sent, but not all of its bytes are there.
var errShortRange = errors.New("the file behind a range of batches ended early: its partition was reopened meanwhile")

// takeTime gives the peer IdleTimeout to take something.
func (c *conn) takeTime() error {
	return c.nc.SetWriteDeadline(time.Now().Add(c.srv.cfg.IdleTimeout))
}
