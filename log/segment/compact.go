package segment

import (
	"errors"
	"fmt"
	"io"
	"math"
	"sort"

	"github.com/millstream-io/millstream/log/record"
)

// Compaction as Kafka's cleaner does it: a pass reads the dirty part into an
// OffsetMap (key -> last offset), then rewrites all segments up to where the
// map got, keeping a record only if its key is not found at a higher offset.
//
//   - Tombstones stay until the delete horizon that the first pass over them
//     writes into their batch (KIP-534): a reader that began before has time to see them.
//   - Records of aborted transactions go; the marker goes when none of them is
//     left and its own horizon has passed. Markers of commits likewise.
//   - The last batch of a live producer and the last batch of each new segment
//     stay, empty if need be: sequences survive, and a segment always ends
//     where the next begins, so that recovery can tell a hole from a gap.
//   - Offsets never change.

var errStopped = errors.New("compaction stopped")

// Compact cleans [FirstDirty, what may be cleaned). Only segments below the offset last given to Checkpointed are touched.
// It reads and writes without a lock; one runs at a time, appends and reads go on.
func (l *Log) Compact(o CompactOptions) (CompactResult, error) {
	l.clean.Lock()
	defer l.clean.Unlock()
	res := CompactResult{Next: o.FirstDirty}
	if err := l.usable(); err != nil {
		return res, err
	}
	if o.RollActive {
		if err := l.Roll(o.Now); err != nil {
			return res, err
		}
	}
	if o.Map == nil {
		o.Map = NewOffsetMap(defaultMapBytes)
	}
	for {
		dirty := max(res.Next, l.Start(), l.list()[0].base)
		upTo := l.cleanableTo(o.Now)
		if dirty >= upTo && res.Passes > 0 || upTo <= l.list()[0].base {
			return res, nil
		}
		c := &cleaner{l: l, o: &o, res: &res, live: l.liveProducers(), kept: make(map[record.ProducerID]bool), open: newOpenSnapshots(l)}
		next, err := c.pass(min(dirty, upTo), upTo)
		if errors.Is(err, errStopped) {
			return res, nil
		}
		if err != nil {
			return res, fmt.Errorf("compact %s: %w", l.cfg.Dir, err)
		}
		res.Passes++
		res.Next = max(res.Next, next)
		if next >= upTo {
			return res, nil
		}
	}
}

// cleanableTo is the first offset that may not be cleaned: never in the active
// segment, at or above the last stable offset or the persisted recovery point,
// or in a segment with a record younger than the compaction lag.
func (l *Log) cleanableTo(now int64) record.Offset {
	segs, set := l.list(), l.settings.Load()
	limit := min(segs[len(segs)-1].base, l.Stable(), record.Offset(l.checkpointed.Load()))
	upTo := segs[0].base
	for i, s := range segs[:len(segs)-1] {
		end := segs[i+1].base
		young := set.MinCompactionLag > 0 && s.maxTime.Load() > now-set.MinCompactionLag.Milliseconds()
		if end > limit || young {
			break
		}
		upTo = end
	}
	return upTo
}

// Cleanable says what Compact would look at.
func (l *Log) Cleanable(firstDirty record.Offset, now int64) Cleanable {
	c := Cleanable{UpTo: l.cleanableTo(now), OldestDirty: record.NoTimestamp}
	for _, s := range l.list() {
		switch {
		case s.base >= c.UpTo:
			return c
		case s.base < firstDirty:
			c.CleanBytes += s.size.Load()
		default:
			c.DirtyBytes += s.size.Load()
			if c.OldestDirty == record.NoTimestamp {
				c.OldestDirty = s.maxTime.Load()
			}
		}
	}
	return c
}

// lastOf is what must survive of a producer.
type lastOf struct {
	offset record.Offset // last offset of its last data batch; NoOffset if its last word is a marker
	epoch  record.ProducerEpoch
}

func (l *Log) liveProducers() map[record.ProducerID]lastOf {
	l.mu.Lock()
	defer l.mu.Unlock()
	live := make(map[record.ProducerID]lastOf, len(l.producers.byID))
	for id, p := range l.producers.byID {
		last := lastOf{offset: record.NoOffset, epoch: p.epoch}
		if p.n > 0 {
			last.offset = p.last().lastOffset
		}
		live[id] = last
	}
	return live
}

// cleaner is one pass.
type cleaner struct {
	l    *Log
	o    *CompactOptions
	res  *CompactResult
	live map[record.ProducerID]lastOf
	seen record.Offset // where the map ends (exclusive)
	// kept says of each producer whether a data batch of its current transaction was kept: then its marker stays.
	kept map[record.ProducerID]bool
	keys []mapSlot // of one batch
	// open keeps the snapshots of the cleaned segments true.
	open *openSnapshots
}

func (c *cleaner) stopped() error {
	if c.o.Stop != nil && c.o.Stop() {
		return errStopped
	}
	return nil
}

