package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// confirming is a member about which the group says answer.
type confirming struct {
	logclient.Member
	answer error
	asked  int
}

func (c *confirming) Confirm(context.Context) error {
	c.asked++
	return c.answer
}

// An instance whose tasks are another's by now sees offsets that do not fit and
// records that are gone: that ends no run before the group has confirmed that they
// are its own.
func TestWhatAnotherInstanceMayHaveDoneEndsNoRun(t *testing.T) {
	differs := fmt.Errorf("worker 0: %w", &PositionError{Task: "0_0", Topic: "in", Group: 8, Committed: 9})
	gone := fmt.Errorf("worker 0: read: %w", &logclient.OffsetOutOfRangeError{TopicPartition: record.TopicPartition{Topic: "repartition"}, Offset: 1, Start: 2, End: 3})
	another := errors.New("another error")
	silent := fmt.Errorf("no answer: %w", logclient.ErrUnavailable)
	for _, c := range []struct {
		err       error
		instance  string
		confirmed error
		want      logclient.Class
		asks      int
	}{
		{differs, "a", nil, logclient.ClassFatal, 1},
		{gone, "a", nil, logclient.ClassFatal, 1},
		{differs, "a", logclient.ErrRebalanced, logclient.ClassRebalanced, 1},
		{gone, "a", logclient.ErrRebalanced, logclient.ClassRebalanced, 1},
		{gone, "a", silent, logclient.ClassRebalanced, 1},
		{differs, "", logclient.ErrRebalanced, logclient.ClassFatal, 0}, // there is no other
		{gone, "", logclient.ErrRebalanced, logclient.ClassFatal, 0},
		{another, "a", logclient.ErrRebalanced, logclient.ClassFatal, 0},
		{silent, "a", logclient.ErrRebalanced, logclient.ClassRetryable, 0},
	} {
		m := &confirming{answer: c.confirmed}
		e := &Engine{instance: c.instance, member: m, logger: slog.New(slog.DiscardHandler)}
		if got := e.classifyHere(t.Context(), c.err); got != c.want || m.asked != c.asks {
			t.Errorf("%v, of instance %q about which the group says %v: %v after %d questions, expected %v after %d", c.err, c.instance, c.confirmed, got, m.asked, c.want, c.asks)
		}
	}
}
