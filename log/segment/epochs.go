package segment

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/millstream-io/millstream/log/record"
)

type epochEntry struct {
	epoch record.LeaderEpoch
	start record.Offset
}

// epochs is the leader-epoch cache: where each epoch begins (KIP-101).
//
// Invariant: epochs and starts rise strictly; the file is written before a
// batch of its last epoch can be.
type epochs struct {
	mu   sync.RWMutex
	list []epochEntry
}

// assign begins an epoch at start; entries at or after start give way. It says whether something changed.
func (c *epochs) assign(e record.LeaderEpoch, start record.Offset) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.list); n > 0 && c.list[n-1].epoch >= e {
		return false
	}
	for n := len(c.list); n > 0 && c.list[n-1].start >= start; n-- {
		c.list = c.list[:n-1]
	}
	c.list = append(c.list, epochEntry{e, start})
	return true
}

// latest is the greatest epoch, NoLeaderEpoch if there is none.
func (c *epochs) latest() record.LeaderEpoch {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if n := len(c.list); n > 0 {
		return c.list[n-1].epoch
	}
	return record.NoLeaderEpoch
}

// cutEnd forgets epochs that begin at or after end.
func (c *epochs) cutEnd(end record.Offset) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := len(c.list); n > 0 && c.list[n-1].start >= end; n-- {
		c.list = c.list[:n-1]
	}
}

// cutStart forgets epochs that end at or before start; the one that holds start begins there.
func (c *epochs) cutStart(start record.Offset) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.list) > 1 && c.list[1].start <= start {
		c.list = slices.Delete(c.list, 0, 1)
		changed = true
	}
	if len(c.list) > 0 && c.list[0].start < start {
		c.list[0].start = start
		changed = true
	}
	return changed
}

// end answers OffsetForLeaderEpoch as Kafka does.
func (c *epochs) end(e record.LeaderEpoch, logEnd record.Offset) EpochEnd {
	c.mu.RLock()
	defer c.mu.RUnlock()
	none := EpochEnd{Epoch: record.NoLeaderEpoch, End: record.NoOffset}
	n := len(c.list)
	if n == 0 || e < 0 || e > c.list[n-1].epoch {
		return none
	}
	if e == c.list[n-1].epoch {
		return EpochEnd{Epoch: e, End: logEnd}
	}
	i := slices.IndexFunc(c.list, func(x epochEntry) bool { return x.epoch > e })
	if i == 0 {
		// Older than all that is kept: it ended where the first one begins.
		return EpochEnd{Epoch: e, End: c.list[0].start}
	}
	return EpochEnd{Epoch: c.list[i-1].epoch, End: c.list[i].start}
}

func (c *epochs) format() []byte {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var w bytes.Buffer
	fmt.Fprintf(&w, "%s\n%d\n", checkpointVersion, len(c.list))
	for _, e := range c.list {
		fmt.Fprintf(&w, "%d %d\n", e.epoch, e.start)
	}
	return w.Bytes()
}

// parseEpochs reads a leader-epoch-checkpoint file.
func parseEpochs(path string, b []byte) ([]epochEntry, error) {
	rows, err := parseCheckpoint(path, b, 2)
	if err != nil {
		return nil, err
	}
	var list []epochEntry
	for i, row := range rows {
		epoch, eerr := parseNumber[record.LeaderEpoch](row[0])
		start, serr := parseNumber[record.Offset](row[1])
		rising := i == 0 || epoch > list[i-1].epoch && start > list[i-1].start
		if eerr != nil || serr != nil || !rising {
			return nil, formatError(path, int64(i), "rising epochs with rising start offsets", strings.Join(row, " "))
		}
		list = append(list, epochEntry{epoch, start})
	}
	return list, nil
}
