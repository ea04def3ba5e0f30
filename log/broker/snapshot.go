package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/millstream-io/millstream/log/vfs"
)

// SnapshotSummary tells what Snapshot made.
type SnapshotSummary struct {
	Live       bool          // another process holds the directory
	Partitions int64         // copied
	Linked     int64         // bytes shared with the directory by hard links
	Copied     int64         // bytes written
	Shut       time.Duration // how long no transaction could be decided
}

// SnapshotOptions of Snapshot; the zero value is fine.
type SnapshotOptions struct {
	// Stopped is called, where no process holds the directory, while Snapshot
	// holds it: what else stands in it may be copied then.
	Stopped func() error
}

// ErrNotEmpty says that a snapshot's destination holds something.
var ErrNotEmpty = errors.New("is not empty")

// Snapshot makes dest, which must be missing or empty, a copy of a data
// directory as a crash of its process at one moment would leave it, in use or
// not: what is committed is in it, and a start on it recovers the rest. Sealed
// segments are hard links, so dest must be in the same file system; the newest
// segment of each partition is copied and synced. To keep the snapshot, copy dest
// elsewhere and remove it; to go back, start on a copy: recovery writes indexes
// in place, and dest shares them with dir.
//
// The moment is kept by a gate (vfs.Gate) that every append to
// __transaction_state and every write of the metadata passes. While it is shut,
// for the time of some system calls per file, no transaction is decided; reads
// and other writes go on. What is captured of the other partitions belongs to
// transactions that were decided before, or that the copy's start will abort
// or continue; either way wholly. Captured first are the checkpoints and the
// group offsets, so that neither points past what is captured later.
func Snapshot(ctx context.Context, fsys vfs.FS, dir, dest string, o SnapshotOptions) (sum SnapshotSummary, err error) {
	s := &snapshot{fs: fsys, dir: dir, dest: dest}
	if _, found, err := readFormat(fsys, dir); err != nil {
		return sum, err
	} else if !found {
		return sum, fmt.Errorf("%s: not a data directory: it has no %s", dir, propertiesFile)
	}
	if within := path.Clean(dest) + "/"; strings.HasPrefix(within, path.Clean(dir)+"/") {
		return sum, fmt.Errorf("%s is inside the data directory %s: choose a directory beside it", dest, dir)
	}
	if names, err := fsys.ReadDir(dest); err == nil && len(names) > 0 {
		return sum, fmt.Errorf("%s %w: a snapshot wants a new directory", dest, ErrNotEmpty)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return sum, err
	}
	if err := makeDir(fsys, dest); err != nil {
		return sum, err
	}
	lock, err := fsys.Lock(path.Join(dir, lockFile), ownerName()+" (snapshot)")
	var taken *vfs.LockedError
	switch {
	case err == nil:
		defer lock.Close()
	case errors.As(err, &taken):
		s.sum.Live = true
	default:
		return sum, err
	}
	if err := s.capture(ctx); err != nil {
		return s.sum, fmt.Errorf("snapshot of %s: %w", dir, err)
	}
	if !s.sum.Live && o.Stopped != nil {
		if err := o.Stopped(); err != nil {
			return s.sum, fmt.Errorf("snapshot of %s: %w", dir, err)
		}
	}
	if err := s.finish(); err != nil {
		return s.sum, fmt.Errorf("snapshot of %s: %w", dir, err)
	}
	return s.sum, nil
}

// linkSuffix marks a hard link in dest whose bytes are still to be copied.
const linkSuffix = ".link"

// captureTries bounds how often a partition is captured again because the
// cleaner or retention changed it meanwhile.
const captureTries = 100

type snapshot struct {
	fs        vfs.FS
	dir, dest string
	sum       SnapshotSummary
	small     map[string][]byte // root files, as captured
	links     []captured        // to be copied
	dirs      []string          // of partitions, by name
}

// captured is a file whose first size bytes belong to the snapshot.
type captured struct {
	name string // relative to the directory
	size int64
}

// capture holds the moment: every file gets a link, sizes are taken.
func (s *snapshot) capture(ctx context.Context) error {
	gate, err := s.fs.Gate(path.Join(s.dir, gateFile))
	if err != nil {
		return err
	}
	defer gate.Close()
	open, err := gate.Shut(ctx)
	if err != nil {
		return err
	}
	defer open()
	began := time.Now()
	if err := s.root(); err != nil {
		return err
	}
	for _, name := range s.dirs {
		if err := s.partition(name); err != nil {
			return err
		}
	}
	s.sum.Shut = time.Since(began)
	return nil
}

