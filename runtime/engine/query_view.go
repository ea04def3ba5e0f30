package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/task"
	"github.com/millstream-io/millstream/streams/state"
)

// Stores is what the queries ask: an *Engine, a *Query of one, or in tests a
// *streamstest.Driver.
type Stores interface {
	// StoreView finds the committed entries of a store.
	StoreView(store string) (StoreView, error)
}

// InputOffset is how far an input partition was processed: the next offset to read.
type InputOffset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// Answer is what one task's part of an answer reflects: one commit of it.
type Answer struct {
	Task         string        `json:"task"`               // "<sub-topology>_<partition>"
	Instance     string        `json:"instance,omitempty"` // of a cluster, that answered
	StreamTimeMS int64         `json:"stream_time_ms"`     // milliseconds since the Unix epoch; the least int64: none yet
	Positions    []InputOffset `json:"positions"`
}

// StoreView is one store over all its tasks, for the queries of this package.
type StoreView struct {
	ctx   context.Context
	app   string
	sub   int
	tasks int32
	spec  state.Spec
	index int // among the stores of its sub-topology
	// exact: the default partitioner says which task has a key; else any may.
	exact bool
	// locate finds who answers for a task.
	locate func(plan.TaskID) (holder, error)
	// moved waits until a task may have moved from where it was found.
	moved func(context.Context, plan.TaskID, holder)
	note  func(Answer) // nil: nobody asks
}

// holder is who answers for a task: this process, or else another instance.
type holder struct {
	here     task.Reader
	remote   bool
	instance string
	endpoint string
}

// span is a part of a store: of each task the entries with from <= key < to; a nil
// to has no end.
type span struct {
	from, to []byte
	plain    []byte // of a window store, the only key wanted; nil: all
	limit    uint64 // of all entries together; 0: none
	// first is the task to begin with, and after the entry there to go on after,
	// if it is not nil.
	first int32
	after []byte
}

// windowsOf are a key's windows that start in [from, to), in milliseconds. A nil
// key is all keys.
func windowsOf(key []byte, fromMS, toMS int64) span {
	return span{from: state.AppendWindowStart(nil, fromMS), to: state.AppendWindowStart(nil, toMS), plain: key}
}

// ViewStore makes the view of a store of p, for a Stores of another package of
// the runtime; reader finds a task's reader.
func ViewStore(p *plan.Plan, store string, reader func(plan.TaskID) (task.Reader, bool)) (StoreView, error) {
	v, err := viewStore(p, store)
	if err != nil {
		return StoreView{}, err
	}
	readers := make([]holder, v.tasks)
	for i := range readers {
		r, ok := reader(v.task(int32(i)))
		if !ok {
			return StoreView{}, fmt.Errorf("store %q: %w", store, ErrNotRunning)
		}
		readers[i].here = r
	}
	v.locate = func(id plan.TaskID) (holder, error) { return readers[id.Partition], nil }
	return v, nil
}

func viewStore(p *plan.Plan, store string) (StoreView, error) {
	sub, index, ok := p.FindStore(store)
	if !ok {
		return StoreView{}, fmt.Errorf("%w: %q%s", ErrUnknownStore, store, storesOf(p))
	}
	return StoreView{ctx: context.Background(), app: p.App, sub: sub.ID, tasks: sub.Tasks, spec: sub.Stores[index].Spec, index: index}, nil
}

func (v *StoreView) task(partition int32) plan.TaskID {
	return plan.TaskID{Sub: v.sub, Partition: partition}
}

// windowOf is the start of the window that a moment stands for.
func (v *StoreView) windowOf(ms int64) int64 {
	if advance := v.spec.AdvanceMS; advance > 0 {
		ms -= ((ms % advance) + advance) % advance
	}
	return ms
}

func splitKey(b []byte) (startMS int64, plain []byte, err error) {
	startMS, plain, ok := state.SplitWindowKey(b)
	if !ok {
		return 0, nil, fmt.Errorf("a window's key of %d bytes, expected at least 8", len(b))
	}
	return startMS, plain, nil
}

func splitValue(b []byte) (timestampMS int64, encoded []byte, err error) {
	timestampMS, encoded, ok := state.SplitValue(b)
	if !ok {
		return 0, nil, fmt.Errorf("a value of %d bytes, expected at least 8", len(b))
	}
	return timestampMS, encoded, nil
}

