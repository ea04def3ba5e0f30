package broker

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-io/millstream/log/internal/config"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// topicSettings is a topic's configuration, parsed. It is shared and never changed.
type topicSettings struct {
	log           segment.Settings
	delete        bool // cleanup.policy has delete
	compact       bool
	dirtyRatio    float64
	maxLag        time.Duration // max.compaction.lag.ms
	maxMessage    int
	recompress    bool
	compression   record.Compression
	levels        map[record.Codec]int
	logAppendTime bool
	timeBehind    int64 // message.timestamp.before.max.ms
	timeAhead     int64 // message.timestamp.after.max.ms
	flush         Flush
	flushMessages int64
	flushEvery    time.Duration // 0: never
	internalBytes int64         // internal.segment.bytes; 0: unset
}

func defaultSettings(flush Flush) topicSettings {
	return topicSettings{
		log:    segment.Settings{RetentionAge: 7 * 24 * time.Hour},
		delete: true, dirtyRatio: 0.5, maxMessage: 1<<20 + 12, flush: flush,
		maxLag: math.MaxInt64, timeBehind: math.MaxInt64, timeAhead: time.Hour.Milliseconds(), flushMessages: math.MaxInt64,
	}
}

// setters parse one configuration each: those that have an effect. Their bounds
// are wider than Kafka's in places (segment.bytes), for small logs in tests;
// what comes by the protocol is held to Kafka's.
var setters = map[string]func(s *topicSettings, v string) error{
	config.CleanupPolicy: func(s *topicSettings, v string) error {
		s.delete, s.compact = false, false
		for _, p := range config.SplitList(v) {
			switch p {
			case "delete":
				s.delete = true
			case "compact":
				s.compact = true
			default:
				return fmt.Errorf("expected delete, compact or both with a comma")
			}
		}
		return nil
	},
	config.RetentionMS:        durationSetter(func(s *topicSettings) *time.Duration { return &s.log.RetentionAge }, -1),
	config.SegmentMS:          durationSetter(func(s *topicSettings) *time.Duration { return &s.log.SegmentAge }, 1),
	config.SegmentJitterMS:    durationSetter(func(s *topicSettings) *time.Duration { return &s.log.SegmentJitter }, 0),
	config.MinCompactionLagMS: durationSetter(func(s *topicSettings) *time.Duration { return &s.log.MinCompactionLag }, 0),
	config.MaxCompactionLagMS: durationSetter(func(s *topicSettings) *time.Duration { return &s.maxLag }, 1),
	config.FileDeleteDelayMS:  durationSetter(func(s *topicSettings) *time.Duration { return &s.log.DeleteDelay }, 0),
	config.DeleteRetentionMS: func(s *topicSettings, v string) error {
		d, err := parseMS(v, 0)
		if s.log.DeleteRetention = d; d == 0 {
			s.log.DeleteRetention = -1 // none, where 0 is the default
		}
		return err
	},
	config.FlushMS: func(s *topicSettings, v string) error {
		d, err := parseMS(v, 0)
		if s.flushEvery = max(d, 1); d > 100*365*24*time.Hour {
			s.flushEvery = 0
		}
		return err
	},
	config.FlushMessages:          intSetter(func(s *topicSettings) *int64 { return &s.flushMessages }, 1),
	config.RetentionBytes:         intSetter(func(s *topicSettings) *int64 { return &s.log.RetentionBytes }, -1),
	config.SegmentBytes:           intSetter(func(s *topicSettings) *int64 { return &s.log.SegmentBytes }, 1024),
	config.InternalSegmentBytes:   intSetter(func(s *topicSettings) *int64 { return &s.internalBytes }, 14),
	config.SegmentIndexBytes:      intSetter(func(s *topicSettings) *int64 { return &s.log.IndexBytes }, 4),
	config.IndexIntervalBytes:     intSetter(func(s *topicSettings) *int64 { return &s.log.IndexIntervalBytes }, 0),
	config.MessageTimestampBefore: intSetter(func(s *topicSettings) *int64 { return &s.timeBehind }, 0),
	config.MessageTimestampAfter:  intSetter(func(s *topicSettings) *int64 { return &s.timeAhead }, 0),
	config.MinCleanableDirtyRatio: func(s *topicSettings, v string) (err error) {
		if s.dirtyRatio, err = strconv.ParseFloat(v, 64); err == nil && !(s.dirtyRatio >= 0 && s.dirtyRatio <= 1) {
			err = errors.New("expected 0 to 1")
		}
		return err
	},
	config.MaxMessageBytes: func(s *topicSettings, v string) error {
		n, err := parseInt(v, 0)
		s.maxMessage = int(n)
		return err
	},
	config.CompressionType: func(s *topicSettings, v string) (err error) {
		switch v {
		case "producer":
			s.recompress = false
			return nil
		case "uncompressed":
			v = "none"
		}
		s.recompress = true
		s.compression.Codec, err = record.ParseCodec(v)
		return err
	},
	config.CompressionGzipLevel: levelSetter(record.Gzip, -1),
	config.CompressionLZ4Level:  levelSetter(record.LZ4, 9),
	config.CompressionZstdLevel: levelSetter(record.Zstd, 3),
	config.MessageTimestampType: func(s *topicSettings, v string) error {
		s.logAppendTime = v == "LogAppendTime"
		if !s.logAppendTime && v != "CreateTime" {
			return errors.New("expected CreateTime or LogAppendTime")
		}
		return nil
	},
	config.MillstreamFlush: func(s *topicSettings, v string) (err error) {
		s.flush, err = parseFlush(v)
		return err
	},
}

