package broker

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// recover brings the directory to life. The order matters:
//
//	versions are checked before anything is written;
//	the mark of a clean shutdown goes before anything else changes;
//	transactions come before groups, whose pending offsets their markers settle;
//	the boot id is written last, so that a crash in here begins again.
func (b *Broker) recover() error {
	dir := b.cfg.Dir
	lastBoot, known, err := readFormat(b.fs, dir)
	if err != nil {
		return err
	}
	if b.meta, err = readMetadata(b.fs, dir); err != nil {
		return err
	}
	if err := b.loadSecurity(); err != nil {
		return err
	}
	if err := b.applySettings(); err != nil {
		return fmt.Errorf("%s: %w", path.Join(dir, metadataFile), err)
	}
	if err := b.readOrMakeKafkaMeta(); err != nil {
		return err
	}
	if !known {
		if err := writeFormat(b.fs, dir, b.cfg.BootID); err != nil {
			return err
		}
		lastBoot = b.cfg.BootID
	}
	b.nextID = b.meta.NextProducerID
	if err := b.readCheckpoints(); err != nil {
		return err
	}
	clean, err := takeCleanMark(b.fs, dir)
	if err != nil {
		return err
	}
	clean = clean || !known
	newBoot := !clean && (lastBoot != b.cfg.BootID || b.cfg.BootID == "")
	b.cleanStart = !newBoot
	if err := b.finishPending(); err != nil {
		return err
	}
	if err := b.openPartitions(clean); err != nil {
		return err
	}
	if err := b.txns.recover(newBoot); err != nil {
		return err
	}
	if err := b.groups.recover(clean); err != nil {
		return err
	}
	if known && lastBoot != b.cfg.BootID {
		return writeFormat(b.fs, dir, b.cfg.BootID)
	}
	return nil
}

// finishPending removes what is left of topics whose making or deleting a crash interrupted.
func (b *Broker) finishPending() error {
	if len(b.meta.Pending) == 0 {
		return nil
	}
	for _, t := range b.meta.Pending {
		for i := t.From; i < t.Partitions; i++ {
			tp := record.TopicPartition{Topic: t.Name, Partition: record.Partition(i)}
			if err := b.fs.RemoveAll(b.partitionDir(tp)); err != nil {
				return err
			}
		}
	}
	if err := b.fs.SyncDir(b.cfg.Dir); err != nil {
		return err
	}
	for _, t := range b.meta.Pending {
		if err := b.forgetCheckpoints(t.Name, record.Partition(t.From)); err != nil {
			return err
		}
	}
	m := *b.meta
	m.Pending = nil
	return b.writeMeta(&m)
}

// openPartitions opens every partition of every topic. One that cannot be
// opened is offline; the rest serves.
func (b *Broker) openPartitions(clean bool) error {
	for _, t := range b.meta.Topics {
		ts, err := b.newTopicState(t)
		if err != nil {
			return err
		}
		for i := range t.Partitions {
			ts.newPartition(b, record.Partition(i))
		}
		b.mu.Lock()
		b.topics[t.Name], b.byID[ts.id] = ts, ts
		b.topicsVersion.Add(1)
		b.mu.Unlock()
	}
	ps := b.allPartitions()
	inParallel(b.cfg.OpenParallelism, len(ps), func(i int) {
		if err := b.openPartition(ps[i], clean); err != nil {
			ps[i].setOffline(err)
		}
	})
	if clean || b.cfg.Flush != FlushCommit {
		return nil
	}
	// What recovery kept may be in the page cache only: from here on it counts as durable.
	var set syncSet
	for _, p := range b.allPartitions() {
		if p.log.Load() != nil {
			if err := set.add(p, p.Offsets().End); err != nil {
				return err
			}
		}
	}
	if err := set.run(b.cfg.SyncParallelism); err != nil && !errors.Is(err, ErrOffline) {
		return err
	}
	return nil
}

