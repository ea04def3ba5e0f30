package broker

import (
	"sync"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// DefaultChunkBytes is how much Read reads where nothing is said.
const DefaultChunkBytes = 256 << 10

// ReadOptions of Read.
type ReadOptions struct {
	MaxBytes  int  // about; at least one batch comes. 0: DefaultChunkBytes
	Committed bool // read_committed: up to the last stable offset
	// Keep: the memory is left to the garbage collector at Release, because
	// decoded values point into it.
	Keep bool
	// UpTo ends the reading before this offset; 0: no bound of its own.
	UpTo record.Offset
}

// Chunk is a run of whole batches as they stand in the log. One goroutine at a time.
type Chunk struct {
	// Data holds the batches. The first may begin before the offset asked for.
	Data []byte
	// From is the offset asked for, Next the one to read after this chunk.
	From, Next record.Offset
	// Aborted are the aborted transactions that touch this chunk, if Committed was asked for, by first offset.
	Aborted []segment.AbortedTxn
	// Start, End and Stable of the partition when this was read.
	Start, End, Stable record.Offset

	p    *Partition
	at   int // of NextBatch
	err  error
	keep bool
	// spare is the pooled buffer when Data is a copy that the caller keeps.
	spare []byte
}

var chunkPool = sync.Pool{New: func() any { return new(Chunk) }}

// Read reads whole batches, the first of which holds offset from. At the end of
// the log it returns a chunk without data, at once; see Waiter. An offset
// before the start or after the end is a *segment.OffsetOutOfRangeError.
func (p *Partition) Read(from record.Offset, opt ReadOptions) (*Chunk, error) {
	l, err := p.open()
	if err != nil {
		return nil, err
	}
	size := opt.MaxBytes
	if size <= 0 {
		size = DefaultChunkBytes
	}
	c := chunkPool.Get().(*Chunk)
	buf := c.Data[:0]
	if cap(buf) < size {
		buf = make([]byte, 0, size)
	}
	*c = Chunk{p: p, From: from, Next: from, Aborted: c.Aborted[:0], keep: opt.Keep, Data: buf}
	c.Start, c.Stable = l.Start(), l.Stable()
	c.End = l.End()
	upTo := c.End
	if opt.Committed {
		upTo = c.Stable
	}
	if opt.UpTo > 0 {
		upTo = min(upTo, opt.UpTo)
	}
	if from < c.Start || from > c.End {
		c.Release()
		return nil, &segment.OffsetOutOfRangeError{Partition: p.tp, Offset: from, Start: c.Start, End: c.End}
	}
	if from < upTo {
		if c.Data, err = l.Read(buf, from, upTo, size); err == nil {
			err = c.finish(l, opt)
		}
		if err != nil {
			c.Release()
			return nil, p.wrap(err)
		}
	}
	if h := p.b.cfg.Hooks.Read; h != nil && len(c.Data) > 0 {
		h(p.tp, len(c.Data))
	}
	return c, nil
}

// finish walks the batches for the next offset and looks up what was aborted.
func (c *Chunk) finish(l *segment.Log, opt ReadOptions) (err error) {
	for at := 0; at < len(c.Data); {
		h, err := record.ParseHeader(c.Data[at:])
		if err != nil {
			return err
		}
		c.Next = h.NextOffset()
		at += h.Size()
	}
	if opt.Committed && len(c.Data) > 0 {
		c.Aborted, err = l.Aborted(c.Aborted, c.From, c.Next)
	}
	if opt.Keep && len(c.Data) < cap(c.Data)/2 {
		// A small read must not hold a large buffer for as long as its values live.
		c.spare = c.Data[:0]
		c.Data = append(make([]byte, 0, len(c.Data)), c.Data...)
	}
	return err
}

// NextBatch goes to the next batch with data for a reader: control batches, and
// with Committed the aborted ones, are passed over. raw is the whole batch.
// Records before From are for the caller to skip.
func (c *Chunk) NextBatch() (h record.BatchHeader, raw []byte, ok bool) {
	for c.at < len(c.Data) && c.err == nil {
		h, err := record.ParseHeader(c.Data[c.at:])
		if err != nil {
			c.err = c.p.wrap(err)
			break
		}
		raw = c.Data[c.at : c.at+h.Size()]
		c.at += len(raw)
		if !h.Control() && !c.aborted(&h) && h.Count > 0 {
			return h, raw, true
		}
	}
	return record.BatchHeader{}, nil, false
}

func (c *Chunk) aborted(h *record.BatchHeader) bool {
	if len(c.Aborted) == 0 || !h.Transactional() {
		return false
	}
	for i := range c.Aborted {
		a := &c.Aborted[i]
		if a.ProducerID == h.ProducerID && a.First <= h.BaseOffset && h.BaseOffset < a.Last {
			return true
		}
	}
	return false
}

// Err is what ended NextBatch early.
func (c *Chunk) Err() error { return c.err }

// Release gives the memory back. The chunk and what points into it must not be
// used after it (with Keep, what points into it may).
func (c *Chunk) Release() {
	if c.keep {
		c.Data, c.spare = c.spare, nil
	}
	if cap(c.Data) > 4*DefaultChunkBytes {
		c.Data = nil // a giant batch's buffer is not worth keeping
	}
	c.p = nil
	chunkPool.Put(c)
}
