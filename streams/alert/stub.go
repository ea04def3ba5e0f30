package alert

import "github.com/millstream-io/millstream/streams"

func streamOf[K, V any](s *streams.Stream[K, V], r *rule) *streams.Stream[string, Event] {
	return s.Process(func(c *streams.Context[string, Event], k K, v V) {}, streams.Named(r.name))
}
