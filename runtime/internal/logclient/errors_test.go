package logclient_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		err      error
		expected logclient.Class
	}{
		{nil, logclient.ClassNone},
		{logclient.ErrFenced, logclient.ClassFenced},
		{logclient.ErrRebalanced, logclient.ClassRebalanced},
		{logclient.ErrUnknownOutcome, logclient.ClassUnknownOutcome},
		{logclient.ErrUnavailable, logclient.ClassRetryable},
		{context.Canceled, logclient.ClassRetryable},
		{context.DeadlineExceeded, logclient.ClassRetryable},
		{fmt.Errorf("commit: %w: %w", logclient.ErrUnknownOutcome, context.Canceled), logclient.ClassUnknownOutcome},
		{errors.Join(logclient.ErrUnknownOutcome, logclient.ErrFenced), logclient.ClassFenced},
		{logclient.ErrClosed, logclient.ClassFatal},
		{logclient.ErrUnknownTopic, logclient.ClassFatal},
		{&logclient.TopicMismatchError{}, logclient.ClassFatal},
		{&logclient.OffsetOutOfRangeError{}, logclient.ClassFatal},
		{&logclient.RecordTooLargeError{}, logclient.ClassFatal},
		{errors.New("whatever"), logclient.ClassFatal},
	} {
		for _, err := range []error{c.err, wrapped(c.err)} {
			if have := logclient.Classify(err); have != c.expected {
				t.Errorf("%v is %v, expected %v", err, have, c.expected)
			}
		}
	}
}

func wrapped(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("worker 1: %w", err)
}
