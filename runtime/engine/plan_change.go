package engine

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/millstream-io/millstream/runtime/internal/plan"
)

// ChangePlan says what becomes of every store and internal topic of the earlier
// version. It is for people: nothing of it is carried out, but that the topics of
// what is new exist when the program is refused, empty.
type ChangePlan struct {
	Kept     []Stored  // the same in both versions
	Altered  []Stored  // of the same name, with another kind, window, serde or number of partitions
	Renamed  []Renamed // gone and new, and alike in all but the name: a guess
	Orphaned []Stored  // of the earlier version only: its topic stays, and nothing reads it
	New      []Stored  // of this version only
}

// Stored is a store or a repartition topic: what an application keeps in its log.
type Stored struct {
	Store string // "": a repartition topic
	Topic string // "": a store without a changelog
}

// Renamed is something that seems to have another name now.
type Renamed struct{ Was, Is Stored }

// planChange compares the facts of two versions of an application.
func planChange(app string, old, now map[string]string) ChangePlan {
	before, after := storedBy(app, old), storedBy(app, now)
	var p ChangePlan
	gone, fresh := map[Stored]string{}, map[Stored]string{}
	for k, fact := range before {
		is, same := after[k]
		switch {
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
	for store, fact := range gone {
		was, is := alike(gone, fact), alike(fresh, fact)
		if store.Store == "" || len(was) != 1 || len(is) != 1 {
			continue // with two that it could be, a guess would mislead
		}
		p.Renamed = append(p.Renamed, Renamed{store, is[0]})
		w, i := repartitionOf(app, store), repartitionOf(app, is[0])
		if fact, ok := gone[w]; ok && fact == fresh[i] {
			p.Renamed = append(p.Renamed, Renamed{w, i})
		}
	}
	for _, r := range p.Renamed {
		delete(gone, r.Was)
		delete(fresh, r.Is)
	}
	slices.SortFunc(p.Kept, compareStored)
	slices.SortFunc(p.Altered, compareStored)
	slices.SortFunc(p.Renamed, func(a, b Renamed) int { return compareStored(a.Was, b.Was) })
	p.Orphaned = slices.SortedFunc(maps.Keys(gone), compareStored)
	p.New = slices.SortedFunc(maps.Keys(fresh), compareStored)
	return p
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

var repartitionFact = regexp.MustCompile(`^#\d+ RepartitionSource after \[\] topic ("(?:[^"\\]|\\.)*") serdes (.*)$`)

// storedBy are the stores and repartition topics in the facts of
// [plan.Plan.Fingerprint], each with what it must have in common with another
// for the one to read the other's data.
func storedBy(app string, facts map[string]string) map[Stored]string {
	found := map[Stored]string{}
	partitions := func(topic string) string { return facts[fmt.Sprintf("partitions of topic %q", topic)] }
	for key, fact := range facts {
		if quoted, ok := strings.CutPrefix(key, "store "); ok {
			name, err := strconv.Unquote(quoted)
			if err != nil {
				continue
			}
			k := Stored{Store: name}
			topic := plan.ChangelogTopic(app, name)
			if partitions(topic) != "" {
				k.Topic = topic
			}
			found[k] = fact + " partitions " + partitions(topic)
		} else if m := repartitionFact.FindStringSubmatch(fact); m != nil && strings.HasPrefix(key, "operator ") {
			name, err := strconv.Unquote(m[1])
			if err != nil {
				continue
			}
			topic := plan.RepartitionTopic(app, name)
			found[Stored{Topic: topic}] = m[2] + " partitions " + partitions(topic)
		}
	}
	return found
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
	list("unchanged:", p.Kept)
	list("of the same name but different:", p.Altered)
	var renamed []string
	for _, r := range p.Renamed {
		renamed = append(renamed, fmt.Sprintf("%v, now %v", r.Was, r.Is))
	}
	if len(renamed) > 0 {
		parts = append(parts, "renamed, it seems, being of the same kind and serdes (state does not follow a new name; the old name keeps it if nothing else changed): "+strings.Join(renamed, ", "))
	}
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
