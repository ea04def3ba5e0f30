package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/assign"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/runtime/internal/restore"
	"github.com/millstream-io/millstream/runtime/internal/task"
	"github.com/millstream-io/millstream/streams/state"
)

const (
	// standbyRound lies between looks at how far followers are behind.
	standbyRound = time.Second
	// standbyAgain lies between two calls for a rebalance because of one follower.
	standbyAgain = time.Minute
	// standbyWait is for what somebody else is about to let go.
	standbyWait = 50 * time.Millisecond
)

// keeper follows changelogs with one reader for all of them. Everything in it
// belongs to the goroutine of standbys.run.
type keeper struct {
	s         *standbys
	e         *Engine
	followers map[plan.TaskID]*follower
	owners    map[record.TopicPartition]*follower
	again     []plan.TaskID // held, to begin anew
	reader    logclient.Reader
	moved     bool // the reader's assignment is not what the followers need
	later     bool // something wanted is not to be had yet
	backoff   time.Duration
	round     time.Time // when the next is due
	look      time.Time // likewise, at what became of the topics
}

// follower is one task's copy.
type follower struct {
	id  plan.TaskID
	t   *task.Task // never started
	f   *restore.Follower
	tps []record.TopicPartition

	checkpointed []record.Offset // by store
	due          time.Time       // of the next checkpoint
	view         standbyView
	paused       bool      // it has to be written before more is read
	broken       bool      // it takes no more before the reader is assigned anew
	announced    time.Time // when it last called for a rebalance
	told         []replay  // by store, at the last call of the hook
}

func newKeeper(s *standbys) *keeper {
	return &keeper{s: s, e: s.e, followers: map[plan.TaskID]*follower{}, owners: map[record.TopicPartition]*follower{}}
}

func (k *keeper) close() {
	if k.reader != nil {
		k.reader.Close()
	}
}

