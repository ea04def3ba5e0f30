package streamstest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing/synctest"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/engine"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// waitMost is how long Wait waits, in virtual time.
const waitMost = time.Hour

// Wait lets time pass until everything that was sent is processed and committed,
// through all repartition topics, and delivered by the sinks. Sources must be
// waiting for input, or have ended.
func (r *Running) Wait() {
	r.t.Helper()
	quiet := 0
	for until := time.Now().Add(waitMost); quiet < 2; {
		r.checkUp()
		synctest.Wait()
		behind, err := r.behind()
		switch {
		case err != nil:
			r.fatal("Wait: %v", err)
		case behind == "":
			quiet++
		case time.Now().After(until):
			r.fatal("Wait: after %v: %s", waitMost, behind)
		default:
			quiet = 0
		}
		<-time.After(r.opt.Engine.CommitInterval)
	}
}

// behind says what is not done; empty if everything is.
func (r *Running) behind() (string, error) {
	s := r.engine.State()
	if s.Phase == engine.PhaseStopped {
		return "", nil
	}
	if s.Phase != engine.PhaseRunning {
		return fmt.Sprintf("the engine is %s", s.Phase), nil
	}
	for _, src := range s.Sources {
		if src.State == "opening" {
			return fmt.Sprintf("source %s is %s: %s", src.Name, src.State, src.Error), nil
		}
	}
	var waiting []string
	for _, t := range s.Tasks {
		for _, p := range t.Positions {
			at := record.TopicPartition{Topic: p.Topic, Partition: record.Partition(p.Partition)}
			left, err := r.left(at, record.Offset(p.Offset))
			if err != nil {
				return "", err
			}
			if left {
				waiting = append(waiting, fmt.Sprintf("task %s stands at offset %d of %s-%d", t.ID, p.Offset, p.Topic, p.Partition))
			}
		}
	}
	for _, snk := range s.Sinks {
		err := r.sinkBehind(snk, &waiting)
		if err != nil {
			return "", err
		}
	}
	return strings.Join(waiting, "; "), nil
}

// sinkBehind adds the partitions that a sink has not committed to the end.
func (r *Running) sinkBehind(s engine.SinkSnapshot, waiting *[]string) error {
	var tps []record.TopicPartition
	for p := range r.Partitions(s.Topic) {
		tps = append(tps, record.TopicPartition{Topic: s.Topic, Partition: record.Partition(p)})
	}
	committed, err := r.broker().FetchOffsets(context.Background(), r.topo.Name+"-sink-"+s.Name, tps, false)
	if err != nil {
		return err
	}
	for _, tp := range tps {
		at := record.Offset(0)
		if c, ok := committed[tp]; ok {
			at = c.Offset
		}
		left, err := r.left(tp, at)
		if err != nil {
			return err
		}
		if left {
			*waiting = append(*waiting, fmt.Sprintf("sink %s (%s %s) stands at offset %d of %s-%d", s.Name, s.State, s.Error, at, tp.Topic, tp.Partition))
		}
	}
	return nil
}

// left reports whether a partition holds records from an offset on, or may yet:
// a transaction is open. Markers and aborted records do not count.
func (r *Running) left(tp record.TopicPartition, from record.Offset) (bool, error) {
	ctx, tps := context.Background(), []record.TopicPartition{tp}
	end, err1 := r.log.Offsets(ctx, tps, logclient.At{Kind: logclient.AtEnd})
	stable, err2 := r.log.Offsets(ctx, tps, logclient.At{Kind: logclient.AtStable})
	if err := errors.Join(err1, err2); err != nil {
		return false, err
	}
	if stable[0].Offset < end[0].Offset {
		return true, nil
	}
	records := 0
	_, err := r.read(tp, from, func(*record.View) error {
		records++
		return errEnough
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return records > 0, err
}

var errEnough = errors.New("enough")
