package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/millstream-io/millstream/internal/nearest"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/plan"
)

// checkConnected refuses connectors whose topic nothing else knows: neither the
// topology nor a connector of the other kind, nor the log. Such a name is
// mistyped, and would make a topic in which records wait for nobody, or a sink
// that waits for records of nobody.
func (e *Engine) checkConnected(uses []plan.TopicUse, exists map[string]bool) error {
	known := map[string]bool{plan.DeadLettersTopic(e.topo.Name): true}
	for _, u := range uses {
		known[u.Topic] = true
	}
	filled, emptied := maps.Clone(known), maps.Clone(known)
	for _, s := range e.cfg.Sources {
		filled[s.Topic] = true
	}
	for _, s := range e.cfg.Sinks {
		emptied[s.Topic] = true
	}
	var errs []error
	for _, s := range e.cfg.Sources {
		if !emptied[s.Topic] && !exists[s.Topic] {
			errs = append(errs, unknownTopic("source "+s.Name+" writes", s.Topic, "nothing reads", emptied))
		}
	}
	for _, s := range e.cfg.Sinks {
		if !filled[s.Topic] && !exists[s.Topic] {
			errs = append(errs, unknownTopic("sink "+s.Name+" reads", s.Topic, "nothing writes", filled))
		}
	}
	return errors.Join(errs...)
}

// unknownTopic names what a connector does with a topic, what is missing, and
// which topics it might have meant.
func unknownTopic(does, topic, missing string, known map[string]bool) error {
	names := slices.Sorted(maps.Keys(known))
	meant := "known"
	if n := nearest.Name(topic, names); n != "" {
		meant = fmt.Sprintf("did you mean %q? Known", n)
	}
	return fmt.Errorf("%s topic %q, which %s and the log does not have: %s are %s", does, topic, missing, meant, strings.Join(names, ", "))
}

// otherPartitions are the topics that exist with another number of partitions
// than the configuration asks for, in the form of a log line: theirs stays,
// because keys would change their partitions.
func (e *Engine) otherPartitions(names []string, have []logclient.TopicInfo, groups [][]string) (found [][]any) {
	asked, by := map[string]int32{}, map[string]string{}
	if e.cfg.partitionsGiven {
		for _, name := range names {
			asked[name], by[name] = e.cfg.Partitions, "Config.Partitions"
		}
	}
	delete(asked, plan.DeadLettersTopic(e.topo.Name)) // has one
	for _, s := range e.cfg.Sources {
		if s.Partitions == 0 {
			continue
		}
		for _, group := range groups {
			if slices.Contains(group, s.Topic) { // the others are made like this one
				for _, name := range group {
					delete(asked, name)
				}
			}
		}
	}
	for _, s := range e.cfg.Sources {
		if s.Partitions > 0 {
			asked[s.Topic], by[s.Topic] = s.Partitions, "Source.Partitions of "+s.Name
		}
	}
	for i, name := range names {
		if want := asked[name]; want > 0 && have[i].Partitions > 0 && have[i].Partitions != want {
			found = append(found, []any{"topic", name, "partitions", have[i].Partitions, "asked", want, "by", by[name]})
		}
	}
	return found
}