func parseFlush(v string) (Flush, error) {
	switch v {
	case "commit":
		return FlushCommit, nil
	case "os":
		return FlushOS, nil
	}
	return FlushCommit, errors.New("expected commit or os")
}

func parseInt(v string, least int64) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
	if err == nil && n < least {
		err = fmt.Errorf("expected a number of at least %d", least)
	}
	return n, err
}

func parseMS(v string, least int64) (time.Duration, error) {
	n, err := parseInt(v, least)
	return time.Duration(min(n, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond, err
}

func intSetter(field func(*topicSettings) *int64, least int64) func(*topicSettings, string) error {
	return func(s *topicSettings, v string) error {
		n, err := parseInt(v, least)
		*field(s) = n
		return err
	}
}

func durationSetter(field func(*topicSettings) *time.Duration, least int64) func(*topicSettings, string) error {
	return func(s *topicSettings, v string) error {
		d, err := parseMS(v, least)
		*field(s) = d
		return err
	}
}

// levelSetter notes a codec's level; Kafka's default level is the codec's own.
func levelSetter(c record.Codec, byDefault int) func(*topicSettings, string) error {
	return func(s *topicSettings, v string) error {
		n, err := strconv.Atoi(strings.TrimSpace(v))
		s.levels = maps.Clone(s.levels)
		delete(s.levels, c)
		if err == nil && n != byDefault {
			if s.levels == nil {
				s.levels = map[record.Codec]int{}
			}
			s.levels[c] = n
		}
		return err
	}
}

// apply parses configurations over s and reports every problem. Names without
// an effect are checked only.
func (s *topicSettings) apply(topic string, set map[string]string) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(set)) {
		d := config.Topic.Get(name)
		if d == nil {
			errs = append(errs, &UnknownConfigError{Topic: topic, Name: name, Nearest: config.Topic.Nearest(name)})
			continue
		}
		var err error
		if f := setters[name]; f != nil {
			err = f(s, set[name])
		} else {
			err = d.Check(set[name])
		}
		if err != nil {
			errs = append(errs, &ConfigValueError{Topic: topic, Name: name, Value: set[name], Err: err})
		}
	}
	return errors.Join(errs...)
}

// finish settles what depends on several configurations.
func (s *topicSettings) finish(topic string) error {
	if !s.delete {
		s.log.RetentionAge, s.log.RetentionBytes = 0, 0
	}
	if s.internalBytes > 0 {
		s.log.SegmentBytes = s.internalBytes
	}
	s.log.MaxBatchBytes = max(s.maxMessage, 1)
	s.compression.Level, s.compression.Leveled = 0, false
	if n, ok := s.levels[s.compression.Codec]; ok {
		s.compression.Level, s.compression.Leveled = n, true
	}
	if s.log.MinCompactionLag > s.maxLag {
		return fmt.Errorf("%w: topic %s: %s is %s, more than %s, which is %s", ErrInvalidConfig, topic,
			config.MinCompactionLagMS, s.log.MinCompactionLag, config.MaxCompactionLagMS, s.maxLag)
	}
	if s.compact && s.maxLag < math.MaxInt64 && s.log.SegmentAge == 0 {
		s.log.SegmentAge = 7 * 24 * time.Hour
	}
	if s.compact && s.log.SegmentAge > s.maxLag {
		s.log.SegmentAge = s.maxLag // or the newest records would never be old enough to be cleaned
	}
	return nil
}

// resolveConfig parses a topic's configuration over the broker's defaults and
// reports every problem.
func resolveConfig(topic string, set map[string]string, defaults topicSettings) (topicSettings, error) {
	s := defaults
	err := s.apply(topic, set)
	return s, errors.Join(err, s.finish(topic))
}

// checkTopicConfigs holds configurations to Kafka's bounds.
func checkTopicConfigs(set map[string]string) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(set)) {
		d := config.Topic.Get(name)
		if d == nil {
			errs = append(errs, &UnknownConfigError{Name: name, Nearest: config.Topic.Nearest(name)})
		} else if err := d.Check(set[name]); err != nil {
			errs = append(errs, fmt.Errorf("%w: %w", ErrInvalidConfig, err))
		}
	}
	return errors.Join(errs...)
}

// MaxTopicName is the length of the longest name that a topic can have.
const MaxTopicName = 249

// checkName enforces Kafka's rule for topic names.
func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: the name is empty", ErrInvalidTopic)
	case name == "." || name == "..":
		return fmt.Errorf("%w: the name cannot be %q", ErrInvalidTopic, name)
	case len(name) > MaxTopicName:
		return fmt.Errorf("%w: name %.40q...: %d characters, expected at most %d", ErrInvalidTopic, name, len(name), MaxTopicName)
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return fmt.Errorf("%w: name %q: expected 1 to 249 of a-z A-Z 0-9 . _ -", ErrInvalidTopic, name)
		}
	}
	return nil
}

// collides says that two names give the same names of metrics, where . is
// written as _; Kafka refuses the second.
func collides(a, b string) bool {
	return a != b && len(a) == len(b) && strings.ReplaceAll(a, ".", "_") == strings.ReplaceAll(b, ".", "_")
}
