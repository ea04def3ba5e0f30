package segment

import (
	"fmt"
	"path/filepath"
)

// Close syncs everything, writes the producer snapshot and closes: the next Open may be Clean.
// After an error it may not.
func (l *Log) Close() error {
	l.clean.Lock()
	defer l.clean.Unlock()
	if l.closed.Load() {
		return nil
	}
	_, err := l.Checkpoint()
	if err == nil {
		err = l.WriteEpoch() // a clean start does not raise it again
	}
	l.mu.Lock()
	if err == nil {
		l.seal(l.active())
		if err = l.active().txn.sync(); err == nil {
			err = l.active().syncAux()
		}
		if err == nil {
			err = l.writeSnapshot(l.End(), true)
		}
		if err == nil {
			err = l.fs.SyncDir(l.cfg.Dir)
		}
	}
	l.mu.Unlock()
	l.Abandon()
	if err != nil {
		return fmt.Errorf("close %s: %w", l.cfg.Dir, err)
	}
	return nil
}

// Abandon closes the files and syncs nothing, as a crash would leave them.
func (l *Log) Abandon() {
	if l.closed.Swap(true) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.list() {
		s.retire()
	}
	l.forgetHints()
	l.group.mu.Lock()
	l.group.cond.Broadcast()
	l.group.mu.Unlock()
}

// Delete closes the log and removes its directory, durably.
func (l *Log) Delete() error {
	l.Abandon()
	l.clean.Lock()
	defer l.clean.Unlock()
	if err := l.fs.RemoveAll(l.cfg.Dir); err != nil {
		return fmt.Errorf("remove %s: %w", l.cfg.Dir, err)
	}
	return l.fs.SyncDir(filepath.Dir(l.cfg.Dir))
}