// pass maps [dirty, upTo) as far as memory goes and cleans everything below. It returns how far it got.
func (c *cleaner) pass(dirty, upTo record.Offset) (record.Offset, error) {
	segs := c.l.list()
	if err := c.buildMap(segs, dirty, upTo); err != nil {
		return dirty, err
	}
	if err := c.open.sweep(segs, c.seen); err != nil {
		return dirty, err
	}
	var group []*segment
	var groups [][]*segment
	for i, s := range segs[:len(segs)-1] {
		if s.base >= c.seen {
			break
		}
		// One that was active at the last checkpoint has a snapshot and indexes that nobody synced.
		if err := c.l.syncSealed(s, segs[i+1].base); err != nil {
			return dirty, err
		}
		if end := segs[i+1].base; len(group) > 0 && !c.fits(group, s, end) {
			groups = append(groups, group)
			group = nil
		}
		group = append(group, s)
	}
	if len(group) > 0 {
		groups = append(groups, group)
	}
	aborts := newAbortedScan(c.l, segs)
	for _, g := range groups {
		end := segs[find(segs, g[len(g)-1].base)+1].base
		if err := c.cleanGroup(g, end, aborts); err != nil {
			return dirty, err
		}
	}
	return c.seen, nil
}

// fits says that s may be cleaned into the same new segment.
func (c *cleaner) fits(group []*segment, s *segment, end record.Offset) bool {
	set := c.l.settings.Load()
	var bytes, entries, times int64
	for _, g := range append(group[:len(group):len(group)], s) {
		bytes += g.size.Load()
		entries += g.index.entries.Load()
		times += g.time.entries.Load()
	}
	return bytes <= set.SegmentBytes && int64(end-group[0].base) <= math.MaxInt32 &&
		entries*offsetEntrySize <= set.IndexBytes && times*timeEntrySize <= set.IndexBytes
}

// buildMap notes the last offset of every key in [dirty, upTo), leaving aborted records out.
func (c *cleaner) buildMap(segs []*segment, dirty, upTo record.Offset) error {
	m := c.o.Map
	m.reset()
	c.seen = dirty
	aborts := newAbortedScan(c.l, segs)
	for i := find(segs, dirty); i < len(segs)-1 && segs[i].base < upTo; i++ {
		full, err := c.mapSegment(segs[i], dirty, aborts)
		if err != nil {
			return err
		}
		if full {
			if c.seen == dirty {
				return fmt.Errorf("the offset map of %d keys is too small for one batch at offset %d; give it more memory", len(m.slots), dirty)
			}
			return nil
		}
		c.seen = segs[i+1].base
	}
	return nil
}

func (c *cleaner) mapSegment(s *segment, dirty record.Offset, aborts *abortedScan) (full bool, err error) {
	pos, err := s.lookup(dirty)
	if err != nil {
		return false, err
	}
	f, err := s.log.acquire()
	if err != nil {
		return false, err
	}
	defer s.log.release()
	sc := newScanner(f, pos, s.size.Load())
	it := record.NewIterator(nil, record.ReadOptions{SkipCRC: true})
	defer it.Release()
	for {
		if err := c.stopped(); err != nil {
			return false, err
		}
		h, raw, at, err := sc.next()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, c.l.readError(s, c.seen, at, err)
		}
		if h.LastOffset() < dirty {
			continue
		}
		if h.Control() || aborts.aborted(&h) {
			c.seen = h.NextOffset()
			continue
		}
		if c.o.Map.room() < int(h.Count) {
			return true, nil
		}
		c.mapBatch(it, raw, dirty, s, at)
		c.seen = h.NextOffset()
	}
}

// mapBatch notes the keys of a batch, or none if its records cannot be read
// though its checksum is good: what a record says that nobody can read must not
// take away the one before. Such a batch is reported here, where each comes by
// once, and stays.
func (c *cleaner) mapBatch(it *record.Iterator, raw []byte, dirty record.Offset, s *segment, at int64) {
	it.Reset(raw, record.ReadOptions{SkipCRC: true})
	c.keys = c.keys[:0]
	var v record.View
	for it.Next(&v) {
		if v.Key != nil && v.Offset >= dirty {
			h1, h2 := c.o.Map.hash(v.Key)
			c.keys = append(c.keys, mapSlot{h1, h2, v.Offset})
		}
	}
	if err := it.Err(); err != nil {
		c.l.logger.Error("a batch cannot be read though its checksum is good; the cleaner keeps it as it is, consumers stop there",
			"file", s.log.path, "offset", int64(it.Batch().BaseOffset), "error", placed(err, at))
		return
	}
	for i := range c.keys {
		c.o.Map.put(&c.keys[i])
	}
}

// abortedScan answers whether a data batch belongs to an aborted transaction.
type abortedScan struct {
	byID map[record.ProducerID][]AbortedTxn
}

func newAbortedScan(l *Log, segs []*segment) *abortedScan {
	a := &abortedScan{byID: make(map[record.ProducerID][]AbortedTxn)}
	for _, s := range segs {
		for _, t := range s.txn.aborted() {
			a.byID[t.ProducerID] = append(a.byID[t.ProducerID], t)
		}
	}
	return a
}

func (a *abortedScan) aborted(h *record.BatchHeader) bool {
	if !h.Transactional() || h.Control() {
		return false
	}
	// A producer's transactions follow each other: the first that ends above the batch is the one that may hold it.
	list := a.byID[h.ProducerID]
	i := sort.Search(len(list), func(i int) bool { return list[i].Last > h.BaseOffset })
	return i < len(list) && list[i].First <= h.BaseOffset
}
