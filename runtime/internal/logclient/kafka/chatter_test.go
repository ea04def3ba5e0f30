package kafka

import (
	"testing"
	"time"
)

func TestTheSameIsSaidOnceInAWhile(t *testing.T) {
	c := newChatter(nil)
	began := time.UnixMilli(1)
	for _, step := range []struct {
		after  time.Duration
		msg    string
		broker string
		unsaid int
		say    bool
	}{
		{0, "unable to open", "1", 0, true},
		{time.Second, "unable to open", "1", 0, false},
		{time.Second, "unable to open", "2", 0, true},
		{2 * time.Second, "unable to read", "1", 0, true},
		{9 * time.Second, "unable to open", "1", 0, false},
		{10 * time.Second, "unable to open", "1", 2, true},
		{11 * time.Second, "unable to open", "1", 0, false},
		{20 * time.Second, "unable to open", "1", 1, true},
	} {
		unsaid, say := c.says(step.msg, []any{"addr", "x", "broker", step.broker}, began.Add(step.after))
		if unsaid != step.unsaid || say != step.say {
			t.Errorf("%s of broker %s after %v: said %v, %d not said before, expected %v, %d", step.msg, step.broker, step.after, say, unsaid, step.say, step.unsaid)
		}
	}
}
