package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
)

// Transactional ids. On an embedded log one process runs an application, and the
// ids are <app>-<what>. On a cluster each instance has ids of its own,
// <app>-@<instance>@<what>, but for sources that keep a position: theirs,
// <app>-@@source@<name>, is one for all instances, so that whoever runs the source
// fences whoever ran it before, and so is <app>-@@topics, which all instances take in
// turn. No name of a topic, and so no application's, and no
// instance's has an "@": application x with instance y-1 and application x-y with
// instance 1 have nothing in common. An access control list's prefix "<app>-" covers all.

func (e *Engine) own(what string) logclient.TxnID { return e.ownOf(e.instance, what) }

// ownOf is own of another instance.
func (e *Engine) ownOf(instance, what string) logclient.TxnID {
	if instance != "" {
		what = "@" + instance + "@" + what
	}
	return logclient.TxnID(e.topo.Name + "-" + what)
}

func (e *Engine) startID() logclient.TxnID { return e.own("start") }

func (e *Engine) workerID(n int) logclient.TxnID { return e.own(fmt.Sprintf("worker-%d", n)) }

func (e *Engine) sinkID(name string) logclient.TxnID { return e.own("sink-" + name) }

// topicsID is what instances remember topics under, one after the other.
func (e *Engine) topicsID() logclient.TxnID { return logclient.TxnID(e.topo.Name + "-@@topics") }

func (e *Engine) sourceID(s *Source) logclient.TxnID {
	if ephemeral(s) {
		return e.own("source-" + s.Name)
	}
	if e.clustered() {
		return logclient.TxnID(e.topo.Name + "-@@source@" + s.Name)
	}
	return logclient.TxnID(e.topo.Name + "-source-" + s.Name)
}

// ownIDs are those that only this instance uses.
func (e *Engine) ownIDs() []string {
	ids := []string{string(e.startID())}
	for n := range e.cfg.Workers {
		ids = append(ids, string(e.workerID(n)))
	}
	for i := range e.cfg.Sources {
		if s := &e.cfg.Sources[i]; !e.clustered() || ephemeral(s) {
			ids = append(ids, string(e.sourceID(s)))
		}
	}
	for _, s := range e.cfg.Sinks {
		ids = append(ids, string(e.sinkID(s.Name)))
	}
	return append(ids, plantedIDs(e)...)
}

// endOldTransactions opens every transactional id that an earlier run may have
// used, which ends its transactions now: nothing may hang when positions and
// changelogs are read (I3). On a cluster these are this instance's own; those of
// instances that are gone follow once the group says who is there.
func (e *Engine) endOldTransactions(ctx context.Context) error {
	infos, err := e.log.Describe(ctx, []string{plan.PositionsTopic(e.topo.Name)})
	if err != nil {
		return fmt.Errorf("describe topics: %w", err)
	}
	e.started = infos[0].Partitions > 0
	ids := map[string]bool{}
	for _, id := range e.ownIDs() {
		ids[id] = true
	}
	if e.clustered() {
		if e.started {
			recorded, err := e.recordedInstances(ctx)
			if err != nil {
				return err
			}
			for _, id := range recorded[e.instance].IDs {
				ids[id] = true
			}
		}
	} else {
		ids[string(deadLettersID(e.topo.Name))] = true
		if e.started {
			if err := recordedIDs(ctx, e.log, e.topo.Name, ids); err != nil {
				return err
			}
		}
	}
	e.txnIDs = slices.Sorted(maps.Keys(ids))
	return endTransactions(ctx, e.log, e.txnIDs)
}

// keyInstance begins the key under which an instance leaves its transactional ids
// in the positions topic; its name follows.
const keyInstance = "instance/"

// instanceRecord is what an instance leaves about itself.
type instanceRecord struct {
	IDs     []string `json:"transactional_ids"`
	SinceMS int64    `json:"since_ms"` // when it started, milliseconds since 1970
}

// recordedInstances reads what instances have left, also what is not committed:
// transactions that hang are what it is for.
func (e *Engine) recordedInstances(ctx context.Context) (map[string]instanceRecord, error) {
	found := map[string]instanceRecord{}
	err := e.uncommitted.catchUp(ctx, e)
	if err != nil {
		return nil, err
	}
	e.uncommitted.each(func(key string, value []byte) {
		name, ok := strings.CutPrefix(key, keyInstance)
		var r instanceRecord
		if ok && json.Unmarshal(value, &r) == nil {
			found[name] = r
		}
	})
	return found, nil
}

