package kafka

import (
	"errors"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"
)

var (
	// ErrNoTopic: the cluster does not have the topic.
	ErrNoTopic = errors.New("no such topic")
	// ErrOtherCluster: the position is of another cluster or topic.
	ErrOtherCluster = errors.New("the position is of another cluster or topic")
	// ErrPartitions: the topics on both sides do not have the same number of partitions.
	ErrPartitions = errors.New("the number of partitions differs")
	// ErrNoKey: a Sink by key got a record without one.
	ErrNoKey = errors.New("the record has no key")
)

// GapError says that records which the source was to read next are gone, or
// never were there.
type GapError struct {
	Topic       string
	Partition   int32
	Next        int64 // the offset to read next
	First, Last int64 // what the partition has: from First up to, not with, Last
}

func (e *GapError) Error() string {
	why := fmt.Sprintf("retention has deleted %d records before they were read", e.First-e.Next)
	if e.Next > e.Last {
		why = "the topic was cut or made anew"
	}
	return fmt.Sprintf("kafka: offset %d of %s-%d does not exist, it has %d to %d: %s; set SourceConfig.OnGap to go on from the oldest or newest record, or give the source a new name to begin anew",
		e.Next, e.Topic, e.Partition, e.First, e.Last, why)
}

// temporary reports whether a broker's error passes by itself, most often with a
// new leader.
func temporary(err error) bool {
	var code kafkago.Error
	return errors.As(err, &code) && (code.Temporary() || code == kafkago.UnknownTopicOrPartition)
}

// refused reports whether a broker's error is about the record itself: it will
// never be taken.
func refused(err error) bool {
	for _, code := range []kafkago.Error{
		kafkago.MessageSizeTooLarge, kafkago.RecordListTooLarge, kafkago.InvalidTimestamp, kafkago.InvalidRecord,
		kafkago.PolicyViolation, kafkago.UnsupportedForMessageFormat, kafkago.InvalidMessage,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}
