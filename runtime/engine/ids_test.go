package engine

import (
	"testing"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/streams/topology"
)

type replayable struct{ connectors.Source }

// Applications whose names begin alike share no transactional id, whatever their
// instances, sources and sinks are called.
func TestNoTwoApplicationsOrInstancesHaveATransactionalIDInCommon(t *testing.T) {
	names := []string{"a", "a-b", "b", "b-a", "worker-0", "a-worker-0", "b-worker-0", "sink-a", "source", "source-a", "a-source", "start"}
	owner := map[string]string{}
	for _, app := range names {
		for _, instance := range names {
			e := &Engine{topo: &topology.Topology{Name: app}, instance: instance}
			e.cfg.Workers = 2
			for _, name := range names {
				e.cfg.Sinks = append(e.cfg.Sinks, Sink{Name: name})
			}
			for _, id := range e.ownIDs() {
				if was := owner[id]; was != "" {
					t.Fatalf("%s is an id of %s and of application %s, instance %s", id, was, app, instance)
				}
				owner[id] = "application " + app + ", instance " + instance
			}
		}
		e := &Engine{topo: &topology.Topology{Name: app}, instance: "i"}
		for _, name := range names { // one for all instances, and of no other application
			id := string(e.sourceID(&Source{Name: name, Source: replayable{}}))
			if was := owner[id]; was != "" {
				t.Fatalf("%s is an id of %s and of application %s's sources", id, was, app)
			}
			owner[id] = "application " + app + "'s sources"
		}
		id := string(e.topicsID())
		if was := owner[id]; was != "" {
			t.Fatalf("%s is an id of %s and of application %s's topics", id, was, app)
		}
		owner[id] = "application " + app + "'s topics"
	}
}

// What an instance takes for a sink's id in another one is the id that is used there,
// whatever the names are made of.
func TestASinksIDInAnotherInstanceIsTheOneUsedThere(t *testing.T) {
	names := []string{"a", "-", ".", "sink", "s", "app", "a-b", "sink-a"}
	for _, app := range names {
		for _, here := range names {
			for _, there := range names {
				for _, sink := range names {
					s := &sinkRunner{e: &Engine{topo: &topology.Topology{Name: app}, instance: here}, cfg: Sink{Name: sink}}
					other := &Engine{topo: &topology.Topology{Name: app}, instance: there}
					if got, want := s.idOf(there), string(other.sinkID(sink)); got != want {
						t.Fatalf("application %s: instance %s takes %s for the id of sink %s in instance %s, which is %s", app, here, got, sink, there, want)
					}
				}
			}
		}
	}
}

// Who came back is not ended by who has not taken that over yet, and is ended anew
// when it goes again.
func TestADepartedInstanceIsEndedOnceForEachTimeItGoes(t *testing.T) {
	var d departed
	r := instanceRecord{SinceMS: 7}
	both := []logclient.Instance{{Name: "a"}, {Name: "b"}}
	for _, step := range []struct {
		what    string
		members []logclient.Instance
		done    bool
		settled bool
	}{
		{what: "b is gone", members: both[:1]},
		{what: "its transactions are ended", members: both[:1], done: true, settled: true},
		{what: "b is back", members: both, settled: true},
		{what: "b is gone again", members: both[:1]},
	} {
		d.back(step.members)
		if step.done {
			d.add("b", r)
		}
		if got := d.settled("b", r); got != step.settled {
			t.Errorf("%s: settled is %v", step.what, got)
		}
	}
}