// recordInstance leaves this instance's ids for the others.
func (e *Engine) recordInstance(ctx context.Context) error {
	if !e.clustered() {
		return nil
	}
	value, err := json.Marshal(instanceRecord{IDs: e.txnIDs, SinceMS: time.Now().UnixMilli()})
	if err != nil {
		return err
	}
	return e.notePosition(ctx, keyInstance+e.instance, value)
}

// notePosition is putPosition while the group does not know yet that this instance is
// there: others may just be ending the transactions of the one that was here before
// it (endGone), and end this one with them. Then it is written again. They do so once
// each; another process that starts under the same name soon has done its part, too.
func (e *Engine) notePosition(ctx context.Context, key string, value []byte) error {
	const most = 20
	for attempt := 1; ; attempt++ {
		err := e.putPosition(ctx, key, value)
		if !e.fenced(err) || attempt == most || !pause(ctx, retryFirst) {
			return err
		}
	}
}

// forgetInstance says that this instance has ended as it should: it has left no
// transaction. If that does not come about, others look once more than they need to.
func (e *Engine) forgetInstance(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, abortTimeout)
	defer cancel()
	if err := e.putPosition(ctx, keyInstance+e.instance, nil); err != nil {
		e.logger.Debug("say that this instance has ended", "err", err)
	}
}

// putPosition writes one record to the positions topic, in a transaction of its own.
func (e *Engine) putPosition(ctx context.Context, key string, value []byte) error {
	w, err := e.log.Writer(ctx, e.startID(), logclient.WriterConfig{})
	if err != nil {
		return err
	}
	defer w.Close()
	tp := record.TopicPartition{Topic: plan.PositionsTopic(e.plan.App)}
	if err := w.Append(tp, &record.View{Key: []byte(key), Value: value, Timestamp: time.Now().UnixMilli()}); err != nil {
		return err
	}
	if _, err := w.Commit(ctx, nil, logclient.Generation{}); err != nil {
		return fmt.Errorf("record %s in %s: %w", key, tp.Topic, err)
	}
	return nil
}

// departed remembers who was among the members when the group last said so, and of
// which instances that were gone the transactions are ended: when they had started,
// by name. Safe for concurrent use.
type departed struct {
	mu      sync.Mutex
	members map[string]bool
	since   map[string]int64
}

// back says who is among the members: whoever was not gone after all may yet be.
func (d *departed) back(members []logclient.Instance) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.members = map[string]bool{}
	for _, in := range members {
		d.members[in.Name] = true
		delete(d.since, in.Name)
	}
}

// settled: nothing of an instance is to be ended. It is there, also where who asks
// has not taken over yet that it came, or that was done.
func (d *departed) settled(name string, r instanceRecord) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, ok := d.since[name]
	return d.members[name] || ok && at == r.SinceMS
}

func (d *departed) add(name string, r instanceRecord) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.since == nil {
		d.since = map[string]int64{}
	}
	d.since[name] = r.SinceMS
}

// endGone ends the transactions of instances that are recorded and not among the
// members: what they have not committed is without effect, and nobody waits for it
// until it times out. One that only seemed gone is fenced and begins anew.
func (e *Engine) endGone(ctx context.Context, alive []logclient.Instance) error {
	if !e.clustered() || len(alive) == 0 {
		return nil // nobody has said who is there
	}
	recorded, err := e.recordedInstances(ctx)
	if err != nil {
		return err
	}
	e.endMu.Lock()
	defer e.endMu.Unlock()
	there := map[string]bool{e.instance: true}
	for _, in := range alive {
		there[in.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(recorded)) {
		r := recorded[name]
		if there[name] || e.departed.settled(name, r) {
			continue
		}
		e.logger.Info("an instance is gone, ending its transactions", "instance", name, "transactional_ids", len(r.IDs))
		if err := endTransactions(ctx, e.log, r.IDs); err != nil {
			return err
		}
		e.departed.add(name, r)
	}
	return nil
}