// lookUp finds the value of a stored key, of which plain is the program's part:
// first where the default partitioner puts it, then, unless that is sure,
// everywhere, because a program may partition as it likes.
func (v *StoreView) lookUp(plain, stored []byte) (value []byte, ok bool, err error) {
	first := int32(record.PartitionForKey(plain, v.tasks))
	value, ok, err = v.getFrom([]int32{first}, stored)
	if err != nil || ok || v.exact || v.tasks == 1 {
		return value, ok, err
	}
	// The others, those of one instance with one question.
	var asked []holder
	groups := map[holder][]int32{}
	for i := int32(1); i < v.tasks; i++ {
		p := (first + i) % v.tasks
		at, err := v.locate(v.task(p))
		if err != nil {
			return nil, false, v.failed(err)
		}
		at.here = task.Reader{}
		if groups[at] == nil {
			asked = append(asked, at)
		}
		groups[at] = append(groups[at], p)
	}
	for _, at := range asked {
		if value, ok, err = v.getFrom(groups[at], stored); err != nil || ok {
			return value, ok, err
		}
	}
	return nil, false, nil
}

// getFrom asks some tasks, which one holder had a moment ago.
func (v *StoreView) getFrom(partitions []int32, stored []byte) (value []byte, ok bool, err error) {
	err = v.fromOwner(partitions[0], func(at holder) error {
		if at.remote {
			value, ok, err = v.getRemote(at, partitions, stored)
			return err
		}
		for _, p := range partitions {
			if at, err = v.locate(v.task(p)); err != nil {
				return err
			}
			if at.remote {
				return errElsewhere
			}
			var c task.Committed
			if value, ok, c, err = at.here.Get(v.index, stored, nil); err != nil {
				return err
			}
			v.answered(answerOf(v.task(p), at, c))
			if ok {
				return nil
			}
		}
		return nil
	})
	return value, ok, v.failed(err)
}

// scan calls fn for the entries of a span, task after task, until fn returns
// false. Key and value are borrowed.
func (v *StoreView) scan(in span, fn func(partition int32, key, value []byte) (bool, error)) error {
	left, more := in.limit, true
	for p := in.first; p < v.tasks && more; p++ {
		part := in
		if p == in.first && in.after != nil {
			part.from = append(slices.Clone(in.after), 0)
		}
		part.limit = left
		told := false
		count := func(key, value []byte) (bool, error) {
			var err error
			told = true
			more, err = fn(p, key, value)
			if in.limit > 0 {
				left--
				more = more && left > 0
			}
			return more && err == nil, err
		}
		err := v.fromOwner(p, func(at holder) error {
			if !at.remote {
				return v.scanHere(at, p, part, count)
			}
			err := v.scanRemote(at, p, part, count)
			if unreachable := (*UnreachableError)(nil); told && errors.As(err, &unreachable) {
				err = &brokenOffError{err}
			}
			return err
		})
		if err != nil {
			return v.failed(err)
		}
	}
	return nil
}

func (v *StoreView) scanHere(at holder, p int32, in span, fn func(key, value []byte) (bool, error)) error {
	var inner error
	began := func(c task.Committed) { v.answered(answerOf(v.task(p), at, c)) }
	err := at.here.Range(v.index, in.from, in.to, began, func(key, value []byte) bool {
		if in.plain != nil && !isWindowOf(key, in.plain) {
			return true
		}
		more, err := fn(key, value)
		inner = err
		return more && err == nil
	})
	return errors.Join(inner, err)
}

func isWindowOf(stored, plain []byte) bool {
	_, key, ok := state.SplitWindowKey(stored)
	return ok && string(key) == string(plain)
}

// commits asks every task for its last commit.
func (v *StoreView) commits() error {
	for p := range v.tasks {
		err := v.fromOwner(p, func(at holder) error {
			if at.remote {
				return v.commitRemote(at, p)
			}
			v.answered(answerOf(v.task(p), at, at.here.Committed()))
			return nil
		})
		if err != nil {
			return v.failed(err)
		}
	}
	return nil
}

func (v *StoreView) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store %q: %w", v.spec.Called(), err)
}

func (v *StoreView) answered(a Answer) {
	if v.note != nil {
		v.note(a)
	}
}

func answerOf(id plan.TaskID, at holder, c task.Committed) Answer {
	a := Answer{Task: id.String(), Instance: at.instance, StreamTimeMS: c.StreamTimeMS, Positions: make([]InputOffset, len(c.Positions))}
	for i, p := range c.Positions {
		a.Positions[i] = InputOffset{Topic: p.Topic, Partition: int32(p.Partition), Offset: int64(p.Offset)}
	}
	return a
}
