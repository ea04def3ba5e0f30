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
	// ErrRestoring: the state that was asked for is being restored or moved; the same
	// question may be answered later. The error is a *RestoringError.
	ErrRestoring = errors.New("its state is being restored")
	// ErrNoEndpoint: the instance that runs a task tells nobody where it answers
	// (Config.Advertise).
	ErrNoEndpoint = errors.New("it advertises no endpoint: set Config.Advertise there to the HOST:PORT of its HTTP server")
	// ErrNoApplication: the log has nothing of an application of this name.
	ErrNoApplication = errors.New("no such application")
)

// ChangedError says that the program is not the one that left the state.
type ChangedError struct {
	App     string
	Changes []string // one a line: what, before, now
	Cluster bool     // it is on a cluster, which other programs use as well
	ChangePlan
}

func (e *ChangedError) Error() string {
	plan := e.ChangePlan.String()
	if plan != "" {
		plan = "; its stores and internal topics: " + plan
	}
	if e.Cluster {
		return fmt.Sprintf("%s does not fit the state that an earlier version, or another program of this name, left on the cluster: %s%s; the two ways out: use a new application name, which begins anew on the same topics, or stop all its instances and delete its group and the topics that begin with %s-",
			e.App, strings.Join(e.Changes, "; "), plan, e.App)
	}
	return fmt.Sprintf("%s does not fit the state that an earlier version left: %s%s; the two ways out: use a new application name, which begins anew on the same topics, or a new directory; removing the directory deletes the log in it, all records of its topics included",
		e.App, strings.Join(e.Changes, "; "), plan)
}

// RestoringError says that a task answers no query for the moment. It is
// ErrRestoring.
type RestoringError struct {
	Task     string
	Instance string // that has it or gets it; empty: not known yet
}

func (e *RestoringError) Error() string {
	if e.Instance == "" {
		return fmt.Sprintf("no instance runs task %s at the moment: %v", e.Task, ErrRestoring)
	}
	return fmt.Sprintf("task %s on instance %s: %v", e.Task, e.Instance, ErrRestoring)
}

func (e *RestoringError) Is(target error) bool { return target == ErrRestoring }

// UnreachableError says that another instance, whose state a query needs, did not
// answer. The group may not know yet that it is gone.
type UnreachableError struct {
	Instance string
	Endpoint string // HOST:PORT; empty: it has none
	Err      error
}

func (e *UnreachableError) Error() string {
	if e.Endpoint == "" {
		return fmt.Sprintf("instance %s cannot be asked: %v", e.Instance, e.Err)
	}
	return fmt.Sprintf("instance %s at %s did not answer: %v", e.Instance, e.Endpoint, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

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
