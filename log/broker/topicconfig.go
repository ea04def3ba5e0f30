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

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// Topic configurations by Kafka's names; millstream.flush is ours.
const (
	cleanupPolicy    = "cleanup.policy"
	retentionMS      = "retention.ms"
	retentionBytes   = "retention.bytes"
	segmentBytes     = "segment.bytes"
	segmentMS        = "segment.ms"
	segmentIndex     = "segment.index.bytes"
	indexInterval    = "index.interval.bytes"
	minCompactionLag = "min.compaction.lag.ms"
	deleteRetention  = "delete.retention.ms"
	dirtyRatio       = "min.cleanable.dirty.ratio"
	maxMessage       = "max.message.bytes"
	compressionType  = "compression.type"
	timestampType    = "message.timestamp.type"
	flushConfig      = "millstream.flush"
)

// topicSettings is a topic's configuration, parsed.
type topicSettings struct {
	log           segment.Settings
	delete        bool // cleanup.policy has delete
	compact       bool
	dirtyRatio    float64
	maxMessage    int
	recompress    bool
	codec         record.Codec
	logAppendTime bool
	flush         Flush
}

func defaultSettings(flush Flush) topicSettings {
	return topicSettings{
		log:    segment.Settings{RetentionAge: 7 * 24 * time.Hour},
		delete: true, dirtyRatio: 0.5, maxMessage: 1<<20 + 12, flush: flush,
	}
}

// setters parse one configuration each.
var setters = map[string]func(s *topicSettings, v string) error{
	cleanupPolicy: func(s *topicSettings, v string) error {
		s.delete, s.compact = false, false
		for _, p := range strings.Split(v, ",") {
			switch strings.TrimSpace(p) {
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
	retentionMS:      durationSetter(func(s *topicSettings) *time.Duration { return &s.log.RetentionAge }, -1),
	segmentMS:        durationSetter(func(s *topicSettings) *time.Duration { return &s.log.SegmentAge }, 1),
	minCompactionLag: durationSetter(func(s *topicSettings) *time.Duration { return &s.log.MinCompactionLag }, 0),
	deleteRetention: func(s *topicSettings, v string) error {
		d, err := parseMS(v, 0)
		if s.log.DeleteRetention = d; d == 0 {
			s.log.DeleteRetention = -1 // none, where 0 is the default
		}
		return err
	},
	retentionBytes: intSetter(func(s *topicSettings) *int64 { return &s.log.RetentionBytes }, -1),
	segmentBytes:   intSetter(func(s *topicSettings) *int64 { return &s.log.SegmentBytes }, 1024),
	segmentIndex:   intSetter(func(s *topicSettings) *int64 { return &s.log.IndexBytes }, 12),
	indexInterval:  intSetter(func(s *topicSettings) *int64 { return &s.log.IndexIntervalBytes }, 1),
	dirtyRatio: func(s *topicSettings, v string) (err error) {
		if s.dirtyRatio, err = strconv.ParseFloat(v, 64); err == nil && !(s.dirtyRatio >= 0 && s.dirtyRatio <= 1) {
			err = errors.New("expected 0 to 1")
		}
		return err
	},
	maxMessage: func(s *topicSettings, v string) error {
		n, err := parseInt(v, 0)
		s.maxMessage = int(n)
		return err
	},
	compressionType: func(s *topicSettings, v string) (err error) {
		switch v {
		case "producer":
			s.recompress = false
			return nil
		case "uncompressed":
			v = "none"
		}
		s.recompress = true
		s.codec, err = record.ParseCodec(v)
		return err
	},
	timestampType: func(s *topicSettings, v string) error {
		s.logAppendTime = v == "LogAppendTime"
		if !s.logAppendTime && v != "CreateTime" {
			return errors.New("expected CreateTime or LogAppendTime")
		}
		return nil
	},
	flushConfig: func(s *topicSettings, v string) error {
		switch v {
		case "commit":
			s.flush = FlushCommit
		case "os":
			s.flush = FlushOS
		default:
			return errors.New("expected commit or os")
		}
		return nil
	},
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

// resolveConfig parses a topic's configuration over the broker's defaults and
// reports every problem.
func resolveConfig(topic string, set, defaults map[string]string, flush Flush) (topicSettings, error) {
	s := defaultSettings(flush)
	var errs []error
	for _, m := range []map[string]string{defaults, set} {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			f, ok := setters[name]
			if !ok {
				errs = append(errs, &UnknownConfigError{Topic: topic, Name: name, Nearest: nearest(name)})
				continue
			}
			if err := f(&s, m[name]); err != nil {
				errs = append(errs, fmt.Errorf("%w: topic %s: %s=%q: %w", ErrInvalidTopic, topic, name, m[name], err))
			}
		}
	}
	if !s.delete {
		s.log.RetentionAge, s.log.RetentionBytes = 0, 0
	}
	s.log.MaxBatchBytes = max(s.maxMessage, 1)
	return s, errors.Join(errs...)
}

// nearest finds the known name with the least edit distance, if it is near.
func nearest(name string) string {
	best, bestD := "", len(name)/3+1
	for _, known := range slices.Sorted(maps.Keys(setters)) {
		if d := editDistance(name, known); d <= bestD && (best == "" || d < bestD) {
			best, bestD = known, d
		}
	}
	return best
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diag := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diag
			if a[i-1] != b[j-1] {
				cost++
			}
			diag = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

// checkName enforces Kafka's rule for topic names.
func checkName(name string) error {
	ok := name != "" && name != "." && name != ".." && len(name) <= 249
	for _, c := range []byte(name) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-')
	}
	if !ok {
		return fmt.Errorf("%w: name %q: expected 1 to 249 of a-z A-Z 0-9 . _ -", ErrInvalidTopic, name)
	}
	return nil
}
