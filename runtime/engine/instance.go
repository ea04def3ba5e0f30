package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
)

// instanceFile keeps an instance's name in its state directory, so that it is the
// same member of the group after a restart.
const instanceFile = "instance"

// unitSources is the unit whose owner runs the sources that have a position to
// keep. It stands for partition 0 of the positions topic, which nobody reads as
// input.
const unitSources = "sources"

// clustered reports whether other processes may run the same application.
func (e *Engine) clustered() bool { return e.instance != "" }

// ephemeral reports whether a source has nothing to go back to: it runs in every instance.
func ephemeral(s *Source) bool {
	_, is := s.Source.(connectors.Ephemeral)
	return is
}

// instanceName is the name of this process among those of the application: the
// one given, the one in the state directory, or a new one, which is kept there.
func instanceName(cfg *Config) (string, error) {
	switch {
	case cfg.Cluster.Instance != "":
		return cfg.Cluster.Instance, nil
	case cfg.InMemoryState:
		return newInstanceName(), nil
	}
	path := filepath.Join(cfg.StateDir, instanceFile)
	b, err := os.ReadFile(path)
	if err == nil {
		if name := strings.TrimSpace(string(b)); validInstance(name) == nil {
			return name, nil
		}
		return "", fmt.Errorf("%s holds no name of an instance: remove the file, and a new name is made", path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	name := newInstanceName()
	tmp := path + ".new"
	err = errors.Join(os.MkdirAll(cfg.StateDir, 0o755), os.WriteFile(tmp, []byte(name+"\n"), 0o644))
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return "", fmt.Errorf("keep the name of this instance: %w", err)
	}
	return name, nil
}

func newInstanceName() string {
	var b [4]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// validInstance checks a name: it is part of transactional ids.
func validInstance(name string) error {
	if name == "" || len(name) > 100 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
		return fmt.Errorf("the instance name is %q, expected 1 to 100 letters, digits, dots, underscores and hyphens", name)
	}
	return nil
}

// inputsOf are the partitions that a task reads.
func (e *Engine) inputsOf(id plan.TaskID) (tps []record.TopicPartition) {
	for _, in := range e.plan.Subs[id.Sub].Inputs {
		tp := record.TopicPartition{Topic: in.Topic, Partition: record.Partition(id.Partition)}
		if id.Partition < in.Partitions && !slices.Contains(tps, tp) {
			tps = append(tps, tp)
		}
	}
	return tps
}

// unit is what the group deals out as a whole.
type unit struct {
	logclient.Unit
	tasks []plan.TaskID
}

// makeUnits puts each task into a unit, and tasks that share an input into one.
func (e *Engine) makeUnits() {
	at := map[record.TopicPartition]*unit{}
	for _, id := range e.plan.TaskIDs() {
		ins := e.inputsOf(id)
		var u *unit
		for _, tp := range ins {
			if at[tp] != nil {
				u = at[tp]
			}
		}
		if u == nil {
			u = &unit{Unit: logclient.Unit{ID: id.String()}}
			e.units = append(e.units, u)
		}
		u.tasks = append(u.tasks, id)
		for _, tp := range ins {
			if at[tp] == nil {
				at[tp] = u
				u.Partitions = append(u.Partitions, tp)
			}
		}
	}
	for _, u := range e.units {
		u.Stateful = slices.ContainsFunc(u.tasks, e.followable) &&
			!slices.ContainsFunc(u.tasks, func(id plan.TaskID) bool { return e.hasChangelog(id) && !e.followable(id) })
	}
	if e.clustered() {
		e.units = append(e.units, &unit{Unit: logclient.Unit{
			ID: unitSources, Partitions: []record.TopicPartition{{Topic: plan.PositionsTopic(e.plan.App)}},
		}})
	}
}

func (e *Engine) hasChangelog(id plan.TaskID) bool {
	return slices.ContainsFunc(e.plan.Subs[id.Sub].Stores, func(s plan.Store) bool { return s.Changelog != "" })
}

// followable reports whether another instance can keep a copy of a task's state:
// it has some, and each store has a changelog. Of one without, a checkpoint is of
// use only to who made the last commit. Such a task moves at once: who waited
// until somebody has caught up with it would wait for good.
func (e *Engine) followable(id plan.TaskID) bool {
	return e.hasChangelog(id) &&
		!slices.ContainsFunc(e.plan.Subs[id.Sub].Stores, func(s plan.Store) bool { return s.Changelog == "" })
}

// memberConfig is how this instance joins the application's group.
func (e *Engine) memberConfig() logclient.MemberConfig {
	c := logclient.MemberConfig{Group: e.topo.Name, Capacity: e.cfg.Workers}
	for _, u := range e.units {
		for _, tp := range u.Partitions {
			if !slices.Contains(c.Topics, tp.Topic) {
				c.Topics = append(c.Topics, tp.Topic)
			}
		}
	}
	if e.clustered() {
		for _, u := range e.units {
			c.Units = append(c.Units, u.Unit)
		}
		c.Standbys, c.Endpoint, c.Report, c.Stay = e.cfg.Standbys, e.cfg.Advertise, e.report, e.cfg.Cluster.StayOnStop
	}
	return c
}

// report says how far this instance's state is behind, by unit, for the group.
func (e *Engine) report(context.Context) map[string]int64 {
	out := e.unitLags(e.standbys.lags())
	e.standbys.tell(out)
	return out
}

// unitLags sums up lags of tasks that do not run here. A unit with a task of which
// nothing is known is not in it.
func (e *Engine) unitLags(lags map[plan.TaskID]int64) map[string]int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := map[string]int64{}
	for _, u := range e.units {
		if !u.Stateful {
			continue
		}
		sum, known := int64(0), true
		for _, id := range u.tasks {
			if e.running[id] || !e.followable(id) {
				continue
			}
			lag, ok := lags[id]
			sum, known = sum+lag, known && ok
		}
		if known {
			out[u.ID] = sum
		}
	}
	return out
}

