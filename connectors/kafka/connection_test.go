package kafka

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A topic that was made just now is waited for, one that does not come is told soon,
// and an error at once.
func TestANewTopicIsWaitedFor(t *testing.T) {
	refused := errors.New("refused")
	for name, c := range map[string]struct {
		after      time.Duration // when the broker hears of it
		err        error
		partitions int32
		took       time.Duration
	}{
		"it is there":             {0, nil, 3, 0},
		"the broker hears of it":  {time.Second, nil, 3, 1200 * time.Millisecond},
		"it never comes":          {time.Hour, nil, 0, hearsay},
		"the broker answers no":   {0, refused, 0, 0},
		"it hears and answers no": {time.Second, refused, 0, 1200 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			d, err := heardOf(t.Context(), func() (described, error) {
				if time.Since(began) < c.after {
					return described{}, nil
				}
				if c.err != nil {
					return described{}, c.err
				}
				return described{partitions: 3}, nil
			})
			if took := time.Since(began); !errors.Is(err, c.err) || d.partitions != c.partitions || took != c.took {
				t.Errorf("%s: %d partitions, error %v, after %v; expected %d, %v, %v", name, d.partitions, err, took, c.partitions, c.err, c.took)
			}
		})
	}
}
