package engine

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
)

var (
	// ErrUnknownStore: the topology has no such store.
	ErrUnknownStore = errors.New("no such store")
	// ErrNotRunning: queries are answered only once the state is restored.
	ErrNotRunning = errors.New("the engine is not running")
	// ErrNoApplication: the log has nothing of an application of this name.
	ErrNoApplication = errors.New("no such application")
)

// ChangedError says that the program is not the one that left the state.
type ChangedError struct {
	App     string
	Changes []string // one a line: what, before, now
	ChangePlan
}

func (e *ChangedError) Error() string {
	plan := e.ChangePlan.String()
	if plan != "" {
		plan = "; its stores and internal topics: " + plan
	}
	return fmt.Sprintf("%s does not fit the state that an earlier version left: %s%s; the two ways out: use a new application name, which begins anew on the same topics, or a new directory; removing the directory deletes the log in it, all records of its topics included",
		e.App, strings.Join(e.Changes, "; "), plan)
}

// PositionError says that the offsets of the application's group are not those
// of its position records, which one transaction writes both.
type PositionError struct {
	Task             string
	Topic            string
	Partition        int32
	Group, Committed int64 // -1: none
}

func (e *PositionError) Error() string {
	return fmt.Sprintf("task %s, %s-%d: the group's offset is %d, the position record says %d; the group was changed from outside: set it back, or remove the application's topics and begin anew",
		e.Task, e.Topic, e.Partition, e.Group, e.Committed)
}

// ConnectorPanicError is a panic of a connector, on the goroutine of its runner.
type ConnectorPanicError struct {
	Connector string // "source <name>" or "sink <name>"
	Value     any
	Stack     string
}

func (e *ConnectorPanicError) Error() string {
	return fmt.Sprintf("%s panicked, which is a mistake in the connector: %v\n%s", e.Connector, e.Value, e.Stack)
}

// ConnectorMistakeError is an error of a sink's Write that contradicts itself: it
// speaks of records that the Write did not have. What it acknowledged is
// unknown, so nothing of that Write is committed, and another attempt would
// bring the same.
type ConnectorMistakeError struct {
	Err error // what contradicts, and the connector's own error
}

func (e *ConnectorMistakeError) Error() string {
	return fmt.Sprintf("a mistake in the connector: %v", e.Err)
}

func (e *ConnectorMistakeError) Unwrap() error { return e.Err }

func stack() string { return string(debug.Stack()) }
