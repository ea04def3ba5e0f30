package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/vfs"
)

func newDir() *cobra.Command {
	return verbOf("dir", "Move topics between data directories and Apache Kafka's log directories", "verb of dir", newDirExport(), newDirImport())
}

func newDirExport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export TOPIC",
		Short: "Copy a topic into an Apache Kafka broker's log directory, both stopped",
		Long: `Copies a topic's partitions into a log directory of an Apache Kafka broker (4.x),
where the topic exists already, empty, with as many partitions. Both must be
stopped cleanly. Kafka deletes partitions of a topic id that is not its own:
kafka-topics.sh --describe prints the id to give.

Every batch is checked and gets leader epoch 0. Configurations and the offsets of
groups do not go with it.`,
		Example: "  millstream dir export orders --data-dir data --kafka-dir /var/lib/kafka --topic-id pT5cXvaKTFenYhaKuCyGSQ",
		Args:    exactly(1, "the name of the topic"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runMove(cmd, args[0], broker.Export)
		},
	}
	addMoveFlags(cmd)
	return cmd
}

func newDirImport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import TOPIC",
		Short: "Copy a topic out of an Apache Kafka broker's log directory, both stopped",
		Long: `Copies a topic's partitions from a log directory of an Apache Kafka broker (4.x)
into a data directory, in which there must be no topic of that name. Both must be
stopped cleanly; a data directory that does not exist is made.

Every batch is checked and gets leader epoch 0. Without --topic-id the topic keeps
Kafka's. Its configuration is given with --set.`,
		Example: "  millstream dir import orders --data-dir data --kafka-dir /var/lib/kafka -c cleanup.policy=compact",
		Args:    exactly(1, "the name of the topic"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runMove(cmd, args[0], broker.Import)
		},
	}
	addMoveFlags(cmd)
	cmd.Flags().StringArrayP("set", "c", nil, "configuration NAME=VALUE of the topic; may be repeated")
	return cmd
}

func addMoveFlags(cmd *cobra.Command) {
	addSettings(cmd, "data-dir")
	cmd.Flags().String("kafka-dir", "", "log directory of the Apache Kafka broker (log.dirs)")
	cmd.Flags().String("topic-id", "", "id of the topic where it goes")
}

// movedPartition is an element of `dir export -o json` and `dir import -o json`.
type movedPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Start     int64  `json:"start"`
	End       int64  `json:"end"`
	Batches   int64  `json:"batches"`
	Records   int64  `json:"records"` // markers of transactions among them
	Bytes     int64  `json:"bytes"`
}

func runMove(cmd *cobra.Command, topic string, move func(vfs.FS, string, string, broker.Move) ([]broker.Moved, error)) error {
	m, kafkaDir, err := moveOf(cmd, topic)
	if err != nil {
		return err
	}
	s, err := loadSettings(cmd)
	if err != nil {
		return err
	}
	dir := s.GetString("data-dir")
	importing := cmd.Name() == "import"
	if importing { // makes the directory, or brings one that a crash left in order
		b, err := broker.Open(broker.Config{Dir: dir})
		if err != nil {
			return err
		}
		if err := b.Close(); err != nil {
			return err
		}
	}
	moved, err := move(vfs.OS(), dir, kafkaDir, m)
	if err != nil {
		return err
	}
	if importing { // what the copy's indexes lack is made here, where an error can still be told
		b, err := broker.Open(broker.Config{Dir: dir})
		if err != nil {
			return err
		}
		err = offline(b, moved)
		if err := errors.Join(err, b.Close()); err != nil {
			return err
		}
	}
	printed := []movedPartition{}
	for _, p := range moved {
		printed = append(printed, movedPartition{p.Topic, int32(p.Partition), int64(p.Start), int64(p.End), p.Batches, p.Records, p.Bytes})
	}
	return render(cmd, printed, func(line row) {
		line("TOPIC", "PARTITION", "START", "END", "BATCHES", "RECORDS", "BYTES")
		for _, p := range printed {
			line(p.Topic, p.Partition, p.Start, p.End, p.Batches, p.Records, p.Bytes)
		}
	})
}

func moveOf(cmd *cobra.Command, topic string) (m broker.Move, kafkaDir string, err error) {
	kafkaDir, _ = cmd.Flags().GetString("kafka-dir")
	if kafkaDir == "" {
		return m, "", usagef("%s: say where Kafka's log directory is: --kafka-dir", cmd.CommandPath())
	}
	m.Topic = topic
	id, _ := cmd.Flags().GetString("topic-id")
	if id != "" {
		if m.ID, err = broker.ParseTopicID(id); err != nil {
			return m, "", usageError{err}
		}
	} else if cmd.Name() == "export" {
		return m, "", usagef("dir export: say which id the topic has in Kafka: --topic-id")
	}
	set, _ := cmd.Flags().GetStringArray("set")
	for _, kv := range set {
		name, value, err := assignment("--set", kv)
		if err != nil {
			return m, "", err
		}
		if m.Configs == nil {
			m.Configs = map[string]string{}
		}
		m.Configs[name] = value
	}
	return m, kafkaDir, nil
}

// offline tells which of the partitions cannot be read.
func offline(b *broker.Broker, moved []broker.Moved) error {
	var errs []error
	for _, m := range moved {
		p, err := b.Partition(m.TopicPartition)
		if err == nil {
			err = p.Err()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.Topic, err))
		}
	}
	return errors.Join(errs...)
}
