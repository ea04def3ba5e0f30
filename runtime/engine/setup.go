package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/restore"
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
			return &logclient.TopicMismatchError{Topic: info.Name, Have: info.Partitions, Expected: want}
		}
		e.topicIDs[info.Name] = info.ID
	}
	return e.checkRights(ctx, e.internalUses()) // also those that were just made
}

// internalUses are what the program does with the plan's topics.
func (e *Engine) internalUses() (uses []logclient.TopicUse) {
	for _, t := range e.plan.Topics {
		if t.Kind != plan.External {
			uses = append(uses, logclient.TopicUse{
				Topic: t.Name, Write: true, Read: t.Kind != plan.DeadLetters, Delete: t.Kind == plan.Repartition || t.Kind == plan.Changelog,
			})
		}
	}
	return uses
}

// checkRights asks, where there is access control, whether this program may do with
// topics what it will do.
func (e *Engine) checkRights(ctx context.Context, uses []logclient.TopicUse) error {
	if c, ok := e.log.(logclient.RightsChecker); ok {
		return c.CheckRights(ctx, uses)
	}
	return nil
}

// externalUses are what the program does with the user's topics.
func (e *Engine) externalUses(cut *plan.Cut) []logclient.TopicUse {
	byName := map[string]*logclient.TopicUse{}
	use := func(topic string) *logclient.TopicUse {
		if byName[topic] == nil {
			byName[topic] = &logclient.TopicUse{Topic: topic}
		}
		return byName[topic]
	}
	for _, u := range cut.External() {
		to := use(u.Topic)
		to.Read, to.Write = to.Read || u.Read, to.Write || u.Written
	}
	for _, s := range e.cfg.Sinks {
		use(s.Topic).Read = true
	}
	for _, s := range e.cfg.Sources {
		to := use(s.Topic)
		to.Write, to.Delete = true, e.cfg.PurgeSources
	}
	var uses []logclient.TopicUse
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		uses = append(uses, *byName[name])
	}
	return uses
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
	if err := e.checkRights(ctx, e.externalUses(cut)); err != nil {
		return nil, err
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

// taskStart is where a task goes on.
type taskStart struct {
	position []byte // its position record as it is written; nil if there is none
	last     *task.PositionRecord
	from     map[record.TopicPartition]record.Offset
	verdict  *restore.Verdict // on its local state, if that was judged already
}

// taskStarts finds where tasks go on: first the group's offsets, for which
// transactions that are being committed are waited out, then the positions topic,
// which has their records by then; one transaction wrote both.
func (e *Engine) taskStarts(ctx context.Context, ids []plan.TaskID) (map[plan.TaskID]*taskStart, error) {
	var inputs []record.TopicPartition
	for _, id := range ids {
		inputs = append(inputs, e.inputsOf(id)...)
	}
	committed, err := e.member.Committed(ctx, inputs)
	if err != nil {
		return nil, fmt.Errorf("fetch committed offsets: %w", err)
	}
	begins := map[record.TopicPartition]record.Offset{}
	found, err := e.log.Offsets(ctx, inputs, logclient.At{Kind: logclient.AtStart})
	if err != nil {
		return nil, fmt.Errorf("look up where inputs begin: %w", err)
	}
	for i, tp := range inputs {
		begins[tp] = found[i].Offset
	}
	ps, err := e.readPositions(ctx)
	if err != nil {
		return nil, err
	}
	starts := map[plan.TaskID]*taskStart{}
	for _, id := range ids {
		if starts[id], err = e.startOf(id, ps, committed, begins); err != nil {
			return nil, err
		}
	}
	return starts, nil
}

// startOf is where one task goes on; the group's offsets and the position record
// must agree.
func (e *Engine) startOf(id plan.TaskID, ps positions, committed map[record.TopicPartition]logclient.Position, begins map[record.TopicPartition]record.Offset) (*taskStart, error) {
	s := &taskStart{from: map[record.TopicPartition]record.Offset{}, position: ps[task.PositionKey(id)]}
	if s.position != nil {
		var err error
		if s.last, err = task.DecodePosition(s.position); err != nil {
			return nil, fmt.Errorf("topic %s, task %v: %w", plan.PositionsTopic(e.plan.App), id, err)
		}
	}
	for _, tp := range e.inputsOf(id) {
		group, known := committed[tp]
		if !known {
			group.Offset = record.NoOffset
		}
		recorded := record.NoOffset
		if s.last != nil {
			for _, in := range s.last.Inputs {
				if in.Topic == tp.Topic && in.Partition == tp.Partition {
					recorded = in.Offset
				}
			}
		}
		from, ok := e.goesOn(group, known, recorded)
		if !ok && e.log.CleanStart() {
			return nil, &PositionError{Task: id.String(), Topic: tp.Topic, Partition: int32(tp.Partition), Group: int64(group.Offset), Committed: int64(recorded)}
		}
		s.from[tp] = from
		if from == record.NoOffset {
			s.from[tp] = begins[tp]
		}
	}
	return s, nil
}

// classifyHere is classify for an error of tasks that this instance takes for its
// own. Offsets that do not fit, and records that are gone, are the end of a run. But
// on a cluster they are also what an instance sees whose tasks are another's by now,
// before it hears so: that one commits, and trims what it has read. So they are
// believed once the group confirms that nobody else can have had the tasks.
func (e *Engine) classifyHere(ctx context.Context, err error) logclient.Class {
	var differs *PositionError
	var gone *logclient.OffsetOutOfRangeError
	if e.clustered() && (errors.As(err, &differs) || errors.As(err, &gone)) {
		if doubt := e.member.Confirm(ctx); doubt != nil {
			e.logger.Info("what looks wrong may be another instance's work", "err", err, "doubt", doubt)
			return logclient.ClassRebalanced
		}
	}
	return classify(err)
}
