package broker

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
	"github.com/millstream-io/millstream/log/vfs"
)

// VerifyOptions of Verify.
type VerifyOptions struct {
	// Live checks a directory that a process has open: without the lock, and of
	// every partition what lies below the recovery point on disk. What is found is
	// read again, because files change meanwhile; only what stays is reported.
	Live bool
	// Foreign names entries of the directory that are not the log's, such as
	// "state"; they are passed over.
	Foreign []string
}

// VerifyReport sums up what was read.
type VerifyReport struct {
	Topics, Partitions, Files int64
	Clean                     bool // the mark of a clean shutdown is there
	segment.VerifyReport           // its End is not used
}

// rereadings are the pauses before something is read again with
// VerifyOptions.Live: longer than what the owner does under syncs.
var rereadings = []time.Duration{5 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond}

// Verify checks a whole data directory and changes nothing but LOCK: the root's
// files, that they agree with the partitions, every partition (segment.Verify),
// and that the coordinators' records decode. Each thing that is wrong is
// reported, in order of topics; a Pos of -1 means the whole file.
// docs/format/data-directory.md, "Harmless bytes", lists what cannot be seen.
//
// The error is for what stopped the reading: a directory that is not there or
// not a data directory, one of a newer version (*VersionError), or one in use
// (*vfs.LockedError) unless Live.
func Verify(fsys vfs.FS, dir string, o VerifyOptions, report func(segment.Finding)) (VerifyReport, error) {
	v := &verifier{fs: fsys, dir: dir, o: o, emit: report, reported: map[string]bool{}}
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return v.sum, fmt.Errorf("data directory %s cannot be read: %w", dir, err)
	}
	if !slices.Contains(names, propertiesFile) && !slices.Contains(names, metadataFile) {
		return v.sum, fmt.Errorf("%s is not a data directory: neither %s nor %s is there", dir, propertiesFile, metadataFile)
	}
	if err := newerVersion(fsys, dir); err != nil {
		return v.sum, err
	}
	if !o.Live {
		lock, err := fsys.Lock(path.Join(dir, lockFile), "millstream verify, "+ownerName())
		if err != nil {
			return v.sum, fmt.Errorf("data directory %s: %w", dir, err)
		}
		defer lock.Close()
	}
	v.steadily(v.root, func() bool { return true })
	for _, p := range v.partitions {
		v.steadily(func() { v.partition(p) }, func() bool { return v.still(p) })
	}
	v.checksums()
	return v.sum, nil
}

// newerVersion is the error if a newer program wrote the directory.
func newerVersion(fsys vfs.FS, dir string) error {
	var newer *VersionError
	if _, _, err := readFormat(fsys, dir); errors.As(err, &newer) {
		return err
	}
	if _, err := readMetadata(fsys, dir); errors.As(err, &newer) {
		return err
	}
	return nil
}

// verifier is one run of Verify.
type verifier struct {
	fs   vfs.FS
	dir  string
	o    VerifyOptions
	emit func(segment.Finding)
	sum  VerifyReport

	points     map[string]map[record.TopicPartition]record.Offset // checkpoint file -> its content; nil if it is not there
	texts      map[string][]byte
	partitions []partitionID
	reported   map[string]bool // names given to add
}

// partitionID is a partition with its topic's id, which is zero if unknown.
type partitionID struct {
	record.TopicPartition
	topic [16]byte
}

func dirName(tp record.TopicPartition) string { return fmt.Sprintf("%s-%d", tp.Topic, tp.Partition) }

// steadily runs a step, in a live directory again while it reports something and
// still says that its object is there. Only the last run's findings count.
func (v *verifier) steadily(step func(), still func() bool) {
	if !v.o.Live {
		step()
		return
	}
	emit, sum := v.emit, v.sum
	var list []segment.Finding
	v.emit = func(f segment.Finding) { list = append(list, f) }
	defer func() { v.emit = emit }()
	for n := 0; ; n++ {
		list, v.sum = nil, sum
		if step(); len(list) == 0 {
			return
		}
		if n == len(rereadings) {
			break
		}
		time.Sleep(rereadings[n])
		if !still() {
			v.sum = sum
			return
		}
	}
	for _, f := range list {
		emit(f)
	}
}

// still reads the root again and says whether a partition is in it.
func (v *verifier) still(p partitionID) bool {
	now := &verifier{fs: v.fs, dir: v.dir, o: v.o, emit: func(segment.Finding) {}, reported: map[string]bool{}}
	now.root()
	v.points, v.texts = now.points, now.texts
	return slices.Contains(now.partitions, p)
}

func (v *verifier) add(name string, pos int, format string, args ...any) {
	v.reported[name] = true
	v.emit(segment.Finding{Path: path.Join(v.dir, name), Pos: int64(pos), Offset: record.NoOffset, What: fmt.Sprintf(format, args...)})
}

// partition checks one partition and what the root's files say of it.
func (v *verifier) partition(p partitionID) {
	v.sum.Partitions++
	name := dirName(p.TopicPartition)
	o := segment.VerifyOptions{TopicID: p.topic, LogStart: v.points[logStartFile][p.TopicPartition], Crashed: !v.sum.Clean}
	if v.o.Live {
		// The start on disk lags behind retention.
		o.LogStart, o.UpTo = 0, v.points[recoveryPointFile][p.TopicPartition]
		if o.UpTo == 0 {
			return // nothing of it is promised yet
		}
	}
	dir, found := path.Join(v.dir, name), false
	sum, err := segment.Verify(v.fs, dir, o, func(f segment.Finding) {
		if o.UpTo > 0 && f.Offset >= o.UpTo {
			return // being written
		}
		found = true
		v.emit(f)
	})
	if err != nil {
		v.add(name, -1, "cannot be read: %v", err)
		return
	}
	if names, err := v.fs.ReadDir(dir); err == nil {
		v.sum.Files += int64(len(names))
	}
	v.sum.Segments += sum.Segments
	v.sum.Batches += sum.Batches
	v.sum.Records += sum.Records
	v.sum.Bytes += sum.Bytes
	if !found {
		v.coordinatorRecords(p.Topic, dir, o.UpTo)
	}
	v.compare(p.TopicPartition, sum.End)
}

// compare holds the checkpoint files against the partition's end.
func (v *verifier) compare(tp record.TopicPartition, end record.Offset) {
	name := dirName(tp)
	if v.o.Live {
		if at := v.points[recoveryPointFile][tp]; at > end {
			v.add(recoveryPointFile, v.at(recoveryPointFile, tp), "offset %d of %s is above its end %d", at, name, end)
		}
		return
	}
	for _, file := range checkpointFiles {
		at, listed := v.points[file][tp]
		switch {
		case v.points[file] == nil:
		case at > end:
			v.add(file, v.at(file, tp), "offset %d of %s is above its end %d", at, name, end)
		case !v.sum.Clean || file == cleanerOffsetFile:
		case !listed:
			v.add(file, 2, "%s is missing", name)
		case file != logStartFile && at != end:
			v.add(file, v.at(file, tp), "offset %d of %s: after a clean shutdown expected its end %d", at, name, end)
		}
	}
}