// hasDir is nil if the partition's directory is there: opening would make a
// missing one anew, empty.
func (p *Partition) hasDir() error {
	dir := p.b.partitionDir(p.tp)
	_, err := p.b.fs.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = &segment.CorruptionError{Path: dir, Offset: record.NoOffset, Err: errors.New("the partition's directory is missing")}
	}
	return err
}

func (b *Broker) openPartition(p *Partition, clean bool) error {
	if err := p.hasDir(); err != nil {
		return err
	}
	l, rec, err := segment.Open(p.logConfig(), segment.OpenOptions{
		Clean: clean, RecoveryPoint: b.checkpointed(recoveryPointFile, p.tp), LogStart: b.checkpointed(logStartFile, p.tp), Now: b.nowMS(),
	})
	if err != nil {
		return err
	}
	b.logRecovery(p, rec)
	p.dirty.Store(int64(b.checkpointed(cleanerOffsetFile, p.tp)))
	p.log.Store(l)
	l.Checkpointed(b.checkpointed(recoveryPointFile, p.tp))
	return nil
}

func (b *Broker) logRecovery(p *Partition, rec segment.Recovery) {
	if rec.Cut > 0 {
		b.cfg.Logger.Warn("cut a torn tail", "topic", p.tp.Topic, "partition", p.tp.Partition,
			"bytes", rec.Cut, "end", rec.CutFrom, "epoch", rec.Epoch, "reason", rec.Reason)
	}
}

// The checkpoint files, in the order in which they are written: the recovery
// point is a promise and comes last.
var checkpointFiles = []string{logStartFile, highWatermarkFile, cleanerOffsetFile, recoveryPointFile}

func (b *Broker) readCheckpoints() error {
	b.ckptMu.Lock()
	defer b.ckptMu.Unlock()
	for _, name := range checkpointFiles {
		m, err := segment.ReadOffsetCheckpoint(b.fs, path.Join(b.cfg.Dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if m == nil {
			m = map[record.TopicPartition]record.Offset{}
		}
		b.points[name] = m
	}
	return nil
}

func (b *Broker) checkpointed(file string, tp record.TopicPartition) record.Offset {
	b.ckptMu.Lock()
	defer b.ckptMu.Unlock()
	return b.points[file][tp]
}

// forgetCheckpoints takes a topic's partitions from the given one on out of the
// checkpoint files, so that a topic of the same name does not begin with its
// predecessor's.
func (b *Broker) forgetCheckpoints(topic string, from record.Partition) error {
	b.ckptMu.Lock()
	defer b.ckptMu.Unlock()
	for _, name := range checkpointFiles {
		changed := false
		for tp := range b.points[name] {
			if tp.Topic == topic && tp.Partition >= from {
				delete(b.points[name], tp)
				changed = true
			}
		}
		if changed {
			if err := b.writeCheckpoint(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeCheckpoint writes one file from memory. b.ckptMu is held.
func (b *Broker) writeCheckpoint(name string) error {
	if err := segment.WriteOffsetCheckpoint(b.fs, path.Join(b.cfg.Dir, name), b.points[name]); err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	return nil
}

func (b *Broker) writeMeta(m *metadata) error {
	return b.writeMetaBy(m, b.replaceMetadata)
}

// writeMetaAnyway is writeMeta for what an operator does to get out of a full
// disk: it may take the reserve.
func (b *Broker) writeMetaAnyway(m *metadata) error { return b.writeMetaBy(m, b.replaceMetadataAnyway) }

func (b *Broker) writeMetaBy(m *metadata, write func(*metadata) error) error {
	if err := b.gate.Enter(); err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	defer b.gate.Leave()
	if err := write(m); err != nil {
		return err
	}
	b.meta = m
	b.metaWrites.Add(1)
	return nil
}

func parseHexID(s string) (id [16]byte, err error) {
	n, err := hex.Decode(id[:], []byte(s))
	if err == nil && n != len(id) {
		err = fmt.Errorf("topic id %q: expected 32 hex digits", s)
	}
	return id, err
}
