package streamstest

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/topology"
)

// serdes are how a topic's records are encoded.
type serdes[K, V any] struct {
	keys serde.Serde[K]
	vals serde.Serde[V]
}

// serdesOf finds how the topology itself reads or writes a topic; for topics
// that it does not know, the serdes of the types. first says whom to ask first.
func serdesOf[K, V any](w *world, topic string, first topology.Kind) (s serdes[K, V], err error) {
	var mismatch error
	for _, kind := range []topology.Kind{first, topology.Source, topology.Sink} {
		for _, n := range w.topo.Nodes {
			if n.Kind != kind || n.Keys == nil || n.Values == nil || !isTopic(w, n, topic) {
				continue
			}
			keys, okKeys := n.Keys.(serde.Serde[K])
			vals, okVals := n.Values.(serde.Serde[V])
			if okKeys && okVals {
				return serdes[K, V]{keys, vals}, nil
			}
			mismatch = fmt.Errorf("operator %q has keys of serde %s and values of serde %s there, not %v and %v: name its types, or give serdes with InputWith or OutputWith",
				n.Name, n.KeySerde, n.ValSerde, reflect.TypeFor[K](), reflect.TypeFor[V]())
		}
	}
	if mismatch != nil && !raw[K, V]() {
		return s, mismatch
	}
	if s.keys, err = serde.For[K](nil); err != nil {
		return s, err
	}
	s.vals, err = serde.For[V](nil)
	return s, err
}

// raw reports whether somebody wants to see the bytes.
func raw[K, V any]() bool {
	b := reflect.TypeFor[[]byte]()
	return reflect.TypeFor[K]() == b && reflect.TypeFor[V]() == b
}

func isTopic(w *world, n topology.Node, topic string) bool {
	if n.Repartition {
		return plan.RepartitionTopic(w.topo.Name, n.Topic) == topic
	}
	return n.Topic == topic
}

// topicOf fails the test if the program has no such topic.
func topicOf(w *world, what, topic string) {
	w.t.Helper()
	for _, name := range w.Topics() {
		if name == topic {
			return
		}
	}
	w.fatal("%s of topic %q: the program has no such topic; it has %s", what, topic, strings.Join(w.Topics(), ", "))
}