// root reads the root's files and lists the partitions of the topics that exist,
// in the order in which they are captured.
func (s *snapshot) root() error {
	s.small = map[string][]byte{}
	for _, name := range rootFiles {
		if name == lockFile || name == gateFile || name == reserveFile {
			continue
		}
		if s.sum.Live && (name == checksumsFile || name == cleanShutdownFile) {
			continue
		}
		b, err := readFile(s.fs, path.Join(s.dir, name))
		switch {
		case err == nil:
			s.small[name] = b
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	text, ok := s.small[metadataFile]
	if !ok {
		return nil // no topic was ever made
	}
	meta, err := decodeMetadata(metadataFile, text)
	if err != nil {
		return err
	}
	slices.SortStableFunc(meta.Topics, func(a, b topicEntry) int { return captureRank(a.Name) - captureRank(b.Name) })
	for _, t := range meta.Topics {
		for p := range t.Partitions {
			s.dirs = append(s.dirs, fmt.Sprintf("%s-%d", t.Name, p))
		}
	}
	s.sum.Partitions = int64(len(s.dirs))
	return nil
}

// captureRank puts group offsets first and transactions last.
func captureRank(topic string) int {
	switch topic {
	case offsetsTopic:
		return 0
	case transactionTopic:
		return 2
	}
	return 1
}

// partition captures one partition directory, again if it changed meanwhile.
func (s *snapshot) partition(name string) error {
	if err := s.fs.MkdirAll(path.Join(s.dest, name)); err != nil {
		return err
	}
	for range captureTries {
		before, err := s.list(name)
		if err != nil {
			return err
		}
		links, err := s.link(name, before)
		if err == nil {
			var after map[string]fs.FileInfo
			if after, err = s.list(name); err != nil {
				return err
			}
			if same(before, after) {
				s.links = append(s.links, links...)
				return nil
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := s.empty(path.Join(s.dest, name)); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: the cleaner or retention changed it %d times while it was captured: try again", name, captureTries)
}

// list describes the files of a partition that count.
func (s *snapshot) list(name string) (map[string]fs.FileInfo, error) {
	names, err := s.fs.ReadDir(path.Join(s.dir, name))
	if err != nil {
		return nil, err
	}
	files := map[string]fs.FileInfo{}
	for _, f := range names {
		switch path.Ext(f) {
		case ".deleted", ".tmp", ".cleaned":
			continue
		}
		info, err := s.fs.Stat(path.Join(s.dir, name, f))
		if errors.Is(err, fs.ErrNotExist) {
			continue // then the second list differs
		}
		if err != nil {
			return nil, err
		}
		files[f] = info
	}
	return files, nil
}

// same reports whether two lists tell of the same files; the newest segment's
// may have grown.
func same(before, after map[string]fs.FileInfo) bool {
	if len(before) != len(after) {
		return false
	}
	newest := newestSegment(before)
	for name, b := range before {
		a, ok := after[name]
		if !ok {
			return false
		}
		if newest != "" && strings.HasPrefix(name, newest) && a.Size() >= b.Size() {
			continue
		}
		if a.Size() != b.Size() || !a.ModTime().Equal(b.ModTime()) {
			return false
		}
	}
	return true
}

// newestSegment is the name, without suffix, of the segment that is appended to.
func newestSegment(files map[string]fs.FileInfo) (newest string) {
	for name := range files {
		if base, ok := strings.CutSuffix(name, ".log"); ok && base > newest {
			newest = base
		}
	}
	return newest
}

// link links the files of a partition. Those of the newest segment, the only ones
// that are written in place while the broker runs, are copied later.
func (s *snapshot) link(name string, files map[string]fs.FileInfo) ([]captured, error) {
	newest := newestSegment(files)
	var links []captured
	for f, info := range files {
		from, to := path.Join(s.dir, name, f), path.Join(s.dest, name, f)
		sealed := newest == "" || !strings.HasPrefix(f, newest)
		if !sealed {
			to += linkSuffix
		}
		err := s.fs.Link(from, to)
		if err != nil {
			return nil, fmt.Errorf("%w (the destination must be in the data directory's file system: files are linked)", err)
		}
		if sealed {
			s.sum.Linked += info.Size()
			continue
		}
		links = append(links, captured{path.Join(name, f), info.Size()})
	}
	return links, nil
}

func (s *snapshot) empty(dir string) error {
	names, err := s.fs.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := s.fs.Remove(path.Join(dir, n)); err != nil {
			return err
		}
	}
	return nil
}

// finish replaces links by copies and makes everything durable. The format file
// is the last: without it dest is no data directory.
func (s *snapshot) finish() error {
	for _, c := range s.links {
		if err := s.copy(c); err != nil {
			return err
		}
	}
	for _, name := range s.dirs {
		if err := s.fs.SyncDir(path.Join(s.dest, name)); err != nil {
			return err
		}
	}
	for name, b := range s.small {
		if name == propertiesFile {
			continue
		}
		if err := writeFile(s.fs, path.Join(s.dest, name), b); err != nil {
			return err
		}
	}
	return writeFile(s.fs, path.Join(s.dest, propertiesFile), s.small[propertiesFile])
}

// copyChunk is how much is copied at a time, in bytes.
const copyChunk = 1 << 20

func (s *snapshot) copy(c captured) (err error) {
	name := path.Join(s.dest, c.name)
	in, err := s.fs.Open(name + linkSuffix)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := s.fs.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	buf := make([]byte, min(copyChunk, c.size))
	for at := int64(0); at < c.size; {
		b := buf[:min(int64(len(buf)), c.size-at)]
		if _, err := in.ReadAt(b, at); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if _, err := out.WriteAt(b, at); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		at += int64(len(b))
	}
	s.sum.Copied += c.size
	if err := out.Sync(); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return s.fs.Remove(name + linkSuffix)
}
