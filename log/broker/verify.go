package broker

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
	"github.com/millstream-io/millstream/log/vfs"
)

// VerifyOptions of Verify.
type VerifyOptions struct {
	// Live checks a directory that a process has open: without the lock, and of
	// every partition what lies below the recovery point on disk.
	Live bool
}

// VerifyReport sums up what was read.
type VerifyReport struct {
	Topics, Partitions int64
	segment.VerifyReport
}

// Verify checks a whole data directory and changes nothing but LOCK: the root's
// files, that they agree with the partitions, and every partition
// (segment.Verify). Each thing that is wrong is reported, in order of topics;
// docs/format/data-directory.md, "Harmless bytes", lists what cannot be seen.
//
// The error is for what stopped the reading: a directory that is not there or
// not a data directory, or one in use (*vfs.LockedError) unless Live.
func Verify(fsys vfs.FS, dir string, o VerifyOptions, report func(segment.Finding)) (VerifyReport, error) {
	v := &verifier{fs: fsys, dir: dir, o: o, emit: report, points: map[string]map[record.TopicPartition]record.Offset{}}
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return v.sum, fmt.Errorf("data directory %s cannot be read: %w", dir, err)
	}
	if !slices.Contains(names, propertiesFile) && !slices.Contains(names, metadataFile) {
		return v.sum, fmt.Errorf("%s is not a data directory: neither %s nor %s is there", dir, propertiesFile, metadataFile)
	}
	if !o.Live {
		lock, err := fsys.Lock(path.Join(dir, lockFile), ownerName())
		if err != nil {
			return v.sum, fmt.Errorf("data directory %s: %w", dir, err)
		}
		defer lock.Close()
	}
	v.names = names
	v.properties()
	v.kafkaMeta()
	v.cleanMark()
	v.checkpoints()
	v.topics()
	return v.sum, nil
}

type verifier struct {
	fs    vfs.FS
	dir   string
	o     VerifyOptions
	emit  func(segment.Finding)
	sum   VerifyReport
	names []string

	points map[string]map[record.TopicPartition]record.Offset // checkpoint file -> its content
	texts  map[string][]byte
	clean  bool // the mark of a clean shutdown is there
}

func (v *verifier) add(name string, pos int, format string, args ...any) {
	v.emit(segment.Finding{Path: path.Join(v.dir, name), Pos: int64(pos), Offset: record.NoOffset, What: fmt.Sprintf(format, args...)})
}

// read gives a root file; nil if it is missing or unreadable, which is reported unless optional.
func (v *verifier) read(name string, optional bool) []byte {
	b, err := readFile(v.fs, path.Join(v.dir, name))
	if err != nil && !(optional && errors.Is(err, fs.ErrNotExist)) {
		v.add(name, 0, "%v", err)
	}
	return b
}

// firstDifference is where two texts part.
func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// properties: millstream.properties has exactly the form in which it is written.
func (v *verifier) properties() {
	b := v.read(propertiesFile, false)
	if b == nil {
		return
	}
	boot, _, err := readFormat(v.fs, v.dir)
	if err != nil {
		v.add(propertiesFile, 0, "%v", err)
		return
	}
	if want := formatText(boot); !bytes.Equal(b, want) {
		v.add(propertiesFile, firstDifference(b, want), "not as it is written: expected %q", want)
	}
}

// kafkaMeta: meta.properties names version, cluster, directory and node.
func (v *verifier) kafkaMeta() {
	b := v.read(kafkaMetaFile, false)
	if b == nil {
		return
	}
	p, err := parseProperties(kafkaMetaFile, b)
	if err != nil {
		v.add(kafkaMetaFile, 0, "%v", err)
		return
	}
	id := func(s string) bool {
		raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
		return err == nil && len(raw) == 16
	}
	number := func(s string) bool { n, err := strconv.ParseInt(s, 10, 32); return err == nil && n >= 0 }
	for key, good := range map[string]func(string) bool{
		"version": func(s string) bool { return s == "1" }, "cluster.id": func(s string) bool { return s != "" }, "directory.id": id, "node.id": number,
	} {
		if !good(p[key]) {
			v.add(kafkaMetaFile, max(bytes.Index(b, []byte(key)), 0), "%s=%q is missing or malformed", key, p[key])
		}
		delete(p, key)
	}
	for key := range p {
		v.add(kafkaMetaFile, max(bytes.Index(b, []byte(key)), 0), "unknown property %q", key)
	}
}

