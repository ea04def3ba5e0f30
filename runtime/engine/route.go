package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/streams/topology"
)

// Query asks the stores of one application on behalf of one caller. It is a
// Stores: Get and its sisters take it in place of the engine, and it gives them a
// context and remembers what their answers reflect.
//
// On a cluster each task runs in one of the instances. What is asked of a task
// that runs elsewhere goes over HTTP to the instance that has it, at its
// Config.Advertise, and it answers for itself: a question passes at most one
// instance. Within one process nothing goes over a network. The default
// partitioner says which task has a key; where that tells nothing sure (records
// that others have partitioned, a program's own partitioner, keys of Process'
// stores) and it has none, all the others are asked too.
//
// One goroutine at a time.
type Query struct {
	e         *Engine
	ctx       context.Context
	localOnly bool // for other instances: what runs elsewhere is errElsewhere
	answers   []Answer
}

// Query makes one. Every question ends when ctx does, and at the latest when the
// instance asked has been silent for 10 seconds.
func (e *Engine) Query(ctx context.Context) *Query { return &Query{e: e, ctx: ctx} }

// Answers are what the answer to the last question reflects: an entry for each
// task that was asked, in the order of the questions.
func (q *Query) Answers() []Answer { return slices.Clone(q.answers) }

func (q *Query) note(a Answer) {
	for i := range q.answers {
		if q.answers[i].Task == a.Task { // asked again, because it had moved
			q.answers[i] = a
			return
		}
	}
	q.answers = append(q.answers, a)
}

// StoreView implements Stores.
func (q *Query) StoreView(store string) (StoreView, error) {
	e := q.e
	v, err := viewStore(e.plan, store)
	if err != nil {
		return StoreView{}, err
	}
	q.answers = nil
	v.ctx, v.note, v.exact = q.ctx, q.note, e.partitionsByKey(store)
	v.locate = q.locate
	v.moved = e.awaitMove
	if !e.clustered() { // all or nothing
		for p := range v.tasks {
			if _, err := q.locate(v.task(p)); err != nil {
				return StoreView{}, v.failed(err)
			}
		}
	}
	return v, nil
}

// StoreView implements Stores.
func (e *Engine) StoreView(store string) (StoreView, error) {
	return e.Query(context.Background()).StoreView(store)
}

// Positions are the committed input offsets that the answers of a store's
// queries reflect, of all its tasks.
func (e *Engine) Positions(store string) ([]Position, error) {
	q := e.Query(context.Background())
	v, err := q.StoreView(store)
	if err != nil {
		return nil, err
	}
	if err := v.commits(); err != nil {
		return nil, err
	}
	var out []Position
	for _, a := range q.Answers() {
		for _, p := range a.Positions {
			out = append(out, Position{Topic: p.Topic, Partition: p.Partition, Offset: p.Offset})
		}
	}
	return out, nil
}

// errElsewhere: a task does not run where it was looked for.
var errElsewhere = errors.New("the task does not run here")

// locate finds who answers for a task.
func (q *Query) locate(id plan.TaskID) (holder, error) {
	e := q.e
	e.mu.Lock()
	r, ok := e.readers[id]
	closed := e.closed
	e.mu.Unlock()
	if closed {
		return holder{}, ErrNotRunning
	}
	if !e.clustered() {
		if !ok {
			return holder{}, ErrNotRunning
		}
		return holder{here: r}, nil
	}
	switch p := e.phase(); {
	case p == PhaseStopped && e.cfg.Bounded && ok: // it was alone: until Close what is here is the result
	case p == PhaseNew, p == PhaseStopped, p == PhaseFailed: // others may have gone on from what is here
		return holder{}, fmt.Errorf("%w: it is %s", ErrNotRunning, p)
	}
	if ok {
		return holder{here: r, instance: e.instance}, nil
	}
	owner, known := e.ownerOf(id)
	switch {
	case known && owner.Name == e.instance:
		return holder{}, &RestoringError{Task: id.String(), Instance: e.instance}
	case q.localOnly:
		return holder{}, errElsewhere
	case !known:
		return holder{}, &RestoringError{Task: id.String()}
	case owner.Endpoint == "":
		return holder{}, &UnreachableError{Instance: owner.Name, Err: ErrNoEndpoint}
	}
	return holder{remote: true, instance: owner.Name, endpoint: owner.Endpoint}, nil
}

