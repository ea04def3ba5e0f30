package segment

import (
	"fmt"
	"sync"

	"github.com/millstream-io/millstream/log/record"
)

// syncGroup lets one fdatasync serve all who wait.
type syncGroup struct {
	mu      sync.Mutex
	cond    sync.Cond // on mu
	running bool
}

// Sync returns when everything below upTo is durable; one fdatasync serves all who wait.
// A failed one takes the partition offline: the kernel may have dropped the
// dirty pages, so a second try would lie. It is never repeated.
func (l *Log) Sync(upTo record.Offset) error {
	g := &l.group
	g.mu.Lock()
	for {
		if l.Durable() >= upTo {
			g.mu.Unlock()
			return nil
		}
		if err := l.usable(); err != nil {
			g.mu.Unlock()
			return err
		}
		if !g.running {
			break
		}
		g.cond.Wait()
	}
	g.running = true
	g.mu.Unlock()

	end := l.End() // all below it is written: sizes were published first
	files, err := l.syncFiles()

	g.mu.Lock()
	g.running = false
	if err != nil {
		l.failSync(err)
		err = l.Err()
	} else if end > l.Durable() {
		l.durable.Store(int64(end))
	}
	g.cond.Broadcast()
	g.mu.Unlock()
	if err == nil && l.cfg.Hooks.Synced != nil {
		l.cfg.Hooks.Synced(files, end)
	}
	if err == nil && end < upTo {
		return fmt.Errorf("%s: sync up to %d: the log ends at %d", l.cfg.Dir, upTo, end)
	}
	return err
}

// syncFiles makes every listed segment's bytes and name durable.
func (l *Log) syncFiles() (files int, err error) {
	segs := l.list()
	unnamed := false
	for _, s := range segs {
		unnamed = unnamed || !s.named.Load()
		size := s.size.Load()
		if s.synced.Load() >= size {
			continue
		}
		if err := l.syncSegment(s, size); err != nil {
			return files, err
		}
		files++
	}
	if unnamed {
		if err := l.fs.SyncDir(l.cfg.Dir); err != nil {
			return files, fmt.Errorf("sync directory %s: %w", l.cfg.Dir, err)
		}
		for _, s := range segs {
			s.named.Store(true)
		}
	}
	return files, nil
}

func (l *Log) syncSegment(s *segment, size int64) error {
	f, err := s.log.acquire()
	if err == errRetired {
		return nil // removed or replaced meanwhile; what replaced it was synced
	}
	if err != nil {
		return fmt.Errorf("sync %s: %w", s.log.path, err)
	}
	defer s.log.release()
	// Cleared first: a write during the sync sets it again.
	s.log.dirty.Store(false)
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", s.log.path, err)
	}
	for {
		done := s.synced.Load()
		if done >= size || s.synced.CompareAndSwap(done, size) {
			return nil
		}
	}
}

// Checkpoint syncs the log and what recovery needs below the returned recovery point, which the caller persists
// (recovery-point-offset-checkpoint, synced) and then reports with Checkpointed.
func (l *Log) Checkpoint() (record.Offset, error) {
	if err := l.usable(); err != nil {
		return 0, err
	}
	end := l.End()
	if err := l.Sync(end); err != nil {
		return 0, err
	}
	segs := l.list()
	for i, s := range segs[:len(segs)-1] {
		if segs[i+1].base > end {
			break
		}
		if err := l.syncSealed(s, segs[i+1].base); err != nil {
			return 0, fmt.Errorf("%w: checkpoint of %s: %w", ErrStorage, l.cfg.Dir, err)
		}
	}
	return end, nil
}

// syncDir makes the directory's entries durable. After a failed one nobody
// knows which of them are, so it is not repeated either.
func (l *Log) syncDir() error {
	if err := l.fs.SyncDir(l.cfg.Dir); err != nil {
		l.failSync(fmt.Errorf("sync directory %s: %w", l.cfg.Dir, err))
		return l.Err()
	}
	return nil
}

// syncSealed makes a sealed segment's indexes durable, and the snapshot at its end.
func (l *Log) syncSealed(s *segment, end record.Offset) error {
	if s.auxSynced.Load() {
		return nil
	}
	l.mu.Lock()
	err := s.txn.sync()
	l.mu.Unlock()
	if err == nil {
		err = s.syncAux()
	}
	if err == errRetired {
		return nil
	}
	if err != nil {
		return err
	}
	return l.syncSnapshot(end)
}

// syncSnapshot makes the producer snapshot at offset at durable, if there is one.
func (l *Log) syncSnapshot(at record.Offset) error {
	if f, err := l.fs.OpenReadWrite(l.snapshotPath(at)); err == nil {
		err = f.Sync()
		_ = f.Close()
		if err != nil {
			return err
		}
	}
	return l.syncDir()
}

// Checkpointed says that the recovery point is persisted. Compaction stays below it.
func (l *Log) Checkpointed(recoveryPoint record.Offset) {
	l.checkpointed.Store(int64(recoveryPoint))
}
