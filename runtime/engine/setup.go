package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/task"
)

// ensure creates the topics that are missing and makes the plan.
func (e *Engine) ensure(ctx context.Context) error {
	cut, err := plan.NewCut(e.topo)
	if err != nil {
		return fmt.Errorf("topology %s: %w", e.topo.Name, err)
	}
	external, err := e.ensureExternal(ctx, cut)
	if err != nil {
		return err
	}
	if e.plan, err = cut.Make(external); err != nil {
		return fmt.Errorf("topology %s: %w", e.topo.Name, err)
	}
	var specs []logclient.TopicSpec
	for _, t := range e.plan.Topics {
		if t.Kind == plan.External {
			continue
		}
		s := logclient.TopicSpec{Name: t.Name, Partitions: t.Partitions, Configs: t.Configs}
		if t.Kind == plan.DeadLetters {
			s.Configs = e.cfg.topicConfigs() // they are for people, and kept as long as what people read
		}
		specs = append(specs, s)
	}
	infos, err := e.log.Ensure(ctx, specs)
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	for _, info := range infos {
		e.topicIDs[info.Name] = info.ID
	}
	return nil
}

// ensureExternal creates the user's topics that are missing: those of sources
// and sinks of the topology and of the connectors.
func (e *Engine) ensureExternal(ctx context.Context, cut *plan.Cut) (map[string]int32, error) {
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
		s := logclient.TopicSpec{Name: name, Partitions: have[i].Partitions, Configs: e.cfg.topicConfigs()}
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
	infos, err := e.log.Ensure(ctx, specs)
	if err != nil {
		return nil, fmt.Errorf("create topics: %w", err)
	}
	external := map[string]int32{}
	for _, info := range infos {
		external[info.Name] = info.Partitions
		e.topicIDs[info.Name] = info.ID
	}
	return external, nil
}

// Keys of the positions topic beside the tasks'.
const (
	keyFingerprint = "fingerprint"
	keySource      = "source/"
	keyEphemeral   = "ephemeral-source/" // see connectors.Ephemeral
)

// fingerprint is what the state depends on, and every transactional id that
// runs since the beginning may have left a transaction under.
type fingerprint struct {
	Version int               `json:"version"`
	Facts   map[string]string `json:"facts"`
	IDs     []string          `json:"transactional_ids"`
}

// positions are the latest records of the positions topic.
type positions map[string][]byte

// readPositions reads what is committed in the positions topic.
func (e *Engine) readPositions(ctx context.Context) (positions, error) {
	found := positions{}
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
	err := recordedIDs(ctx, e.log, e.topo.Name, ids)
	return slices.Sorted(maps.Keys(ids)), err
}

// checkFingerprint refuses a program that does not fit the state, and records
// the one that does.
func (e *Engine) checkFingerprint(ctx context.Context, ps positions) error {
	now := fingerprint{Version: 1, Facts: e.plan.Fingerprint(e.topo), IDs: e.txnIDs}
	for k, v := range e.cfg.Settings {
		now.Facts["setting "+k] = v
	}
	b, ok := ps[keyFingerprint]
	if ok {
		var old fingerprint
		if err := json.Unmarshal(b, &old); err != nil {
			return fmt.Errorf("topic %s: unreadable fingerprint: %w", plan.PositionsTopic(e.plan.App), err)
		}
		if changes := compareFacts(old.Facts, now.Facts); len(changes) > 0 {
			return &ChangedError{App: e.plan.App, Changes: changes, ChangePlan: planChange(e.plan.App, old.Facts, now.Facts)}
		}
		if slices.Equal(old.IDs, now.IDs) {
			return nil
		}
	}
	value, err := json.Marshal(now)
	if err != nil {
		return err
	}
	w, err := e.log.Writer(ctx, e.startID(), logclient.WriterConfig{})
	if err != nil {
		return err
	}
	defer w.Close()
	tp := record.TopicPartition{Topic: plan.PositionsTopic(e.plan.App)}
	if err := w.Append(tp, &record.View{Key: []byte(keyFingerprint), Value: value}); err != nil {
		return err
	}
	if _, err := w.Commit(ctx, nil, logclient.Generation{}); err != nil {
		return fmt.Errorf("record the fingerprint in %s: %w", tp.Topic, err)
	}
	return nil
}

func compareFacts(old, now map[string]string) (changes []string) {
	keys := map[string]bool{}
	for k := range old {
		keys[k] = true
	}
	for k := range now {
		keys[k] = true
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		o, had := old[k]
		n, has := now[k]
		switch {
		case had && has && o != n:
			changes = append(changes, fmt.Sprintf("%s was %q, is %q", k, o, n))
		case had && !has:
			changes = append(changes, fmt.Sprintf("%s (%q) is gone", k, o))
		case has && !had:
			changes = append(changes, fmt.Sprintf("%s (%q) is new", k, n))
		}
	}
	return changes
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
