package engine

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/millstream-io/millstream/runtime/internal/plan"
)

// ChangePlan says what becomes of every store and internal topic of the earlier
// version. It is for people: nothing of it is carried out.
type ChangePlan struct {
	Kept     []Stored  // the same in both versions
	Renamed  []Renamed // kept under the former name, by streams.FormerName
	Altered  []Stored  // of the same name, with another kind, window, serde or number of partitions
	Alike    []Renamed // gone and new, and alike in all but the name: renamed, it seems
	Orphaned []Stored  // of the earlier version only: its topic stays, and nothing reads it
	New      []Stored  // of this version only
}

// Stored is a store or a repartition topic: what an application keeps in its log.
type Stored struct {
	Store string // "": a repartition topic
	Topic string // "": a store without a changelog
}

// Renamed is something that has, or seems to have, another name now.
type Renamed struct{ Was, Is Stored }

// planChange compares the facts of two versions of an application. aliases are
// what the later one calls stores that it keeps under a former name.
func planChange(app string, old, now, aliases map[string]string) ChangePlan {
	before, after := storedBy(app, old), storedBy(app, now)
	var p ChangePlan
	gone, fresh := map[Stored]string{}, map[Stored]string{}
	for k, fact := range before {
		is, same := after[k]
		switch {
		case same && fact == is && aliases[k.Store] != "":
			p.Renamed = append(p.Renamed, Renamed{k, Stored{Store: aliases[k.Store], Topic: k.Topic}})
		case same && fact == is:
			p.Kept = append(p.Kept, k)
		case same:
			p.Altered = append(p.Altered, k)
		default:
			gone[k] = fact
		}
	}
	for k, fact := range after {
		if _, same := before[k]; !same {
			fresh[k] = fact
		}
	}
	p.Alike = guess(app, gone, fresh)
	for _, r := range p.Alike {
		delete(gone, r.Was)
		delete(fresh, r.Is)
	}
	slices.SortFunc(p.Kept, compareStored)
	slices.SortFunc(p.Altered, compareStored)
	for _, of := range [][]Renamed{p.Renamed, p.Alike} {
		slices.SortFunc(of, func(a, b Renamed) int { return compareStored(a.Was, b.Was) })
	}
	p.Orphaned = slices.SortedFunc(maps.Keys(gone), compareStored)
	p.New = slices.SortedFunc(maps.Keys(fresh), compareStored)
	return p
}

// guess finds stores that are gone, and one that is new and can read their data.
func guess(app string, gone, fresh map[Stored]string) (found []Renamed) {
	for store, fact := range gone {
		was, is := alike(gone, fact), alike(fresh, fact)
		if store.Store == "" || len(was) != 1 || len(is) != 1 {
			continue // with two that it could be, a guess would mislead
		}
		found = append(found, Renamed{store, is[0]})
		w, i := repartitionOf(app, store), repartitionOf(app, is[0])
		if fact, ok := gone[w]; ok && fact == fresh[i] {
			found = append(found, Renamed{w, i})
		}
	}
	return found
}

// alike are the stores with this fact.
func alike(of map[Stored]string, fact string) (found []Stored) {
	for k, f := range of {
		if k.Store != "" && f == fact {
			found = append(found, k)
		}
	}
	return found
}

// repartitionOf is the repartition topic that a store's verb makes for itself.
func repartitionOf(app string, k Stored) Stored {
	return Stored{Topic: plan.RepartitionTopic(app, k.Store+"-repartition")}
}

// compareStored orders stores by name, and topics after them.
func compareStored(a, b Stored) int {
	if (a.Store == "") != (b.Store == "") {
		return -strings.Compare(a.Store, b.Store)
	}
	return strings.Compare(a.Store+"\x00"+a.Topic, b.Store+"\x00"+b.Topic)
}

// storedBy are the stores and repartition topics in the facts of
// [plan.Plan.Facts], each with what it must have in common with another
// for the one to read the other's data.
func storedBy(app string, facts map[string]string) map[Stored]string {
	found := map[Stored]string{}
	partitions := func(topic string) string { return facts[plan.FactPartitions+strconv.Quote(topic)] }
	for key, fact := range facts {
		if name, ok := subject(key, plan.FactStore); ok {
			k := Stored{Store: name}
			topic := plan.ChangelogTopic(app, name)
			if partitions(topic) != "" {
				k.Topic = topic
			}
			found[k] = fact + " partitions " + partitions(topic)
		} else if name, ok := subject(key, plan.FactRepartition); ok {
			topic := plan.RepartitionTopic(app, name)
			found[Stored{Topic: topic}] = fact + " partitions " + partitions(topic)
		}
	}
	return found
}

// subject is the name that a fact is about.
func subject(key, kind string) (name string, ok bool) {
	quoted, ok := strings.CutPrefix(key, kind)
	if !ok {
		return "", false
	}
	name, err := strconv.Unquote(quoted)
	return name, err == nil
}

// String is the plan in one line, "" if nothing is kept in either version.
func (p ChangePlan) String() string {
	var parts []string
	list := func(what string, of []Stored) {
		var names []string
		for _, k := range of {
			names = append(names, k.String())
		}
		if len(names) > 0 {
			parts = append(parts, what+" "+strings.Join(names, ", "))
		}
	}
	pairs := func(what string, of []Renamed, after string) {
		var names []string
		for _, r := range of {
			names = append(names, fmt.Sprintf("%v, now %v", r.Was, r.Is))
		}
		if len(names) > 0 {
			parts = append(parts, what+" "+strings.Join(names, ", ")+after)
		}
	}
	list("unchanged:", p.Kept)
	pairs("renamed by FormerName:", p.Renamed, "")
	list("of the same name but different:", p.Altered)
	pairs("gone and new, and of the same kind and serdes, so perhaps renamed:", p.Alike,
		" (give the new name its old one with streams.FormerName, and the state is kept)")
	list("gone, their topics orphaned:", p.Orphaned)
	list("new:", p.New)
	return strings.Join(parts, "; ")
}

func (k Stored) String() string {
	switch {
	case k.Store == "":
		return "topic " + k.Topic
	case k.Topic == "":
		return fmt.Sprintf("store %q (no topic)", k.Store)
	}
	return fmt.Sprintf("store %q (topic %s)", k.Store, k.Topic)
}
