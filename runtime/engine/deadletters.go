package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
)

// DeadLetter is a record of <app>.dead-letters: what could not be processed,
// why, and where it came from. Partition and Offset are its own and name it.
type DeadLetter struct {
	Partition int32 `json:"partition"`
	Offset    int64 `json:"offset"`

	Reason   string    `json:"reason"`
	Stage    string    `json:"stage"`          // the connector or operator; "decode"
	Kind     string    `json:"kind,omitempty"` // of the stage: source, sink, or empty for an operator
	At       time.Time `json:"at,omitzero"`
	Attempts int       `json:"attempts,omitempty"`

	// Topic is where the record stood, at FromPartition and FromOffset; with both
	// -1 it never stood there, but was on its way to it from a source. It is
	// empty for what an operator made at the end of a window.
	Topic         string `json:"topic,omitempty"`
	FromPartition int32  `json:"from_partition"`
	FromOffset    int64  `json:"from_offset"`
	// Truncated is how long the value was, if only its beginning is here; -1 if
	// it is whole.
	Truncated int64 `json:"truncated"`

	Key       []byte          `json:"key"`
	Value     []byte          `json:"value"`
	Headers   []record.Header `json:"headers,omitempty"` // the record's own
	Timestamp time.Time       `json:"timestamp"`         // the record's own
	Retried   time.Time       `json:"retried,omitzero"`  // when it was put back; zero if it was not
}

// DeadLetterFilter chooses dead letters. The zero value of a field chooses all.
type DeadLetterFilter struct {
	Stage          string // this stage
	Topic          string // from this topic
	Reason         string // reasons that contain this text
	Since          time.Time
	Offsets        map[int32][]int64 // these, by partition
	Limit          int               // the first so many
	IncludeRetried bool              // List: also those that were put back already
	// Force, for Retry: also those that something else would see again, or has
	// worked on in part already.
	Force bool
}

func (f *DeadLetterFilter) matches(l *DeadLetter) bool {
	if f.Stage != "" && l.Stage != f.Stage || f.Topic != "" && l.Topic != f.Topic || !strings.Contains(l.Reason, f.Reason) {
		return false
	}
	if !f.Since.IsZero() && l.At.Before(f.Since) {
		return false
	}
	if f.Offsets == nil {
		return true
	}
	for _, o := range f.Offsets[l.Partition] {
		if o == l.Offset {
			return true
		}
	}
	return false
}

// DeadLetters reads an application's dead letters and puts them back. Its
// methods may be called by one goroutine at a time.
type DeadLetters struct {
	app    string
	log    logclient.Log
	logger *slog.Logger
	owned  bool
}

// OpenDeadLetters opens those of an application, on the log that cfg.Log names; of
// cfg, only Log, Cluster, Flush and Logger count. On an embedded log the application
// does not run, and what hangs of a run that was killed is ended, as at its next
// start. On a cluster its instances may run: nothing of theirs is touched, and what
// hangs of one that was killed is waited for until it times out.
func OpenDeadLetters(app string, cfg Config) (*DeadLetters, error) {
	cfg = cfg.withDefaults()
	if app == "" {
		return nil, errors.New("dead letters: the application has no name")
	}
	if err := cfg.validateLog(); err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	log, err := openLog(cfg, "")
	if err != nil {
		return nil, err
	}
	d, err := DeadLettersOn(app, log, cfg.Logger)
	if _, shared := cfg.clusterSeeds(); err == nil && !shared {
		err = d.endTransactions(context.Background())
	}
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	d.owned = true
	return d, nil
}

// DeadLettersOn is OpenDeadLetters on a log that is open already and stays so.
func DeadLettersOn(app string, log logclient.Log, logger *slog.Logger) (*DeadLetters, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	d := &DeadLetters{app: app, log: log, logger: logger}
	for _, topic := range []string{plan.DeadLettersTopic(app), plan.PositionsTopic(app)} {
		infos, err := log.Describe(context.Background(), []string{topic})
		if err != nil {
			return nil, fmt.Errorf("describe %s: %w", topic, err)
		}
		if infos[0].Partitions == 0 {
			return nil, fmt.Errorf("%w: there is no topic %s: no application %s has run on this log", ErrNoApplication, topic, app)
		}
	}
	return d, nil
}

