package streams_test

import (
	"strings"
	"testing"

	"github.com/millstream-io/millstream/streams"
)

func TestNilFunctionsStreamsAndSerdesAreMistakesOfBuild(t *testing.T) {
	b := streams.NewBuilder("nils")
	b.Register[int](nil)
	s := b.From[string, string]("in", streams.EventTime[string, string](nil))
	s.Merge(nil, b.From[string, string]("other")).To("out")
	_, err := b.Build()
	for _, want := range []string{"Register: the serde of int is nil", "EventTime's function is nil", "stream 1 is nil"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected a mistake with %q, found %v", want, err)
		}
	}
}
