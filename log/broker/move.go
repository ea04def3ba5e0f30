package broker

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
	"github.com/millstream-io/millstream/log/vfs"
)

// Moving a topic between a data directory and a log directory of Apache Kafka,
// both stopped: docs/format/data-directory.md, "To and from Apache Kafka".

// ErrNotStopped: a directory was not closed cleanly, or its broker is running.
var ErrNotStopped = errors.New("is in use, or was not closed cleanly: start its broker, stop it with SIGTERM, and try again")

// Move says which topic goes where.
type Move struct {
	Topic string
	// ID is the topic's id on the other side. For an export it is Kafka's, whose
	// broker deletes what has another; for an import zero keeps the one that it has.
	ID [16]byte
	// Configs of an imported topic.
	Configs map[string]string
}

// Moved is what was copied of one partition.
type Moved struct {
	record.TopicPartition
	segment.Transplanted
}

// ParseTopicID reads a topic id as Kafka prints it: 22 characters of base64.
func ParseTopicID(text string) (id [16]byte, err error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != len(id) {
		return id, fmt.Errorf("topic id %q: expected 22 characters, as kafka-topics.sh --describe and millstream topic describe print", text)
	}
	return [16]byte(raw), nil
}

// Export copies a topic of the data directory dir into kafkaDir, a log directory
// of Kafka in which the topic exists and is empty, with as many partitions. dir
// is not changed. Configurations and group offsets do not go with it.
func Export(fsys vfs.FS, dir, kafkaDir string, m Move) ([]Moved, error) {
	lock, err := lockStopped(fsys, dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := kafkaStopped(fsys, kafkaDir); err != nil {
		return nil, err
	}
	meta, err := readMetadata(fsys, dir)
	if err != nil {
		return nil, err
	}
	entry := meta.topic(m.Topic)
	if entry == nil {
		return nil, fmt.Errorf("%s: %w: %s", dir, ErrUnknownTopic, m.Topic)
	}
	if err := emptyInKafka(fsys, kafkaDir, m, entry.Partitions); err != nil {
		return nil, err
	}
	from, err := readCheckpoints(fsys, dir)
	if err != nil {
		return nil, err
	}
	into, err := readCheckpoints(fsys, kafkaDir)
	if err != nil {
		return nil, err
	}
	moved, err := copyPartitions(fsys, dir, kafkaDir, m, entry.Partitions, from[logStartFile])
	if err != nil {
		return nil, err
	}
	if err := removeMark(fsys, kafkaDir); err != nil {
		return nil, err
	}
	for _, p := range moved {
		at := path.Join(kafkaDir, dirName(p.TopicPartition))
		if err := errors.Join(fsys.RemoveAll(at), fsys.Rename(staging(kafkaDir, p.TopicPartition), at)); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(fsys.SyncDir(kafkaDir), into.add(fsys, kafkaDir, moved)); err != nil {
		return nil, err
	}
	return moved, leaveCleanMark(fsys, kafkaDir)
}

// Import copies a topic of Kafka's log directory kafkaDir into the data
// directory dir, where there must be none of that name. kafkaDir is not changed.
func Import(fsys vfs.FS, dir, kafkaDir string, m Move) ([]Moved, error) {
	if err := checkName(m.Topic); err != nil {
		return nil, err
	}
	if _, err := resolveConfig(m.Topic, m.Configs, defaultSettings(FlushCommit)); err != nil {
		return nil, err
	}
	lock, err := lockStopped(fsys, dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := kafkaStopped(fsys, kafkaDir); err != nil {
		return nil, err
	}
	meta, err := readMetadata(fsys, dir)
	if err != nil {
		return nil, err
	}
	if meta.topic(m.Topic) != nil {
		return nil, fmt.Errorf("%s: %w: %s: delete it first, or import into another directory", dir, ErrTopicExists, m.Topic)
	}
	partitions, err := partitionsInKafka(fsys, kafkaDir, &m)
	if err != nil {
		return nil, err
	}
	return importInto(fsys, dir, kafkaDir, m, partitions, meta)
}

// importInto makes the topic as CreateTopic does: pending first, so that a crash
// leaves a whole topic or none.
func importInto(fsys vfs.FS, dir, kafkaDir string, m Move, partitions int32, meta *metadata) ([]Moved, error) {
	from, err := readCheckpoints(fsys, kafkaDir)
	if err != nil {
		return nil, err
	}
	into, err := readCheckpoints(fsys, dir)
	if err != nil {
		return nil, err
	}
	if err := removeMark(fsys, dir); err != nil {
		return nil, err
	}
	entry := topicEntry{Name: m.Topic, ID: fmt.Sprintf("%x", m.ID), Partitions: partitions, CreatedMS: createdMS(fsys, kafkaDir, m.Topic), Configs: m.Configs}
	meta.Pending = append(meta.Pending, entry)
	if err := writeMetadata(fsys, dir, meta); err != nil {
		return nil, err
	}
	moved, err := copyPartitions(fsys, kafkaDir, dir, m, partitions, from[logStartFile])
	if err != nil {
		for i := range partitions {
			err = errors.Join(err, fsys.RemoveAll(staging(dir, record.TopicPartition{Topic: m.Topic, Partition: record.Partition(i)})))
		}
		meta.Pending = meta.Pending[:len(meta.Pending)-1]
		return nil, errors.Join(err, writeMetadata(fsys, dir, meta), writeChecksums(fsys, dir), leaveCleanMark(fsys, dir))
	}
	for _, p := range moved {
		if err := fsys.Rename(staging(dir, p.TopicPartition), path.Join(dir, dirName(p.TopicPartition))); err != nil {
			return nil, err
		}
		// A producer id that stands in the copied batches is not handed out again.
		meta.NextProducerID = max(meta.NextProducerID, p.MaxProducerID+1)
	}
	if err := errors.Join(fsys.SyncDir(dir), into.add(fsys, dir, moved)); err != nil {
		return nil, err
	}
	meta.Pending = meta.Pending[:len(meta.Pending)-1]
	meta.Topics = append(meta.Topics, entry)
	if err := writeMetadata(fsys, dir, meta); err != nil {
		return nil, err
	}
	return moved, errors.Join(writeChecksums(fsys, dir), leaveCleanMark(fsys, dir))
}

func (m *metadata) topic(name string) *topicEntry {
	for i := range m.Topics {
		if m.Topics[i].Name == name {
			return &m.Topics[i]
		}
	}
	return nil
}

// staging is where a partition is copied to before it takes its place. Kafka
// deletes what has such a name, and so does whoever cleans up after a crash.
func staging(dir string, tp record.TopicPartition) string {
	return path.Join(dir, dirName(tp)+"."+strings.Repeat("0", 32)+"-delete")
}

func copyPartitions(fsys vfs.FS, from, to string, m Move, partitions int32, starts map[record.TopicPartition]record.Offset) ([]Moved, error) {
	var moved []Moved
	for i := range partitions {
		tp := record.TopicPartition{Topic: m.Topic, Partition: record.Partition(i)}
		dst := staging(to, tp)
		if err := fsys.RemoveAll(dst); err != nil {
			return nil, err
		}
		t, err := segment.Transplant(fsys, path.Join(from, dirName(tp)), dst, starts[tp], m.ID)
		if err != nil {
			return nil, errors.Join(err, fsys.RemoveAll(dst))
		}
		moved = append(moved, Moved{tp, t})
	}
	return moved, nil
}

// checkpoints are the root's, by file name.
type checkpoints map[string]map[record.TopicPartition]record.Offset

// readCheckpoints reads all of them. Kafka leaves one empty that it never wrote.
func readCheckpoints(fsys vfs.FS, dir string) (checkpoints, error) {
	all := checkpoints{}
	for _, name := range checkpointFiles {
		at := path.Join(dir, name)
		all[name] = map[record.TopicPartition]record.Offset{}
		info, err := fsys.Stat(at)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
			continue
		}
		if err != nil {
			return nil, err
		}
		if all[name], err = segment.ReadOffsetCheckpoint(fsys, at); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// add puts partitions in: all of them is on disk and below the high watermark,
// and nothing was compacted yet.
func (c checkpoints) add(fsys vfs.FS, dir string, moved []Moved) error {
	for _, name := range checkpointFiles {
		for _, p := range moved {
			switch name {
			case logStartFile:
				c[name][p.TopicPartition] = p.Start
			case cleanerOffsetFile:
				delete(c[name], p.TopicPartition)
			default:
				c[name][p.TopicPartition] = p.End
			}
		}
		if err := segment.WriteOffsetCheckpoint(fsys, path.Join(dir, name), c[name]); err != nil {
			return err
		}
	}
	return nil
}

// createdMS of a topic that Kafka made: when its first partition's directory got its id.
func createdMS(fsys vfs.FS, kafkaDir, topic string) int64 {
	info, err := fsys.Stat(path.Join(kafkaDir, topic+"-0", "partition.metadata"))
	if err != nil {
		return 0
	}
	return info.ModTime().UnixMilli()
}