func (v *verifier) cleanMark() {
	if !slices.Contains(v.names, cleanShutdownFile) {
		return
	}
	v.clean = true
	if b := v.read(cleanShutdownFile, false); !json.Valid(b) {
		v.add(cleanShutdownFile, 0, "expected JSON like %s, found %q", cleanShutdownContent, b)
	}
}

func (v *verifier) checkpoints() {
	v.texts = map[string][]byte{}
	for _, name := range checkpointFiles {
		m, err := segment.ReadOffsetCheckpoint(v.fs, path.Join(v.dir, name))
		var fe *segment.FormatError
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.As(err, &fe):
			v.add(name, int(fe.Pos), "expected %s, found %s", fe.Expected, fe.Found)
		case err != nil:
			v.add(name, 0, "%v", err)
		}
		v.points[name] = m
		v.texts[name] = v.read(name, true)
	}
}

// at is where a checkpoint file speaks of a partition.
func (v *verifier) at(name string, tp record.TopicPartition) int {
	return max(bytes.Index(v.texts[name], fmt.Appendf(nil, "\n%s %d ", tp.Topic, tp.Partition))+1, 0)
}

// topics checks every partition of every topic, and that nothing else is there.
func (v *verifier) topics() {
	m, err := readMetadata(v.fs, v.dir)
	if err != nil {
		v.add(metadataFile, 0, "%v", err)
		return
	}
	known := map[record.TopicPartition]bool{}
	pending := map[string]bool{}
	for _, t := range m.Pending {
		pending[t.Name] = true
	}
	for _, t := range m.Topics {
		v.sum.Topics++
		id, err := parseHexID(t.ID)
		if err != nil {
			v.add(metadataFile, 0, "topic %s: %v", t.Name, err)
		}
		for i := range t.Partitions {
			tp := record.TopicPartition{Topic: t.Name, Partition: record.Partition(i)}
			known[tp] = true
			v.partition(tp, id)
		}
	}
	for _, name := range checkpointFiles {
		for tp := range v.points[name] {
			if !known[tp] && !pending[tp.Topic] {
				v.add(name, v.at(name, tp), "no topic has the partition %s-%d", tp.Topic, tp.Partition)
			}
		}
	}
	v.strangers(known, pending)
}

func (v *verifier) strangers(known map[record.TopicPartition]bool, pending map[string]bool) {
	for _, name := range v.names {
		if strings.HasSuffix(name, ".tmp") && !v.o.Live {
			v.add(name, 0, "left over from a crash; never read")
		}
		cut := strings.LastIndexByte(name, '-')
		n, err := strconv.ParseInt(name[cut+1:], 10, 32)
		if cut < 1 || err != nil {
			continue
		}
		tp := record.TopicPartition{Topic: name[:cut], Partition: record.Partition(n)}
		if !known[tp] && !pending[tp.Topic] {
			v.add(name, 0, "a partition's directory that belongs to no topic")
		}
	}
}

// partition checks one partition and what the root's files say of it.
func (v *verifier) partition(tp record.TopicPartition, id [16]byte) {
	v.sum.Partitions++
	name := fmt.Sprintf("%s-%d", tp.Topic, tp.Partition)
	o := segment.VerifyOptions{TopicID: id, LogStart: v.points[logStartFile][tp]}
	if v.o.Live {
		if o.UpTo = v.points[recoveryPointFile][tp]; o.UpTo == 0 {
			return // nothing of it is promised yet
		}
	}
	sum, err := segment.Verify(v.fs, path.Join(v.dir, name), o, v.emit)
	if err != nil {
		v.add(name, 0, "%v", err)
		return
	}
	v.sum.Segments += sum.Segments
	v.sum.Batches += sum.Batches
	v.sum.Records += sum.Records
	v.sum.Bytes += sum.Bytes
	if v.o.Live {
		return
	}
	for _, file := range checkpointFiles {
		at := v.points[file][tp]
		atEnd := file == recoveryPointFile || file == highWatermarkFile
		switch {
		case at > sum.End:
			v.add(file, v.at(file, tp), "offset %d of %s is above its end %d", at, name, sum.End)
		case v.clean && atEnd && v.points[file] != nil && at != sum.End:
			v.add(file, v.at(file, tp), "offset %d of %s: after a clean shutdown expected its end %d", at, name, sum.End)
		}
	}
}
