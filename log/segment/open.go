package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/millstream-io/millstream/log/record"
)

// Open opens or creates a partition directory and recovers it.
//
// After a clean shutdown the files are trusted: the active segment's end is
// looked for from its last index entry. Otherwise all from the segment that
// holds the recovery point on is read and checked, the torn tail cut, indexes
// and producer state rebuilt, everything synced and the leader epoch raised. If a
// full disk has no room for the epoch's file, the log is open for reads, and
// appends are refused with ErrStorage until the file can be written.
//
// Errors: *CorruptionError where durable bytes are wrong (nothing is changed
// then but left-overs swept), ErrTopicID, or the file system's.
func Open(cfg Config, o OpenOptions) (*Log, Recovery, error) {
	if cfg.Files == nil {
		cfg.Files = NewFileCache(defaultOpenFiles)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Log{cfg: cfg, fs: cfg.FS, files: cfg.Files, logger: cfg.Logger, producers: newProducers(cfg.Partition)}
	l.group.cond.L = &l.group.mu
	l.Configure(cfg.Settings)
	l.setSegments(nil)
	r := &recovery{l: l, o: o, report: Recovery{Clean: o.Clean, CutFrom: record.NoOffset}}
	if err := r.run(); err != nil {
		for _, s := range l.list() {
			s.retire()
		}
		return nil, r.report, err
	}
	return l, r.report, nil
}

// prepareDir makes the directory and its metadata file, or checks them.
func (l *Log) prepareDir() error {
	if _, err := l.fs.Stat(l.cfg.Dir); errors.Is(err, fs.ErrNotExist) {
		if err := l.fs.MkdirAll(l.cfg.Dir); err != nil {
			return err
		}
		if err := l.fs.SyncDir(filepath.Dir(l.cfg.Dir)); err != nil {
			return err
		}
	}
	if l.cfg.TopicID == ([16]byte{}) {
		return nil
	}
	path := filepath.Join(l.cfg.Dir, nameMetadata)
	b, err := readFile(l.fs, path)
	if errors.Is(err, fs.ErrNotExist) {
		return replaceFile(l.fs, path, formatMetadata(l.cfg.TopicID))
	}
	if err != nil {
		return err
	}
	id, err := parseMetadata(path, b)
	if err != nil {
		return err
	}
	if id != l.cfg.TopicID {
		return fmt.Errorf("%w: %s names %x, expected %x: the directory belongs to another topic; move it away",
			ErrTopicID, path, id, l.cfg.TopicID)
	}
	return nil
}

// sweep finishes or undoes what a crash interrupted and lists the segments'
// base offsets; docs/format/segment.md, "Compaction". names is what is in the
// directory then.
func (l *Log) sweep() (bases []record.Offset, names []string, err error) {
	names, err = l.fs.ReadDir(l.cfg.Dir)
	if err != nil {
		return nil, nil, err
	}
	changed := false
	remove := func(name string) error {
		changed = true
		return l.fs.Remove(filepath.Join(l.cfg.Dir, name))
	}
	var swaps []record.Offset
	for _, name := range names {
		base, suffix, ok := parseName(name)
		switch ext := filepath.Ext(name); {
		case ext == suffixCleaned || ext == suffixDeleted || ext == suffixTmp:
			if err := remove(name); err != nil {
				return nil, nil, err
			}
		case ok && suffix == suffixLog+suffixSwap:
			swaps = append(swaps, base)
		}
	}
	for _, base := range swaps {
		changed = true
		if err := l.finishSwap(base, names); err != nil {
			return nil, nil, err
		}
	}
	if changed {
		if names, err = l.fs.ReadDir(l.cfg.Dir); err != nil {
			return nil, nil, err
		}
	}
	for _, name := range names {
		if base, suffix, ok := parseName(name); ok && suffix == suffixLog {
			bases = append(bases, base)
		}
	}
	slices.Sort(bases)
	for _, name := range names {
		base, suffix, ok := parseName(name)
		_, has := slices.BinarySearch(bases, base)
		stray := suffix == suffixIndex || suffix == suffixTime || suffix == suffixTxn
		if ok && (filepath.Ext(suffix) == suffixSwap || stray && !has) {
			if err := remove(name); err != nil {
				return nil, nil, err
			}
		}
	}
	if changed {
		return bases, names, l.fs.SyncDir(l.cfg.Dir)
	}
	return bases, names, nil
}

// loadEpochs reads leader-epoch-checkpoint. A missing or malformed file is
// rebuilt from the batches' headers; ok is false then.
func (l *Log) loadEpochs() (ok bool, err error) {
	path := filepath.Join(l.cfg.Dir, nameEpochs)
	b, err := readFile(l.fs, path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	list, err := parseEpochs(path, b)
	if err != nil {
		l.logger.Warn("leader epochs are rebuilt from the log", "error", err)
		return false, nil
	}
	l.epochs.list = list
	return true, nil
}

func (l *Log) writeEpochs() error {
	l.epochFile.Lock()
	defer l.epochFile.Unlock()
	path := filepath.Join(l.cfg.Dir, nameEpochs)
	if err := replaceFile(l.fs, path, l.epochs.format()); err != nil {
		return fmt.Errorf("%w: write %s: %w", ErrStorage, path, err)
	}
	if l.epochUnwritten.Swap(false) {
		l.logger.Info("there is space again: the leader epoch is written, appends go on",
			"topic", l.cfg.Partition.Topic, "partition", l.cfg.Partition.Partition, "epoch", l.Epoch())
	}
	return nil
}

// WriteEpoch writes the leader epoch that Open could not write because the
// disk was full; otherwise it does nothing. Appends try it by themselves.
// Error: ErrStorage.
func (l *Log) WriteEpoch() error {
	if !l.epochUnwritten.Load() {
		return nil
	}
	if err := l.usable(); err != nil {
		return err
	}
	return l.writeEpochs()
}
