package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/millstream-io/millstream/runtime/internal/plan"
)

// fingerprint is what an application leaves about itself in its positions topic:
// what its state depends on, what it consists of, and every transactional id that
// runs since the beginning may have left a transaction under.
type fingerprint struct {
	Version int `json:"version"`
	// Facts are those of plan.Facts, and the program's settings. In version 1 they
	// were about every operator, and had to be the same to the last.
	Facts     map[string]string `json:"facts"`
	Operators map[string]string `json:"operators,omitempty"`
	Aliases   map[string]string `json:"aliases,omitempty"` // what stores are called that are kept under a former name
	IDs       []string          `json:"transactional_ids"`
}

const (
	fingerprintVersion = 2
	factSetting        = "setting "
)

func (e *Engine) fingerprint() *fingerprint {
	now := &fingerprint{
		Version: fingerprintVersion, Facts: e.plan.Facts(e.topo), Operators: e.plan.Operators(e.topo),
		Aliases: map[string]string{}, IDs: e.txnIDs,
	}
	if e.clustered() {
		now.IDs = nil // each instance leaves its own: recordInstance
	}
	for k, v := range e.cfg.Settings {
		now.Facts[factSetting+k] = v
	}
	for _, s := range e.topo.Stores {
		if s.Alias != "" {
			now.Aliases[s.Name] = s.Alias
		}
	}
	return now
}

// version1 are the facts as version 1 had them.
func (f *fingerprint) version1() map[string]string {
	facts := map[string]string{}
	for k, v := range f.Facts {
		if strings.HasPrefix(k, plan.FactStore) || strings.HasPrefix(k, plan.FactPartitions) || strings.HasPrefix(k, factSetting) {
			facts[k] = v
		}
	}
	for name, v := range f.Operators {
		facts[fmt.Sprintf("operator %q", name)] = v
	}
	return facts
}

// checkFingerprint refuses a program that does not fit the state; it returns
// what the earlier one left, nil if there was none.
func (e *Engine) checkFingerprint(ps positions) (*fingerprint, error) {
	b, ok := ps[keyFingerprint]
	if !ok {
		return nil, nil
	}
	old, now := &fingerprint{}, e.fingerprint()
	if err := json.Unmarshal(b, old); err != nil {
		return nil, fmt.Errorf("topic %s: unreadable fingerprint: %w", plan.PositionsTopic(e.plan.App), err)
	}
	if old.Version > fingerprintVersion {
		return nil, fmt.Errorf("topic %s: a fingerprint of version %d, this program knows those to %d: run a newer millstream", plan.PositionsTopic(e.plan.App), old.Version, fingerprintVersion)
	}
	facts, refuses := now.Facts, plan.Refuses
	if old.Version < 2 {
		facts, refuses = now.version1(), func(string) bool { return true }
	}
	if changes := compareFacts(old.Facts, facts, refuses); len(changes) > 0 {
		return nil, &ChangedError{App: e.plan.App, Changes: changes, Cluster: e.clustered(), ChangePlan: planChange(e.plan.App, old.Facts, facts, now.Aliases)}
	}
	return old, nil
}

// recordFingerprint writes the program's fingerprint, if it is another than the
// earlier one's, and says what has changed.
func (e *Engine) recordFingerprint(ctx context.Context, old *fingerprint) error {
	now := e.fingerprint()
	if old != nil && old.Version > 1 {
		for k, v := range old.Facts {
			if _, ok := now.Facts[k]; !ok && plan.Outlives(k) {
				now.Facts[k] = v
			}
		}
		if maps.Equal(old.Facts, now.Facts) && maps.Equal(old.Operators, now.Operators) && maps.Equal(old.Aliases, now.Aliases) && slices.Equal(old.IDs, now.IDs) {
			return nil
		}
		if told := harmlessChanges(old, now); len(told) > 0 {
			e.logger.Info("the program has changed, and goes on with its state: what operators without state do counts from here on", told...)
		}
	}
	value, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return e.notePosition(ctx, keyFingerprint, value)
}

// harmlessChanges are the operators that differ, as attributes of a log line. That
// an operator's number is another is no difference.
func harmlessChanges(old, now *fingerprint) (told []any) {
	var added, gone, different, renamed []string
	for _, name := range slices.Sorted(maps.Keys(now.Operators)) {
		_, is, _ := strings.Cut(now.Operators[name], " ")
		_, was, _ := strings.Cut(old.Operators[name], " ")
		switch {
		case was == "":
			added = append(added, name)
		case was != is:
			different = append(different, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old.Operators)) {
		if now.Operators[name] == "" {
			gone = append(gone, name)
		}
	}
	for _, kept := range slices.Sorted(maps.Keys(now.Aliases)) {
		if old.Aliases[kept] != now.Aliases[kept] {
			renamed = append(renamed, fmt.Sprintf("%s is called %s (FormerName)", kept, now.Aliases[kept]))
		}
	}
	for _, d := range []struct {
		what  string
		names []string
	}{{"new", added}, {"gone", gone}, {"different", different}, {"renamed", renamed}} {
		if len(d.names) > 0 {
			told = append(told, d.what, strings.Join(d.names, ", "))
		}
	}
	return told
}

// compareFacts lists the facts that are others, and those that are only in one of
// the maps and refuse.
func compareFacts(old, now map[string]string, refuses func(key string) bool) (changes []string) {
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
		case had && !has && refuses(k):
			changes = append(changes, fmt.Sprintf("%s (%q) is gone", k, o))
		case has && !had && refuses(k):
			changes = append(changes, fmt.Sprintf("%s (%q) is new", k, n))
		}
	}
	return changes
}