// step does what is due and reads on, until an order ends ctx.
func (k *keeper) step(ctx context.Context) {
	for _, id := range k.s.unwanted(slices.Collect(maps.Keys(k.followers))) {
		k.letGo(id)
	}
	for _, id := range k.s.unwanted(slices.Clone(k.again)) {
		k.again = slices.DeleteFunc(k.again, func(other plan.TaskID) bool { return other == id })
		k.s.letGo(id)
	}
	for ctx.Err() == nil {
		err := k.once(ctx)
		if err == nil {
			k.backoff = 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		k.failed(ctx, err)
	}
}

// once begins what is to be begun, reads a little, and does what is due.
func (k *keeper) once(ctx context.Context) error {
	if err := k.begin(ctx); err != nil {
		return err
	}
	if err := k.assignReader(); err != nil {
		return err
	}
	poll, cancel := context.WithDeadline(ctx, k.next(time.Now()))
	defer cancel()
	if k.reader == nil {
		<-poll.Done()
		return nil
	}
	batches, err := k.reader.Poll(poll, 1<<20)
	takeErr := k.take(ctx, batches)
	if err != nil && !(errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		return fmt.Errorf("read changelogs: %w", err)
	}
	if takeErr != nil {
		return takeErr
	}
	return k.rounds(ctx, time.Now())
}

// next is when something is due that no batch brings.
func (k *keeper) next(now time.Time) time.Time {
	due := now.Add(idleTimeout)
	if k.later {
		due = now.Add(standbyWait)
	}
	if len(k.followers) > 0 && k.round.Before(due) {
		due = k.round
	}
	return due
}

// failed is what an error of the log, or of a follower, leads to.
func (k *keeper) failed(ctx context.Context, err error) {
	var out *logclient.OffsetOutOfRangeError
	class := logclient.Classify(err)
	switch {
	case errors.As(err, &out) && k.owners[out.TopicPartition] != nil:
		k.restart(k.owners[out.TopicPartition], err)
	case class != logclient.ClassRetryable:
		for _, f := range k.followers { // it is not known whose it is
			k.restart(f, err)
		}
		if k.reader != nil {
			k.reader.Close()
			k.reader = nil
		}
	}
	k.moved = true
	k.backoff = min(max(2*k.backoff, retryFirst), retryMost)
	k.e.logger.Warn("standbys: cannot follow, trying again", "tasks", len(k.followers)+len(k.again), "class", class.String(), "wait", k.backoff, "err", err)
	pause(ctx, k.backoff)
}

// restart makes a follower begin anew from its last checkpoint.
func (k *keeper) restart(f *follower, err error) {
	k.drop(f)
	k.again = append(k.again, f.id)
	k.s.show(f.id, standbyView{err: err.Error()})
}

func (k *keeper) drop(f *follower) {
	f.t.Drop()
	delete(k.followers, f.id)
	for _, tp := range f.tps {
		delete(k.owners, tp)
	}
	k.moved = true
}

// letGo writes a follower's last checkpoint and forgets it.
func (k *keeper) letGo(id plan.TaskID) {
	f := k.followers[id]
	k.checkpoint(f, time.Now())
	k.drop(f)
	if h := k.e.cfg.Hooks.Standby; h != nil {
		for _, s := range k.e.plan.Subs[id.Sub].Stores {
			h(id.String(), s.Spec.Called(), -1, 0, 0)
		}
	}
	k.s.letGo(id)
}

func (k *keeper) letGoAll() {
	for id := range maps.Clone(k.followers) {
		k.letGo(id)
	}
	for _, id := range k.again {
		k.s.letGo(id)
	}
	k.again = nil
}

// begin begins to follow what is wanted and not followed yet: the local state of
// all is judged at once.
func (k *keeper) begin(ctx context.Context) error {
	var fresh []plan.TaskID
	fresh, k.later = k.s.hold()
	k.again = append(k.again, fresh...)
	if len(k.again) == 0 {
		return nil
	}
	ids, err := k.topicIDs(ctx, k.again)
	if err != nil {
		return err
	}
	var cfgs []restore.Config
	for _, id := range k.again {
		cfgs = append(cfgs, k.e.restoreConfig(id, k.e.changelogsOf(id), nil, ids, time.Now()))
	}
	verdicts, err := restore.Judge(ctx, cfgs)
	if err != nil {
		return err
	}
	for i := range cfgs {
		id := k.again[0]
		if err := k.follow(id, cfgs[i], &verdicts[i]); err != nil {
			return fmt.Errorf("standby of task %v: %w", id, err)
		}
		k.again = k.again[1:]
	}
	k.moved = true
	return nil
}

// topicIDs looks up the ids that changelogs of tasks have now.
func (k *keeper) topicIDs(ctx context.Context, ids []plan.TaskID) (map[string][16]byte, error) {
	names := map[string]bool{}
	for _, id := range ids {
		for _, tp := range k.e.changelogsOf(id) {
			if tp.Topic != "" {
				names[tp.Topic] = true
			}
		}
	}
	infos, err := k.e.log.Describe(ctx, slices.Sorted(maps.Keys(names)))
	if err != nil {
		return nil, fmt.Errorf("describe changelogs: %w", err)
	}
	out := map[string][16]byte{}
	for _, info := range infos {
		if info.Partitions == 0 {
			return nil, fmt.Errorf("%w: topic %s, a changelog of the application", logclient.ErrUnknownTopic, info.Name)
		}
		out[info.Name] = info.ID
	}
	return out, nil
}

func (k *keeper) follow(id plan.TaskID, cfg restore.Config, v *restore.Verdict) error {
	e := k.e
	t := e.newTask(id)
	cfg.Apply = t.RestoreEntry
	rf, err := restore.Follow(cfg, v)
	if err != nil {
		return err
	}
	res := rf.Result()
	f := &follower{
		id: id, t: t, f: rf, tps: slices.Collect(maps.Keys(rf.Stores())), due: time.Now().Add(e.cfg.CheckpointInterval),
		checkpointed: slices.Clone(res.Checkpointed), told: make([]replay, len(res.At)),
	}
	for i, at := range res.At {
		if at.Partition.Topic != "" {
			t.RestoreEnd(i, at.End, res.Checkpointed[i], at.Firsts)
		}
	}
	t.Follow()
	f.view.lag = v.Behind(cfg.Changelogs)
	if res.Rebuilt != "" {
		e.logger.Warn("local state given up, a standby is built from the changelogs", "task", id.String(), "why", res.Rebuilt)
		e.status.rebuilt()
	}
	e.logger.Info("standby: following", "task", id.String(), "records_behind", f.view.lag)
	k.followers[id] = f
	for _, tp := range f.tps {
		k.owners[tp] = f
	}
	k.s.show(id, f.view)
	k.round, k.look = time.Now(), time.Now()
	return nil
}

// assignReader makes the reader read on where the followers are.
func (k *keeper) assignReader() (err error) {
	if !k.moved {
		return nil
	}
	if len(k.followers) == 0 {
		if k.reader != nil {
			k.reader.Close()
			k.reader = nil
		}
		k.moved = false
		return nil
	}
	if k.reader == nil {
		if k.reader, err = k.e.log.Reader(logclient.ReaderConfig{}); err != nil {
			k.reader = nil
			return err
		}
	}
	at := map[record.TopicPartition]record.Offset{}
	for tp, f := range k.owners {
		at[tp] = f.f.At(tp)
		f.broken = false
	}
	k.reader.Assign(at)
	for _, f := range k.followers {
		if f.paused {
			k.reader.Pause(f.tps...)
		}
	}
	k.moved = false
	return nil
}

// take hands batches to their followers.
func (k *keeper) take(ctx context.Context, batches []logclient.Batch) (failed error) {
	limit := k.e.overlayMax()
	for _, b := range batches {
		f := k.owners[b.TopicPartition()]
		if f == nil || f.broken {
			b.Release()
			continue
		}
		err := f.f.Take(ctx, b)
		b.Release()
		switch {
		case errors.Is(err, restore.ErrCut):
			k.restart(f, err)
			k.e.logger.Warn("standby: beginning anew", "task", f.id.String(), "err", err)
		case err != nil:
			f.broken, k.moved = true, true
			failed = err
		case f.t.OverlayBytes() >= limit:
			k.checkpoint(f, time.Now())
		}
	}
	return failed
}

// rounds does what is due by the clock.
func (k *keeper) rounds(ctx context.Context, now time.Time) error {
	if len(k.followers) == 0 {
		return nil
	}
	for _, f := range k.followers {
		if !now.Before(f.due) {
			k.checkpoint(f, now)
		}
	}
	if !now.Before(k.round) {
		k.round = now.Add(k.s.round)
		if err := k.measure(ctx, now); err != nil {
			return err
		}
	}
	if !now.Before(k.look) {
		k.look = now.Add(k.e.cfg.CheckpointInterval)
		return k.lookAtTopics(ctx)
	}
	return nil
}

// checkpoint writes what a follower has applied. What cannot be written waits for
// the next time; if that is as much as may wait, no more is read before.
func (k *keeper) checkpoint(f *follower, now time.Time) {
	f.due = now.Add(k.e.cfg.CheckpointInterval)
	res := f.f.Result()
	for i, at := range res.At {
		if at.Partition.Topic != "" {
			f.t.RestoreEnd(i, at.End, f.checkpointed[i], nil)
		}
	}
	frozen := f.t.Freeze()
	if frozen == nil {
		return
	}
	c := restore.Checkpoint{Cluster: k.e.log.ClusterID(), AtMS: now.UnixMilli()}
	for _, l := range frozen.Changelogs {
		c.Changelogs = append(c.Changelogs, restore.Changelog{
			Partition: l.Partition, TopicID: res.At[l.Store].TopicID, End: l.End, Firsts: l.Firsts,
		})
	}
	err := k.e.db.Checkpoint(f.id.Key(), c.Append(nil), frozen.Write)
	f.t.Checkpointed(frozen, err)
	full := err != nil && f.t.OverlayBytes() >= k.e.overlayMax()
	if full != f.paused {
		f.paused, k.moved = full, true
	}
	if err != nil {
		k.e.logger.Error("standby: checkpoint failed, its entries wait for the next one", "task", f.id.String(), "err", err)
		return
	}
	for _, l := range frozen.Changelogs {
		f.checkpointed[l.Store] = l.End.Offset
	}
	f.view.checkpoint = now
	k.e.status.checkpointed()
	if h := k.e.cfg.Hooks.Checkpointed; h != nil {
		h(f.id.String(), time.Since(now), frozen.Entries, frozen.Bytes, now)
	}
}

// measure finds how far followers are behind, and calls for a rebalance when one is
// near enough to take its task over and the group does not know: it was further when
// this instance joined, or the log could not be asked then.
func (k *keeper) measure(ctx context.Context, now time.Time) error {
	tps := slices.Collect(maps.Keys(k.owners))
	ends, err := k.e.log.Offsets(ctx, tps, logclient.At{Kind: logclient.AtStable})
	if err != nil {
		return fmt.Errorf("look up ends of changelogs: %w", err)
	}
	lag := map[record.TopicPartition]int64{}
	for i, tp := range tps {
		lag[tp] = int64(max(ends[i].Offset-k.owners[tp].f.At(tp), 0))
	}
	lags := map[plan.TaskID]int64{}
	for id, f := range k.followers {
		k.report(f, lag)
		lags[id] = f.view.lag
	}
	units := k.e.unitLags(lags)
	news := false
	for id, f := range k.followers {
		unit := k.e.unitOf(id)
		behind, known := units[unit]
		if known && behind <= assign.AcceptableLag && !k.s.knownNear(unit) && now.Sub(f.announced) >= standbyAgain {
			f.announced, news = now, true
			k.e.logger.Info("standby: caught up", "task", id.String(), "records", f.view.records, "bytes", f.view.bytes)
		}
	}
	if news {
		k.e.member.Rebalance()
	}
	return nil
}

// report shows one follower.
func (k *keeper) report(f *follower, lag map[record.TopicPartition]int64) {
	res := f.f.Result()
	sum := replay{}
	f.view.lag = 0
	for i, at := range res.At {
		if at.Partition.Topic == "" {
			continue
		}
		now := replay{records: res.Replayed[i], bytes: res.Bytes[i]}
		sum = sum.plus(now)
		f.view.lag += lag[at.Partition]
		records, bytes := now.records-f.told[i].records, now.bytes-f.told[i].bytes
		f.told[i] = now
		k.e.status.stoodBy(records, bytes)
		if h := k.e.cfg.Hooks.Standby; h != nil {
			h(f.id.String(), k.e.plan.Subs[f.id.Sub].Stores[i].Spec.Called(), lag[at.Partition], records, bytes)
		}
	}
	f.view.records, f.view.bytes = sum.records, sum.bytes
	k.s.show(f.id, f.view)
}

// lookAtTopics finds changelogs that were deleted and made anew, and where those
// of window stores begin: what is before that has expired.
func (k *keeper) lookAtTopics(ctx context.Context) error {
	ids, err := k.topicIDs(ctx, slices.Collect(maps.Keys(k.followers)))
	if err != nil {
		return err
	}
	var tps []record.TopicPartition
	for _, f := range slices.Collect(maps.Values(k.followers)) {
		for i, at := range f.f.Result().At {
			if at.Partition.Topic == "" {
				continue
			}
			if ids[at.Partition.Topic] != at.TopicID {
				err := fmt.Errorf("%w: topic %s was deleted and made anew", restore.ErrCut, at.Partition.Topic)
				k.e.logger.Warn("standby: beginning anew", "task", f.id.String(), "err", err)
				k.restart(f, err)
				break
			}
			if k.e.plan.Subs[f.id.Sub].Stores[i].Spec.Kind == state.Window {
				tps = append(tps, at.Partition)
			}
		}
	}
	if len(tps) == 0 {
		return nil
	}
	starts, err := k.e.log.Offsets(ctx, tps, logclient.At{Kind: logclient.AtStart})
	if err != nil {
		return fmt.Errorf("look up where changelogs begin: %w", err)
	}
	for i, tp := range tps {
		if f := k.owners[tp]; f != nil {
			f.t.Trimmed(f.f.Stores()[tp], starts[i].Offset)
		}
	}
	return nil
}
