package task

import (
	"errors"
	"fmt"

	"github.com/millstream-io/millstream/runtime/internal/plan"
)

// ErrBadWatermark: a repartition topic holds a watermark that no task of the
// program can have written.
var ErrBadWatermark = errors.New("unreadable watermark record")

// PanicError is a user function's panic.
type PanicError struct {
	Task      plan.TaskID
	Operator  string // whose function ran last
	Topic     string // the input record that was processed; empty if a commit or a closing window ran
	Partition int32
	Offset    int64
	Value     any
	Stack     []byte
}

func (e *PanicError) Error() string {
	where := "at a commit or a closing window"
	if e.Topic != "" {
		where = fmt.Sprintf("on %s-%d offset %d", e.Topic, e.Partition, e.Offset)
	}
	return fmt.Sprintf("task %v: operator %q panicked %s: %v", e.Task, e.Operator, where, e.Value)
}

// Error is what stopped a task, with the record that it worked on.
type Error struct {
	Task      plan.TaskID
	Topic     string // empty if a commit or a closing window ran
	Partition int32
	Offset    int64
	Err       error
}

func (e *Error) Error() string {
	if e.Topic == "" {
		return fmt.Sprintf("task %v: %v", e.Task, e.Err)
	}
	return fmt.Sprintf("task %v, %s-%d offset %d: %v", e.Task, e.Topic, e.Partition, e.Offset, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }
