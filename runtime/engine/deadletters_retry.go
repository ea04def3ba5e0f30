package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/task"
)

// keyMark begins the key under which the positions topic remembers that a dead
// letter was put back: "dead-letter/<partition>/<offset>". It is written in the
// transaction that puts it back, so a letter goes back exactly once.
const keyMark = "dead-letter/"

func markKey(partition int32, offset int64) string {
	return fmt.Sprintf("%s%d/%d", keyMark, partition, offset)
}

func deadLettersID(app string) logclient.TxnID { return logclient.TxnID(app + "-dead-letters") }

// mark is its value, as JSON. The checksum tells a letter from another that took
// its offset, after a log that was not synced was cut.
type mark struct {
	AtMS int64  `json:"at_ms"`
	CRC  uint32 `json:"crc"`
}

func (m mark) fits(l *DeadLetter) bool { return m.CRC == checksum(l) }

func checksum(l *DeadLetter) uint32 {
	sum := crc32.ChecksumIEEE(l.Key)
	sum = crc32.Update(sum, crc32.IEEETable, l.Value)
	return crc32.Update(sum, crc32.IEEETable, []byte(l.Stage+"\x00"+l.Reason))
}

// marks are those of all letters that were put back.
func (d *DeadLetters) marks(ctx context.Context) (map[string]mark, error) {
	found := map[string]mark{}
	err := scanPositions(ctx, d.log, d.app, false, func(key, value []byte) {
		var m mark
		if !strings.HasPrefix(string(key), keyMark) {
			return
		}
		delete(found, string(key))
		if json.Unmarshal(value, &m) == nil && len(value) > 0 {
			found[string(key)] = m
		}
	})
	return found, err
}

// RetryReport is what became of a Retry.
type RetryReport struct {
	Retried int             `json:"retried"`
	Skipped []SkippedLetter `json:"skipped,omitempty"`
}

// SkippedLetter is a letter that was chosen and stays where it is.
type SkippedLetter struct {
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Why       string `json:"why"`
}

// retryChunk is how many letters go back in one transaction.
const retryChunk = 500

// Retry puts the dead letters that the filter chooses back where they came from,
// each exactly once, in transactions of some hundred with the marks of that:
//
//	from a sink        into the sink's topic and partition, for that sink alone, under the
//	                   partition and offset that the record had
//	from a source      into the source's topic, as it is
//	from an operator   into the partition that it was read from
//
// Letters that were put back before are passed over. Others that are chosen and
// cannot go back, or would be seen twice by something else (unless f.Force), are
// reported as skipped. What fails again becomes a new dead letter.
func (d *DeadLetters) Retry(ctx context.Context, f DeadLetterFilter) (report RetryReport, err error) {
	w, err := d.log.Writer(ctx, deadLettersID(d.app), logclient.WriterConfig{})
	if err != nil {
		return report, err
	}
	defer w.Close()
	marks, err := d.marks(ctx) // after the writer: nobody else writes marks from here on
	if err != nil {
		return report, err
	}
	r := &retry{d: d, w: w, force: f.Force, topics: map[string]int32{}}
	if r.readers, err = d.readers(ctx); err != nil {
		return report, err
	}
	chosen := 0
	err = d.each(ctx, marks, func(l *DeadLetter) (bool, error) {
		if !l.Retried.IsZero() || !f.matches(l) {
			return true, nil
		}
		if err := r.putBack(ctx, l); err != nil {
			return false, err
		}
		chosen++
		return f.Limit == 0 || chosen < f.Limit, nil
	})
	if err == nil {
		err = r.commit(ctx)
	}
	if err != nil {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		w.Abort(last) // Close, or the next Retry, would do it as well
		return r.report, fmt.Errorf("dead letters of %s: %d were put back, then: %w", d.app, r.report.Retried, err)
	}
	return r.report, d.forget(ctx, w, marks)
}

// readers are the sub-topologies that read each topic, by their last positions.
func (d *DeadLetters) readers(ctx context.Context) (map[string]map[string]bool, error) {
	readers := map[string]map[string]bool{}
	prefix := task.PositionKey(plan.TaskID{})
	prefix = prefix[:strings.IndexByte(prefix, '/')+1]
	var failed error
	err := scanPositions(ctx, d.log, d.app, false, func(key, value []byte) {
		id, ok := strings.CutPrefix(string(key), prefix)
		if !ok || len(value) == 0 {
			return
		}
		p, err := task.DecodePosition(value)
		if err != nil {
			failed = fmt.Errorf("position of task %s: %w", id, err)
			return
		}
		sub, _, _ := strings.Cut(id, "_")
		for _, in := range p.Inputs {
			if readers[in.Topic] == nil {
				readers[in.Topic] = map[string]bool{}
			}
			readers[in.Topic][sub] = true
		}
	})
	return readers, errors.Join(err, failed)
}

// forget removes the marks of letters that retention has deleted.
func (d *DeadLetters) forget(ctx context.Context, w logclient.Writer, marks map[string]mark) error {
	gone := map[string]bool{}
	for key := range maps.Keys(marks) {
		var p int32
		var offset int64
		if n, _ := fmt.Sscanf(key, keyMark+"%d/%d", &p, &offset); n != 2 {
			continue
		}
		tp := record.TopicPartition{Topic: plan.DeadLettersTopic(d.app), Partition: record.Partition(p)}
		start, err := d.log.Offsets(ctx, []record.TopicPartition{tp}, logclient.At{Kind: logclient.AtStart})
		if err != nil {
			return err
		}
		if record.Offset(offset) < start[0].Offset {
			gone[key] = true
		}
	}
	if len(gone) == 0 {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(gone)) {
		v := record.View{Key: []byte(key), Timestamp: time.Now().UnixMilli()}
		if err := w.Append(record.TopicPartition{Topic: plan.PositionsTopic(d.app)}, &v); err != nil {
			return err
		}
	}
	_, err := w.Commit(ctx, nil, logclient.Generation{})
	return err
}

