package broker

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// Tick does what timers ask for: transaction and session timeouts, expiry of
// ids and offsets, completing of decided transactions; and what a full disk
// kept partitions from at the start.
func (b *Broker) Tick() error {
	if err := b.alive(); err != nil {
		return err
	}
	errs := []error{b.afterFullDisk(), b.txns.tick(), b.txns.complete(), b.groups.tick(), b.flushTimers()}
	if b.startsChanged.Swap(false) {
		errs = append(errs, b.checkpointStarts())
	}
	return errors.Join(errs...)
}

// RunRetention applies retention by time and size to every partition, once, and
// writes the checkpoints.
func (b *Broker) RunRetention() error {
	if err := b.alive(); err != nil {
		return err
	}
	now := b.nowMS()
	var errs []error
	for _, p := range b.allPartitions() {
		l, err := p.open()
		if err != nil || p.Err() != nil {
			continue
		}
		removed, err := l.Retain(now)
		if err != nil {
			errs = append(errs, p.wrap(err))
		}
		if h := b.cfg.Hooks.Cleaned; h != nil && removed > 0 {
			h(p.tp, removed)
		}
		l.ExpireProducers(now - b.settings.Load().producerExpiry.Milliseconds())
	}
	return errors.Join(append(errs, b.checkpoint())...)
}

// RunCleaner compacts every partition with cleanup.policy=compact that is dirty
// enough (min.cleanable.dirty.ratio), once.
func (b *Broker) RunCleaner() error { return b.clean(false) }

// CleanNow compacts every partition with cleanup.policy=compact, however little
// there is to do, and closes active segments for it.
func (b *Broker) CleanNow() error { return b.clean(true) }

func (b *Broker) clean(force bool) error {
	if err := b.alive(); err != nil {
		return err
	}
	// The cleaner may drop a decision that a later record of its id overtook,
	// which is allowed only when its markers are on disk.
	if err := b.txns.settleMarkers(); err != nil {
		return err
	}
	ps := slices.DeleteFunc(b.allPartitions(), func(p *Partition) bool {
		return p.log.Load() == nil || p.Err() != nil || !p.settings.Load().compact
	})
	var errs []error
	if force {
		for _, p := range ps {
			errs = append(errs, p.wrap(p.log.Load().Roll(b.nowMS())))
		}
	}
	// Compaction stays below a recovery point that is on disk.
	errs = append(errs, b.checkpointPartitions(ps))
	var keys *segment.OffsetMap
	for _, p := range ps {
		l := p.log.Load()
		c := l.Cleanable(record.Offset(p.dirty.Load()), b.nowMS())
		if p.Err() != nil || !force && !p.settings.Load().cleanable(c, b.nowMS()) {
			continue
		}
		if keys == nil {
			keys = segment.NewOffsetMap(int(b.settings.Load().cleanerMemory))
		}
		errs = append(errs, b.compact(p, l, keys))
	}
	return errors.Join(errs...)
}

// cleanable says that a partition is worth cleaning: so much of it is dirty, or
// something has been for max.compaction.lag.ms.
func (s *topicSettings) cleanable(c segment.Cleanable, now int64) bool {
	overdue := c.OldestDirty != record.NoTimestamp && now-c.OldestDirty > s.maxLag.Milliseconds()
	return enough(c, s.dirtyRatio) || overdue
}

func enough(c segment.Cleanable, ratio float64) bool {
	total := c.CleanBytes + c.DirtyBytes
	return c.DirtyBytes > 0 && float64(c.DirtyBytes) >= ratio*float64(total)
}

// compact cleans one partition.
func (b *Broker) compact(p *Partition, l *segment.Log, keys *segment.OffsetMap) error {
	res, err := l.Compact(segment.CompactOptions{
		Now: b.nowMS(), FirstDirty: record.Offset(p.dirty.Load()), Hold: record.Offset(p.hold.Load()), Map: keys,
		Stop: b.closing.Load,
	})
	if err != nil {
		return fmt.Errorf("cleaning: %w", p.wrap(err))
	}
	p.dirty.Store(int64(res.Next))
	if h := b.cfg.Hooks.Cleaned; h != nil && res.BytesBefore > res.BytesAfter {
		h(p.tp, res.BytesBefore-res.BytesAfter)
	}
	b.ckptMu.Lock()
	defer b.ckptMu.Unlock()
	b.points[cleanerOffsetFile][p.tp] = res.Next
	return b.writeCheckpoint(cleanerOffsetFile)
}

// checkpoint syncs every partition and writes the checkpoint files.
func (b *Broker) checkpoint() error { return b.checkpointPartitions(b.allPartitions()) }

func (b *Broker) checkpointPartitions(ps []*Partition) error {
	type point struct {
		p     *Partition
		l     *segment.Log
		start record.Offset
		at    record.Offset
	}
	var done []point
	var errs []error
	for _, p := range ps {
		l := p.log.Load()
		if l == nil || p.Err() != nil || p.gone.Load() {
			continue
		}
		start := l.Start()
		at, err := l.Checkpoint()
		if p.gone.Load() {
			continue
		}
		if err != nil {
			errs = append(errs, p.wrap(err))
			continue
		}
		done = append(done, point{p, l, min(start, at), at})
	}
	b.ckptMu.Lock()
	defer b.ckptMu.Unlock()
	old := map[string]map[record.TopicPartition]record.Offset{}
	for _, name := range checkpointFiles {
		old[name] = maps.Clone(b.points[name])
	}
	for _, d := range done {
		if d.p.gone.Load() {
			continue // deleted meanwhile: its name may be taken again
		}
		b.points[logStartFile][d.p.tp] = d.start
		b.points[highWatermarkFile][d.p.tp] = d.at
		b.points[recoveryPointFile][d.p.tp] = d.at
	}
	for _, name := range checkpointFiles {
		if maps.Equal(old[name], b.points[name]) {
			continue
		}
		if err := b.writeCheckpoint(name); err != nil {
			b.points[name] = old[name]
			return errors.Join(append(errs, err)...)
		}
	}
	for _, d := range done {
		d.l.Checkpointed(d.at)
	}
	return errors.Join(errs...)
}

// checkpointStarts writes the log starts only.
func (b *Broker) checkpointStarts() error {
	b.ckptMu.Lock()
	defer b.ckptMu.Unlock()
	for _, p := range b.allPartitions() {
		if o := p.Offsets(); o.Start > 0 {
			b.points[logStartFile][p.tp] = min(o.Start, o.Durable)
		}
	}
	return b.writeCheckpoint(logStartFile)
}

// closedCheckpoint writes the checkpoints of partitions that are closed, whole.
func (b *Broker) closedCheckpoint() error {
	b.ckptMu.Lock()
	defer b.ckptMu.Unlock()
	for _, p := range b.allPartitions() {
		l := p.log.Load()
		b.points[logStartFile][p.tp] = l.Start()
		b.points[highWatermarkFile][p.tp] = l.End()
		b.points[recoveryPointFile][p.tp] = l.End()
	}
	for _, name := range checkpointFiles {
		if err := b.writeCheckpoint(name); err != nil {
			return err
		}
	}
	return nil
}
