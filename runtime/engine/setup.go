package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/task"
)

// makePlan finds out how many partitions there are, or will be, and makes the
// plan. It creates nothing: the program may be refused yet.
func (e *Engine) makePlan(ctx context.Context) error {
	cut, err := plan.NewCut(e.topo)
	if err != nil {
		return fmt.Errorf("topology %s: %w", e.topo.Name, err)
	}
	if e.specs, err = e.externalSpecs(ctx, cut); err != nil {
		return err
	}
	external := map[string]int32{}
	for _, s := range e.specs {
		external[s.Name] = s.Partitions
	}
	if e.plan, err = cut.Make(external); err != nil {
		return fmt.Errorf("topology %s: %w", e.topo.Name, err)
	}
	for _, t := range e.plan.Topics {
		if t.Kind == plan.External {
			continue
		}
		s := logclient.TopicSpec{Name: t.Name, Partitions: t.Partitions, Configs: t.Configs}
		if t.Kind == plan.DeadLetters {
			// They are for people, and kept as long as what people read; nobody else
			// sets how long, so they follow a Retention that was changed.
			s.Configs, s.Follow = e.cfg.topicConfigs(), true
		}
		e.specs = append(e.specs, s)
	}
	return nil
}

// ensure creates the plan's topics that are missing.
func (e *Engine) ensure(ctx context.Context) error {
	infos, err := e.log.Ensure(ctx, e.specs)
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	for i, info := range infos {
		if want := e.specs[i].Partitions; info.Partitions != want {
			return fmt.Errorf("topic %s has %d partitions, the plan was made for %d: something else has just created it; start again", info.Name, info.Partitions, want)
		}
		e.topicIDs[info.Name] = info.ID
	}
	return nil
}

// externalSpecs are the user's topics: those of sources and sinks of the topology
// and of the connectors, as they are, or as they are to be made.
func (e *Engine) externalSpecs(ctx context.Context, cut *plan.Cut) ([]logclient.TopicSpec, error) {
	want := map[string]int32{}
	for _, u := range cut.External() {
		want[u.Topic] = 0
	}
	for _, s := range e.cfg.Sinks {
		want[s.Topic] = 0
	}
	for _, s := range e.cfg.Sources {
		want[s.Topic] = s.Partitions
	}
	names := slices.Sorted(maps.Keys(want))
	have, err := e.log.Describe(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	exists := map[string]bool{}
	for i, name := range names {
		if have[i].Partitions > 0 {
			want[name], exists[name] = have[i].Partitions, true
		}
	}
	if err := e.checkConnected(cut.External(), exists); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	e.partitionsAsked = e.otherPartitions(names, have, cut.Copartitioned())
	for _, group := range cut.Copartitioned() { // of one join: a missing topic is made like its partner
		widest := int32(0)
		for _, name := range group {
			widest = max(widest, want[name])
		}
		for _, name := range group {
			if want[name] == 0 {
				want[name] = widest
			}
		}
	}
	var specs []logclient.TopicSpec
	for i, name := range names {
		s := logclient.TopicSpec{Name: name, Partitions: have[i].Partitions, Configs: e.cfg.topicConfigs(), Follow: name == plan.DeadLettersTopic(e.topo.Name)}
		switch {
		case s.Partitions == 0 && want[name] > 0:
			s.Partitions = want[name]
		case s.Partitions == 0 && name == plan.DeadLettersTopic(e.topo.Name):
			s.Partitions = 1
		case s.Partitions == 0:
			s.Partitions = e.cfg.Partitions
		}
		specs = append(specs, s)
	}
	return specs, nil
}

// Keys of the positions topic beside the tasks'.
const (
	keyFingerprint = "fingerprint"
	keySource      = "source/"
	keyEphemeral   = "ephemeral-source/" // see connectors.Ephemeral
)

// positions are the latest records of the positions topic.
type positions map[string][]byte

// readPositions reads what is committed in the positions topic.
func (e *Engine) readPositions(ctx context.Context) (positions, error) {
	found := positions{}
	if !e.started {
		return found, nil
	}
	err := e.scanPositions(ctx, false, func(key, value []byte) { found[string(key)] = append([]byte(nil), value...) })
	return found, err
}

// scanPositions reads the positions topic to its end.
func (e *Engine) scanPositions(ctx context.Context, uncommitted bool, fn func(key, value []byte)) error {
	return scanPositions(ctx, e.log, e.plan.App, uncommitted, fn)
}

// endOldTransactions opens every transactional id that an earlier run may have
// used, which ends its transactions now: nothing may hang when positions and
// changelogs are read (I3).
func (e *Engine) endOldTransactions(ctx context.Context) error {
	known, err := e.knownIDs(ctx)
	if err != nil {
		return err
	}
	e.txnIDs = known
	return endTransactions(ctx, e.log, known)
}

// knownIDs are the transactional ids of this run and of all before it. It reads
// uncommitted records too: those that hang are what it is for.
func (e *Engine) knownIDs(ctx context.Context) ([]string, error) {
	ids := map[string]bool{string(e.startID()): true}
	for n := range e.cfg.Workers {
		ids[string(e.workerID(n))] = true
	}
	for _, s := range e.cfg.Sources {
		ids[string(e.sourceID(s.Name))] = true
	}
	for _, s := range e.cfg.Sinks {
		ids[string(e.sinkID(s.Name))] = true
	}
	for _, id := range plantedIDs(e) {
		ids[id] = true
	}
	ids[string(deadLettersID(e.topo.Name))] = true
	infos, err := e.log.Describe(ctx, []string{plan.PositionsTopic(e.topo.Name)})
	if err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	if e.started = infos[0].Partitions > 0; e.started {
		err = recordedIDs(ctx, e.log, e.topo.Name, ids)
	}
	return slices.Sorted(maps.Keys(ids)), err
}

// taskStart is where a task goes on.
type taskStart struct {
	last *task.PositionRecord
	from map[record.TopicPartition]record.Offset
}

// startOf finds where a task goes on, and checks that the group's offsets and
// the position record agree: one transaction wrote both.
func (e *Engine) startOf(ctx context.Context, id plan.TaskID, inputs []record.TopicPartition, ps positions) (*taskStart, error) {
	committed, err := e.member.Committed(ctx, inputs)
	if err != nil {
		return nil, fmt.Errorf("fetch committed offsets: %w", err)
	}
	starts, err := e.log.Offsets(ctx, inputs, logclient.At{Kind: logclient.AtStart})
	if err != nil {
		return nil, err
	}
	s := &taskStart{from: map[record.TopicPartition]record.Offset{}}
	if b, ok := ps[task.PositionKey(id)]; ok {
		if s.last, err = task.DecodePosition(b); err != nil {
			return nil, fmt.Errorf("topic %s, task %v: %w", plan.PositionsTopic(e.plan.App), id, err)
		}
	}
	for i, tp := range inputs {
		group, recorded := record.NoOffset, record.NoOffset
		if p, ok := committed[tp]; ok {
			group = p.Offset
		}
		if s.last != nil {
			for _, in := range s.last.Inputs {
				if in.Topic == tp.Topic && in.Partition == tp.Partition {
					recorded = in.Offset
				}
			}
		}
		if group != recorded && e.log.CleanStart() {
			return nil, &PositionError{Task: id.String(), Topic: tp.Topic, Partition: int32(tp.Partition), Group: int64(group), Committed: int64(recorded)}
		}
		s.from[tp] = recorded
		if recorded == record.NoOffset {
			s.from[tp] = starts[i].Offset
		}
	}
	return s, nil
}
