package engine

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
)

// keyTopic begins the key under which the positions topic remembers when a
// topic was first seen whose log does not say when it was created; the topic's
// id in hex follows, the value is the milliseconds, 8 bytes big-endian.
const keyTopic = "topic/"

// connectorContext is what a connector gets at Open.
func (e *Engine) connectorContext(name string, info logclient.TopicInfo, logger *slog.Logger) connectors.SourceContext {
	return connectors.SourceContext{
		App: e.topo.Name, Name: name, Partitions: info.Partitions, Logger: logger,
		Topic: connectors.Topic{Name: info.Name, ID: info.ID, CreatedMS: info.CreatedMS},
	}
}

// describeConnected describes the topics of connectors, each with a creation time.
func (e *Engine) describeConnected(ctx context.Context, ps positions) error {
	names := map[string]bool{}
	var topics []string
	add := func(topic string) {
		if !names[topic] {
			names[topic] = true
			topics = append(topics, topic)
		}
	}
	for _, s := range e.cfg.Sources {
		add(s.Topic)
	}
	for _, s := range e.cfg.Sinks {
		add(s.Topic)
	}
	if len(topics) == 0 {
		return nil
	}
	infos, err := e.log.Describe(ctx, topics)
	if err != nil {
		return fmt.Errorf("describe topics of connectors: %w", err)
	}
	var unknown []*logclient.TopicInfo
	for i := range infos {
		if infos[i].CreatedMS != 0 {
			continue
		}
		if b := ps[topicKey(infos[i].ID)]; len(b) == 8 {
			infos[i].CreatedMS = int64(binary.BigEndian.Uint64(b))
			continue
		}
		unknown = append(unknown, &infos[i])
	}
	if err := e.rememberTopics(ctx, unknown); err != nil {
		return err
	}
	for _, info := range infos {
		e.connected[info.Name] = info
	}
	return nil
}

func topicKey(id [16]byte) string { return keyTopic + hex.EncodeToString(id[:]) }

// rememberTopics records that topics without a creation time are seen now. Sinks
// order their writes by it, so all instances of an application must have the same:
// they share the transactional id that it is written under, and whoever has opened
// it looks once more whether another instance was first.
func (e *Engine) rememberTopics(ctx context.Context, infos []*logclient.TopicInfo) error {
	for {
		err := e.tryRememberTopics(ctx, infos)
		if !e.fenced(err) {
			return err
		}
		if !pause(ctx, retryFirst) { // another instance has just done the same
			return ctx.Err()
		}
	}
}

func (e *Engine) tryRememberTopics(ctx context.Context, infos []*logclient.TopicInfo) error {
	if len(infos) == 0 {
		return nil
	}
	id := e.startID()
	if e.clustered() {
		id = e.topicsID()
	}
	w, err := e.log.Writer(ctx, id, logclient.WriterConfig{})
	if err != nil {
		return err
	}
	defer w.Close()
	ps := positions{}
	if e.clustered() {
		if ps, err = e.readPositions(ctx); err != nil {
			return err
		}
	}
	now := time.Now().UnixMilli()
	tp := record.TopicPartition{Topic: plan.PositionsTopic(e.plan.App)}
	for _, info := range infos {
		info.CreatedMS = now
		if b := ps[topicKey(info.ID)]; len(b) == 8 {
			info.CreatedMS = int64(binary.BigEndian.Uint64(b))
			continue
		}
		v := record.View{Key: []byte(topicKey(info.ID)), Value: binary.BigEndian.AppendUint64(nil, uint64(now)), Timestamp: now}
		if err := w.Append(tp, &v); err != nil {
			return err
		}
	}
	if _, err := w.Commit(ctx, nil, logclient.Generation{}); err != nil {
		return fmt.Errorf("record in %s when topics were first seen: %w", tp.Topic, err)
	}
	return nil
}