// retry is one Retry under way.
type retry struct {
	d       *DeadLetters
	w       logclient.Writer
	force   bool
	topics  map[string]int32           // partitions; 0: there is none
	readers map[string]map[string]bool // sub-topologies by topic
	open    int                        // letters in the open transaction
	report  RetryReport
}

func (r *retry) commit(ctx context.Context) error {
	if r.open == 0 {
		return nil
	}
	if _, err := r.w.Commit(ctx, nil, logclient.Generation{}); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	r.report.Retried += r.open
	r.open = 0
	return nil
}

// putBack puts one letter back, or reports why it stays.
func (r *retry) putBack(ctx context.Context, l *DeadLetter) error {
	why, err := r.obstacle(ctx, l)
	if err != nil {
		return err
	}
	if why == "" && l.Truncated >= 0 {
		if why, err = r.fetch(ctx, l); err != nil {
			return err
		}
	}
	if why != "" {
		r.report.Skipped = append(r.report.Skipped, SkippedLetter{l.Partition, l.Offset, why})
		return nil
	}
	v := record.View{Key: l.Key, Value: l.Value, Headers: l.Headers, Timestamp: l.Timestamp.UnixMilli()}
	tp := record.TopicPartition{Topic: l.Topic, Partition: record.Partition(l.FromPartition)}
	if l.FromPartition < 0 {
		tp.Partition = record.Partition(l.Offset % int64(r.topics[l.Topic]))
		if l.Key != nil {
			tp.Partition = record.PartitionForKey(l.Key, r.topics[l.Topic])
		}
	}
	switch l.Kind {
	case "":
		v.Headers = append(slices.Clip(v.Headers), record.Header{Key: connectors.HeaderRetryFor, Value: []byte("@" + l.Topic)})
	case kindSink:
		v.Headers = append(slices.Clip(v.Headers),
			record.Header{Key: connectors.HeaderRetryFor, Value: []byte(l.Stage + "@" + l.Topic)},
			record.Header{Key: connectors.HeaderPartition, Value: strconv.AppendInt(nil, int64(l.FromPartition), 10)},
			record.Header{Key: connectors.HeaderOffset, Value: strconv.AppendInt(nil, l.FromOffset, 10)})
	}
	if err := r.w.Append(tp, &v); err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	value, err := json.Marshal(mark{AtMS: now, CRC: checksum(l)})
	if err != nil {
		return err
	}
	m := record.View{Key: []byte(markKey(l.Partition, l.Offset)), Value: value, Timestamp: now}
	if err := r.w.Append(record.TopicPartition{Topic: plan.PositionsTopic(r.d.app)}, &m); err != nil {
		return err
	}
	if r.open++; r.open < retryChunk {
		return nil
	}
	return r.commit(ctx)
}

// obstacle says why a letter cannot go back; "" if it can.
func (r *retry) obstacle(ctx context.Context, l *DeadLetter) (string, error) {
	if l.Topic == "" {
		return "it was never a record of a topic: an operator made it", nil
	}
	n, known := r.topics[l.Topic]
	if !known {
		infos, err := r.d.log.Describe(ctx, []string{l.Topic})
		if err != nil {
			return "", err
		}
		n = infos[0].Partitions
		r.topics[l.Topic] = n
	}
	switch readers := len(r.readers[l.Topic]); {
	case n == 0:
		return fmt.Sprintf("there is no topic %s any more", l.Topic), nil
	case l.FromPartition >= n:
		return fmt.Sprintf("topic %s has %d partitions, not %d", l.Topic, n, l.FromPartition+1), nil
	case r.force || l.Kind == kindSource:
		return "", nil
	case l.Kind == kindSink && readers > 0:
		return fmt.Sprintf("operators of the application read %s too and would count the record again", l.Topic), nil
	case l.Kind == "" && l.Stage != decodeStage:
		return fmt.Sprintf("other operators may have worked on the record before %s put it aside", l.Stage), nil
	case l.Kind == "" && readers > 1:
		return fmt.Sprintf("%d parts of the topology read %s, and those that could use the record would count it again", readers, l.Topic), nil
	}
	return "", nil
}

// fetch gets the whole of a letter that has only the beginning of its value.
func (r *retry) fetch(ctx context.Context, l *DeadLetter) (why string, err error) {
	lost := fmt.Sprintf("only the first %d of its %d bytes were kept", len(l.Value), l.Truncated)
	if l.FromPartition < 0 {
		return lost, nil
	}
	tp := record.TopicPartition{Topic: l.Topic, Partition: record.Partition(l.FromPartition)}
	start, err := r.d.log.Offsets(ctx, []record.TopicPartition{tp}, logclient.At{Kind: logclient.AtStart})
	if err != nil {
		return "", err
	}
	at := record.Offset(l.FromOffset)
	if at < start[0].Offset {
		return lost + ", and its topic does not have it any more", nil
	}
	found := false
	err = scanRange(ctx, r.d.log, tp, at, at+1, false, func(v *record.View) error {
		if v.Offset == at {
			found, l.Key, l.Value, l.Headers = true, clone(v.Key), clone(v.Value), nil
			for _, h := range v.Headers {
				l.Headers = append(l.Headers, record.Header{Key: strings.Clone(h.Key), Value: clone(h.Value)})
			}
		}
		return nil
	})
	if err == nil && !found {
		why = lost + ", and its topic does not have it any more"
	}
	return why, err
}
