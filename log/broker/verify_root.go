package broker

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// rootFiles are the files that belong into the root.
var rootFiles = append([]string{lockFile, gateFile, checksumsFile, cleanShutdownFile, reserveFile}, summedFiles...)

// root checks the root's files and lists the partitions.
func (v *verifier) root() {
	v.sum.Clean = false
	v.points, v.texts, v.partitions = map[string]map[record.TopicPartition]record.Offset{}, map[string][]byte{}, nil
	names, err := v.fs.ReadDir(v.dir)
	if err != nil {
		v.emit(segment.Finding{Path: v.dir, Pos: -1, Offset: record.NoOffset, What: err.Error()})
		return
	}
	v.cleanMark(names)
	v.properties()
	v.kafkaMeta()
	v.checkpoints()
	v.topics(names)
}

// read gives a root file; nil if it is missing or unreadable, which is reported unless optional.
func (v *verifier) read(name string, optional bool) []byte {
	b, err := readFile(v.fs, path.Join(v.dir, name))
	switch {
	case err == nil:
	case !errors.Is(err, fs.ErrNotExist):
		v.add(name, -1, "cannot be read: %v", err)
	case !optional:
		v.add(name, -1, "the file is missing")
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

func (v *verifier) cleanMark(names []string) {
	if !slices.Contains(names, cleanShutdownFile) {
		return
	}
	v.sum.Clean = true
	if b := v.read(cleanShutdownFile, true); string(b) != cleanShutdownContent {
		v.add(cleanShutdownFile, firstDifference(b, []byte(cleanShutdownContent)), "expected %s, found %.80q", cleanShutdownContent, b)
	}
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
	for _, prop := range []struct {
		key  string
		good func(string) bool
	}{
		{"version", func(s string) bool { return s == "1" }},
		{"cluster.id", func(s string) bool { return s != "" }},
		{"directory.id", id},
		{"node.id", number},
	} {
		if !prop.good(p[prop.key]) {
			v.add(kafkaMetaFile, max(bytes.Index(b, []byte(prop.key)), 0), "%s=%q is missing or malformed", prop.key, p[prop.key])
		}
		delete(p, prop.key)
	}
	for key := range p {
		v.add(kafkaMetaFile, max(bytes.Index(b, []byte(key)), 0), "unknown property %q", key)
	}
}

func (v *verifier) checkpoints() {
	for _, name := range checkpointFiles {
		b := v.read(name, !v.sum.Clean)
		if b == nil {
			continue
		}
		m, err := segment.ReadOffsetCheckpoint(v.fs, path.Join(v.dir, name))
		var fe *segment.FormatError
		switch {
		case errors.As(err, &fe):
			v.add(name, int(fe.Pos), "expected %s, found %s", fe.Expected, fe.Found)
		case err != nil:
			v.add(name, -1, "%v", err)
		}
		v.points[name], v.texts[name] = m, b
	}
}

// at is where a checkpoint file speaks of a partition.
func (v *verifier) at(name string, tp record.TopicPartition) int {
	return bytes.Index(v.texts[name], []byte("\n"+tp.Topic+" "+strconv.Itoa(int(tp.Partition))+" ")) + 1
}

// topics reads millstream.metadata, lists the partitions and reports what belongs to none.
// Without the metadata the directories' names tell.
func (v *verifier) topics(names []string) {
	m, err := readMetadata(v.fs, v.dir)
	if err != nil {
		v.add(metadataFile, 0, "%v", err)
		for _, name := range names {
			if tp, ok := v.partitionOf(name); ok {
				v.partitions = append(v.partitions, partitionID{TopicPartition: tp})
			}
		}
		v.countFiles(names)
		return
	}
	known, pending := map[record.TopicPartition]bool{}, map[string]bool{}
	for _, t := range m.Pending {
		pending[t.Name] = true
	}
	for _, t := range m.Topics {
		v.sum.Topics++
		id, err := parseHexID(t.ID)
		if err != nil {
			v.add(metadataFile, 0, "topic %s: %v", t.Name, err)
		}
		if _, err := resolveConfig(t.Name, t.Configs, defaultSettings(FlushCommit)); err != nil {
			v.add(metadataFile, 0, "%v", err)
		}
		for i := range t.Partitions {
			tp := record.TopicPartition{Topic: t.Name, Partition: record.Partition(i)}
			known[tp] = true
			v.partitions = append(v.partitions, partitionID{tp, id})
		}
	}
	for _, name := range checkpointFiles {
		for tp := range v.points[name] {
			if !known[tp] && !pending[tp.Topic] {
				v.add(name, v.at(name, tp), "no topic has the partition %s", dirName(tp))
			}
		}
	}
	v.strangers(names, known, pending)
	v.countFiles(names)
}

// partitionOf reads a directory's name as that of a partition.
func (v *verifier) partitionOf(name string) (tp record.TopicPartition, ok bool) {
	cut := strings.LastIndexByte(name, '-')
	if cut < 1 {
		return tp, false
	}
	n, err := strconv.ParseInt(name[cut+1:], 10, 32)
	tp = record.TopicPartition{Topic: name[:cut], Partition: record.Partition(n)}
	return tp, err == nil && dirName(tp) == name && checkName(tp.Topic) == nil && v.isDir(name)
}

func (v *verifier) isDir(name string) bool {
	info, err := v.fs.Stat(path.Join(v.dir, name))
	return err == nil && info.IsDir()
}

func (v *verifier) foreign(name string) bool {
	return slices.Contains(v.o.Foreign, name) || name == "lost+found"
}

// strangers reports what is neither a file of the root nor a partition of a topic.
func (v *verifier) strangers(names []string, known map[record.TopicPartition]bool, pending map[string]bool) {
	for _, name := range names {
		tp, partition := v.partitionOf(name)
		written, tmp := strings.CutSuffix(name, ".tmp")
		switch {
		case slices.Contains(rootFiles, name), v.foreign(name), partition && known[tp]:
		case v.o.Live && (tmp || partition && pending[tp.Topic]): // being written, made or deleted
		case !v.sum.Clean && (tmp && slices.Contains(rootFiles, written) || partition && pending[tp.Topic]):
			// As a crash leaves it; the next start removes or overwrites it.
		case tmp && slices.Contains(rootFiles, written):
			v.add(name, -1, "left over from a crash; never read, and overwritten by the next write of %s", written)
		case partition && pending[tp.Topic]:
			v.add(name, -1, "left over from making or deleting topic %s; the next start removes it", tp.Topic)
		case partition:
			v.add(name, -1, "a partition's directory that belongs to no topic: move it away")
		case v.isDir(name):
			v.add(name, -1, "not a directory of the log: move it away")
		default:
			v.add(name, -1, "not a file of a data directory: move it away")
		}
	}
}

func (v *verifier) countFiles(names []string) {
	for _, name := range names {
		if !v.foreign(name) && !v.isDir(name) {
			v.sum.Files++
		}
	}
}