func (d *DeadLetters) endTransactions(ctx context.Context) error {
	ids := map[string]bool{}
	if err := recordedIDs(ctx, d.log, d.app, ids); err != nil {
		return err
	}
	return endTransactions(ctx, d.log, slices.Sorted(maps.Keys(ids)))
}

// DeadLetters are the running engine's. Retry may be called while Run runs.
func (e *Engine) DeadLetters() (*DeadLetters, error) {
	return DeadLettersOn(e.topo.Name, e.log, e.logger)
}

// Close gives the log back, if OpenDeadLetters opened it.
func (d *DeadLetters) Close() error {
	if !d.owned {
		return nil
	}
	return d.log.Close()
}

// List calls fn for each dead letter that the filter chooses, oldest first by
// partition, until it returns false. A letter's bytes are the caller's.
func (d *DeadLetters) List(ctx context.Context, f DeadLetterFilter, fn func(*DeadLetter) bool) error {
	marks, err := d.marks(ctx)
	if err != nil {
		return err
	}
	n := 0
	return d.each(ctx, marks, func(l *DeadLetter) (bool, error) {
		if !l.Retried.IsZero() && !f.IncludeRetried || !f.matches(l) {
			return true, nil
		}
		n++
		return fn(l) && (f.Limit == 0 || n < f.Limit), nil
	})
}

// each reads all dead letters that are committed now.
func (d *DeadLetters) each(ctx context.Context, marks map[string]mark, fn func(*DeadLetter) (bool, error)) error {
	topic := plan.DeadLettersTopic(d.app)
	infos, err := d.log.Describe(ctx, []string{topic})
	if err != nil {
		return err
	}
	for p := range infos[0].Partitions {
		more := true
		tp := record.TopicPartition{Topic: topic, Partition: record.Partition(p)}
		err := scan(ctx, d.log, tp, logclient.AtStable, false, func(v *record.View) error {
			if !more {
				return errEnough
			}
			l := parseLetter(p, v)
			if m, ok := marks[markKey(l.Partition, l.Offset)]; ok && m.fits(l) {
				l.Retried = time.UnixMilli(m.AtMS).UTC()
			}
			var err error
			more, err = fn(l)
			return err
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		if !more {
			return nil
		}
	}
	return nil
}

var errEnough = errors.New("enough")

// parseLetter reads a record of the dead-letters topic. A header that is not
// as it should be counts as missing.
func parseLetter(partition int32, v *record.View) *DeadLetter {
	l := &DeadLetter{
		Partition: partition, Offset: int64(v.Offset), FromPartition: -1, FromOffset: -1, Truncated: -1,
		Key: clone(v.Key), Value: clone(v.Value), Timestamp: time.UnixMilli(v.Timestamp).UTC(),
	}
	seen := map[string]bool{}
	for _, h := range v.Headers {
		if !ownHeader(h.Key) {
			l.Headers = append(l.Headers, record.Header{Key: strings.Clone(h.Key), Value: clone(h.Value)})
			continue
		}
		if seen[h.Key] {
			continue // of an earlier life: the newest are in front
		}
		seen[h.Key] = true
		n, err := strconv.ParseInt(string(h.Value), 10, 64)
		switch {
		case h.Key == connectors.HeaderReason:
			l.Reason = string(h.Value)
		case h.Key == connectors.HeaderStage:
			l.Stage = string(h.Value)
		case h.Key == connectors.HeaderKind:
			l.Kind = string(h.Value)
		case h.Key == connectors.HeaderTopic:
			l.Topic = string(h.Value)
		case err != nil:
		case h.Key == connectors.HeaderPartition:
			l.FromPartition = int32(n)
		case h.Key == connectors.HeaderOffset:
			l.FromOffset = n
		case h.Key == connectors.HeaderTimestamp:
			l.At = time.UnixMilli(n).UTC()
		case h.Key == connectors.HeaderAttempts:
			l.Attempts = int(n)
		case h.Key == connectors.HeaderTruncated:
			l.Truncated = n
		}
	}
	return l
}

func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}
