package engine

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
)

// Keys of the positions topic beside the tasks'.
const (
	keyFingerprint = "fingerprint"
	keySource      = "source/"
	keyEphemeral   = "ephemeral-source/" // see connectors.Ephemeral
)

// positions are the latest records of the positions topic.
type positions map[string][]byte

// positionsView is the positions topic as read so far: each look at it reads on
// from there. Any goroutine may use it.
type positionsView struct {
	uncommitted bool // records of open transactions too; else only what is committed

	mu     sync.Mutex
	next   record.Offset
	latest positions
}

// catchUp reads to the topic's end as of now. Of committed records, that waits for
// the transactions that are open there.
func (v *positionsView) catchUp(ctx context.Context, e *Engine) error {
	return v.readTo(ctx, e, logclient.AtEnd)
}

func (v *positionsView) readTo(ctx context.Context, e *Engine, to logclient.AtKind) error {
	tp := record.TopicPartition{Topic: plan.PositionsTopic(e.topo.Name)}
	tps := []record.TopicPartition{tp}
	start, err := e.log.Offsets(ctx, tps, logclient.At{Kind: logclient.AtStart})
	if err != nil {
		return fmt.Errorf("look up where %s begins: %w", tp.Topic, err)
	}
	end, err := e.log.Offsets(ctx, tps, logclient.At{Kind: to})
	if err != nil {
		return fmt.Errorf("look up where %s ends: %w", tp.Topic, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.latest == nil {
		v.latest = positions{}
	}
	v.next = max(v.next, start[0].Offset)
	err = scanRange(ctx, e.log, tp, v.next, end[0].Offset, v.uncommitted, func(r *record.View) error {
		v.next = r.Offset + 1
		if r.Value == nil {
			delete(v.latest, string(r.Key))
		} else {
			v.latest[string(r.Key)] = append([]byte(nil), r.Value...)
		}
		return nil
	})
	if err == nil {
		v.next = max(v.next, end[0].Offset)
	}
	return err
}

func (v *positionsView) each(fn func(key string, value []byte)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for k, b := range v.latest {
		fn(k, b)
	}
}

func (v *positionsView) snapshot() positions {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.latest)
}

// readPositions reads what is committed in the positions topic. It waits for the
// transactions that have written there to end.
func (e *Engine) readPositions(ctx context.Context) (positions, error) {
	return e.positionsAt(ctx, logclient.AtEnd)
}

// settledPositions is readPositions without waiting: other instances may have
// transactions open, or have left some.
func (e *Engine) settledPositions(ctx context.Context) (positions, error) {
	if !e.clustered() {
		return e.readPositions(ctx)
	}
	return e.positionsAt(ctx, logclient.AtStable)
}

func (e *Engine) positionsAt(ctx context.Context, at logclient.AtKind) (positions, error) {
	if !e.started {
		return positions{}, nil
	}
	if err := e.committed.readTo(ctx, e, at); err != nil {
		return nil, err
	}
	return e.committed.snapshot(), nil
}
