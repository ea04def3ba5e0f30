package broker

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
	"github.com/millstream-io/millstream/log/vfs"
)

// lockStopped takes the LOCK of a data directory that was closed cleanly.
func lockStopped(fsys vfs.FS, dir string) (io.Closer, error) {
	if _, found, err := readFormat(fsys, dir); err != nil {
		return nil, err
	} else if !found {
		return nil, fmt.Errorf("%s is no data directory: there is no %s in it", dir, propertiesFile)
	}
	lock, err := fsys.Lock(path.Join(dir, lockFile), ownerName())
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", dir, err)
	}
	if _, err := fsys.Stat(path.Join(dir, cleanShutdownFile)); err != nil {
		return nil, errors.Join(fmt.Errorf("%s %w", dir, ErrNotStopped), lock.Close())
	}
	return lock, nil
}

// kafkaStopped makes sure that a log directory is Kafka's and nobody uses it.
func kafkaStopped(fsys vfs.FS, dir string) error {
	p, err := readProperties(fsys, path.Join(dir, kafkaMetaFile))
	if err != nil {
		return err
	}
	if p == nil || p["version"] != "1" {
		return fmt.Errorf("%s is no log directory of Apache Kafka 3 or newer: there is no %s of version 1 in it", dir, kafkaMetaFile)
	}
	if _, err := fsys.Stat(path.Join(dir, propertiesFile)); err == nil {
		return fmt.Errorf("%s is a data directory of Millstream: name Kafka's log directory (log.dirs)", dir)
	}
	used, err := lockedByKafka(path.Join(dir, ".lock"))
	if err != nil {
		return err
	}
	if _, err := fsys.Stat(path.Join(dir, cleanShutdownFile)); err != nil || used {
		return fmt.Errorf("%s %w", dir, ErrNotStopped)
	}
	return nil
}

func removeMark(fsys vfs.FS, dir string) error {
	_, err := takeCleanMark(fsys, dir)
	return err
}

// emptyInKafka makes sure that nothing of Kafka's is overwritten, and that the
// topic is the one that is meant.
func emptyInKafka(fsys vfs.FS, dir string, m Move, partitions int32) error {
	for i := record.Partition(0); ; i++ {
		tp := record.TopicPartition{Topic: m.Topic, Partition: i}
		at := path.Join(dir, dirName(tp))
		id, err := segment.PartitionTopicID(fsys, at)
		_, statErr := fsys.Stat(at)
		there := statErr == nil
		switch {
		case !there && int32(i) >= partitions:
			return nil
		case !there:
			return fmt.Errorf("%s: no directory %s: make the topic in Kafka first, with %d partitions, and stop the broker", dir, dirName(tp), partitions)
		case int32(i) >= partitions:
			return fmt.Errorf("%s: topic %s has %d partitions here, but Kafka's has more: make Kafka's with %d", at, m.Topic, partitions, partitions)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		case err == nil && id != m.ID:
			return fmt.Errorf("%s is of the topic id %s, not %s: Kafka would delete what is exported under another", at, formatID(id), formatID(m.ID))
		}
		if err := noRecords(fsys, at); err != nil {
			return err
		}
	}
}

// noRecords refuses a partition that holds anything.
func noRecords(fsys vfs.FS, dir string) error {
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		info, err := fsys.Stat(path.Join(dir, name))
		if err != nil {
			return err
		}
		if path.Ext(name) == ".log" && info.Size() > 0 {
			return fmt.Errorf("%s holds records: export into an empty topic only", dir)
		}
	}
	return nil
}

// partitionsInKafka counts a topic's partitions; all must be of one id, which is
// the one to keep if m names none.
func partitionsInKafka(fsys vfs.FS, dir string, m *Move) (int32, error) {
	var first [16]byte
	for i := record.Partition(0); ; i++ {
		tp := record.TopicPartition{Topic: m.Topic, Partition: i}
		at := path.Join(dir, dirName(tp))
		if _, err := fsys.Stat(at); err != nil {
			if i == 0 {
				return 0, fmt.Errorf("%s: %w: there is no directory %s", dir, ErrUnknownTopic, dirName(tp))
			}
			if m.ID == ([16]byte{}) {
				m.ID = first
			}
			return int32(i), nil
		}
		id, err := segment.PartitionTopicID(fsys, at)
		if err != nil {
			return 0, err
		}
		if i == 0 {
			first = id
		}
		if id != first {
			return 0, fmt.Errorf("%s is of the topic id %s, but partition 0 of %s: one of them is a leftover", at, formatID(id), formatID(first))
		}
	}
}