// assigned is the latest assignment.
func (e *Engine) assigned() logclient.Assignment {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.assignment
}

// ownsSources reports whether this instance runs the sources that have a position.
func (e *Engine) ownsSources() bool {
	return !e.clustered() || slices.Contains(e.assigned().Partitions, record.TopicPartition{Topic: plan.PositionsTopic(e.plan.App)})
}

// unitOf is the id of the unit that a task is dealt out with.
func (e *Engine) unitOf(id plan.TaskID) string {
	for _, u := range e.units {
		if slices.Contains(u.tasks, id) {
			return u.ID
		}
	}
	return ""
}

// ownerOf is the instance that a task was last dealt to.
func (e *Engine) ownerOf(id plan.TaskID) (logclient.Instance, bool) {
	unit := e.unitOf(id)
	for _, in := range e.assigned().Instances {
		if slices.Contains(in.Units, unit) {
			return in, true
		}
	}
	return logclient.Instance{}, false
}

// tasksOf are the tasks all of whose inputs are among an assignment's partitions,
// by sub-topology and partition.
func (e *Engine) tasksOf(a logclient.Assignment) (ids []plan.TaskID) {
	ours := map[record.TopicPartition]bool{}
	for _, tp := range a.Partitions {
		ours[tp] = true
	}
	for _, id := range e.plan.TaskIDs() {
		if !slices.ContainsFunc(e.inputsOf(id), func(tp record.TopicPartition) bool { return !ours[tp] }) {
			ids = append(ids, id)
		}
	}
	return ids
}

// standbysOf are the tasks to follow of an assignment's standby units.
func (e *Engine) standbysOf(a logclient.Assignment) (ids []plan.TaskID) {
	for _, u := range e.units {
		if slices.Contains(a.Standbys, u.ID) {
			for _, id := range u.tasks {
				if e.followable(id) {
					ids = append(ids, id)
				}
			}
		}
	}
	return ids
}