func (e *Engine) phase() Phase {
	e.status.mu.Lock()
	defer e.status.mu.Unlock()
	return e.status.phase
}

// moveWait bounds how long a question waits for news of a task that was not where
// it should be.
const moveWait = 2 * time.Second

// brokenOffError is an error after a part of the answer was told: asking again
// would tell it twice.
type brokenOffError struct{ Err error }

func (e *brokenOffError) Error() string { return "the answer broke off: " + e.Err.Error() }
func (e *brokenOffError) Unwrap() error { return e.Err }

// fromOwner asks whoever answers for a task, and once more if the task has moved
// meanwhile.
func (v *StoreView) fromOwner(partition int32, ask func(holder) error) error {
	id := v.task(partition)
	at, err := v.locate(id)
	if err != nil {
		return err
	}
	err = ask(at)
	var unreachable *UnreachableError
	var brokenOff *brokenOffError
	switch {
	case errors.As(err, &brokenOff):
		return err
	case errors.Is(err, errElsewhere):
		if v.moved != nil {
			v.moved(v.ctx, id, at)
		}
	case errors.As(err, &unreachable):
	default:
		return err
	}
	again, gone := v.locate(id)
	switch {
	case gone != nil && errors.Is(err, errElsewhere):
		return gone
	case gone != nil, again == at && !errors.Is(err, errElsewhere):
		return err
	}
	if err = ask(again); errors.Is(err, errElsewhere) {
		return &RestoringError{Task: id.String(), Instance: again.instance}
	}
	return err
}

// awaitMove waits until a task is elsewhere than at, for a while.
func (e *Engine) awaitMove(ctx context.Context, id plan.TaskID, at holder) {
	timeout := time.NewTimer(moveWait)
	defer timeout.Stop()
	for {
		changed := e.status.changed()
		e.mu.Lock()
		_, here := e.readers[id]
		e.mu.Unlock()
		if owner, ok := e.ownerOf(id); here || (ok && owner.Endpoint != at.endpoint) {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// partitionsByKey reports whether the task that has a key of a store is sure: the
// entries are keyed as the records that they are made of, which come from
// repartition topics only, by the default partitioner of these same bytes.
func (e *Engine) partitionsByKey(store string) bool {
	sub, index, _ := e.plan.FindStore(store)
	spec := sub.Stores[index].Spec
	if !spec.ByRecordKey || spec.KeyText == nil {
		return false
	}
	for _, in := range sub.Inputs {
		if !in.Repartition || in.Partitions != sub.Tasks || !e.writtenByKey(in.Topic, spec.KeyText.Name()) {
			return false
		}
	}
	return true
}

// writtenByKey reports whether all that writes a repartition topic partitions by
// the bytes of keys of a serde.
func (e *Engine) writtenByKey(topic, serdeName string) bool {
	for _, n := range e.topo.Nodes {
		full := plan.RepartitionTopic(e.plan.App, n.Topic)
		if n.Kind == topology.Sink && n.Repartition && full == topic && (n.CustomPartitioner || n.KeySerde != serdeName) {
			return false
		}
	}
	return true
}

// storesOf lists the names that a program could have meant.
func storesOf(p *plan.Plan) string {
	var names []string
	for i := range p.Subs {
		for _, s := range p.Subs[i].Stores {
			names = append(names, s.Spec.Called())
		}
	}
	if len(names) == 0 {
		return ": the program has none"
	}
	slices.Sort(names)
	return ": there are " + strings.Join(names, ", ")
}

// validateAdvertise reports what is wrong with Advertise.
func (c *Config) validateAdvertise(add func(format string, args ...any)) {
	if c.Advertise == "" {
		return
	}
	host, port, err := net.SplitHostPort(c.Advertise)
	n, _ := strconv.ParseUint(port, 10, 16)
	ip := net.ParseIP(host)
	switch {
	case err != nil || host == "" || n == 0:
		add("Advertise is %q, expected HOST:PORT", c.Advertise)
	case ip != nil && ip.IsUnspecified():
		add("Advertise is %q, which is no address to connect to: give the host's own", c.Advertise)
	}
}
