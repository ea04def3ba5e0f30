package engine

import (
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
)

// At least once, on a cluster: workers, sources and sinks write without
// transactions, in the stages of logclient.WriterConfig. The position record comes
// last, so it is the truth of where a task goes on; what came before it may be
// there twice. The group's offsets are written just before, for whoever watches
// lag, and because the group refuses them from a process that is no member any
// more. The embedded log runs its transactions: they cost no more there.

// metadataAtLeastOnce marks a group's offsets that no transaction wrote: the
// position record that belongs to them may be missing.
const metadataAtLeastOnce = "at_least_once"

// atLeastOnce reports whether the engine writes without transactions.
func (e *Engine) atLeastOnce() bool { return e.cfg.Guarantee == "at_least_once" && e.clustered() }

// writerConfig is that of workers, sources and sinks. generation is of the member on
// whose behalf they write; nil for sources.
func (e *Engine) writerConfig(generation func() logclient.Generation) logclient.WriterConfig {
	if !e.atLeastOnce() {
		return logclient.WriterConfig{}
	}
	return logclient.WriterConfig{AtLeastOnce: true, Stage: e.stage, Generation: generation}
}

// stage orders a commit's topics: what the state says was done comes before the
// state, and both before the position that passes over it.
func (e *Engine) stage(topic string) logclient.Stage {
	for i := range e.plan.Topics {
		if t := &e.plan.Topics[i]; t.Name == topic {
			switch t.Kind {
			case plan.Changelog:
				return logclient.StageState
			case plan.Positions:
				return logclient.StagePosition
			}
		}
	}
	return logclient.StageOutput
}

// mark tells who reads the group's offsets which guarantee they were written under.
func (e *Engine) mark(in logclient.Positions) {
	if !e.atLeastOnce() {
		return
	}
	for tp, p := range in {
		p.Metadata = metadataAtLeastOnce
		in[tp] = p
	}
}

// goesOn decides between a task's position record and the group's offset for one
// input; ok is false if they contradict each other. known says that the group has
// an offset, recorded is NoOffset without a record.
//
// One transaction writes both, so they are equal. Without transactions the group's
// is ahead after a crash between the two, and what it passes over may not have
// been done; it is behind where the log has lost what was not durable, and was
// brought back with it. A cluster forgets the offsets of a group that nobody was
// in for a week (offsets.retention.minutes); the record stays.
func (e *Engine) goesOn(group logclient.Position, known bool, recorded record.Offset) (from record.Offset, ok bool) {
	switch {
	case !known:
		return recorded, recorded == record.NoOffset || e.clustered()
	case group.Offset == recorded:
		return recorded, true
	case group.Metadata == metadataAtLeastOnce:
		return min(recorded, group.Offset), true // NoOffset is less than all others
	}
	return recorded, false
}
