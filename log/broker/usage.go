package broker

import (
	"fmt"
	"path/filepath"

	"github.com/millstream-io/millstream/log/record"
)

// Usage is what the directory takes: the bytes of all partitions' segments,
// without their indexes, and what is free in its file system for this process.
func (b *Broker) Usage() (used int64, free uint64, err error) {
	for _, p := range b.allPartitions() {
		if l := p.log.Load(); l != nil {
			used += l.Bytes()
		}
	}
	free, err = b.fs.FreeBytes(b.cfg.Dir)
	return used, free, err
}

// LogDir describes the data directory as a client sees it.
type LogDir struct {
	Path          string // absolute
	Total, Usable uint64 // bytes of its file system, and of them free for this process
}

// LogDir describes the data directory.
func (b *Broker) LogDir() (LogDir, error) {
	d := LogDir{Path: b.cfg.Dir}
	if abs, err := filepath.Abs(b.cfg.Dir); err == nil {
		d.Path = abs
	}
	var err error
	if d.Total, err = b.fs.TotalBytes(b.cfg.Dir); err == nil {
		d.Usable, err = b.fs.FreeBytes(b.cfg.Dir)
	}
	if err != nil {
		return d, fmt.Errorf("%w: %w", ErrStorage, err)
	}
	return d, nil
}

// DeleteRecords raises the log start to offset (NoOffset: the high watermark)
// for a client, and returns the new start. What DeleteBefore does for the program
// itself is refused here on the broker's own topics (ErrInvalidTopic) and where
// cleanup.policy has no delete (ErrPolicy). An offset outside of the log is a
// *segment.OffsetOutOfRangeError.
func (p *Partition) DeleteRecords(offset record.Offset) (record.Offset, error) {
	switch {
	case internal(p.tp.Topic):
		return record.NoOffset, &PartitionError{p.tp, fmt.Errorf("%w: records of the broker's own topics are not deleted", ErrInvalidTopic)}
	case !p.settings.Load().delete:
		return record.NoOffset, &PartitionError{p.tp, fmt.Errorf("%w: cleanup.policy of the topic has no delete", ErrPolicy)}
	}
	return p.DeleteBefore(offset)
}

// DirectoryID is the directory.id of meta.properties; zero if it has none.
func (b *Broker) DirectoryID() [16]byte { return b.directoryID }

// MetadataWrites counts the writes of the metadata since the broker was opened.
func (b *Broker) MetadataWrites() int64 { return b.metaWrites.Load() }
