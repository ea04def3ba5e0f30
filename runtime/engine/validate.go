package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/millstream-io/millstream/runtime/internal/task"
	"github.com/millstream-io/millstream/streams/topology"
)

// embeddedDir is the directory of Config.Log.
func (c *Config) embeddedDir() (string, bool) { return strings.CutPrefix(c.Log, "embedded:") }

// withDefaults fills in what the zero value stands for.
func (c Config) withDefaults() Config {
	def(&c.Log, "embedded:data")
	def(&c.Flush, "commit")
	def(&c.Guarantee, "exactly_once")
	def(&c.OnBadRecord, "dead-letter")
	def(&c.OnPanic, "stop")
	c.partitionsGiven = c.Partitions != 0
	def(&c.Workers, runtime.GOMAXPROCS(0))
	def(&c.Partitions, 4)
	def(&c.CommitInterval, 100*time.Millisecond)
	def(&c.CheckpointInterval, 5*time.Second)
	def(&c.CacheBytes, 64<<20)
	def(&c.UncheckpointedBytes, 64<<20)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Sources, c.Sinks = slices.Clone(c.Sources), slices.Clone(c.Sinks)
	for i := range c.Sources {
		c.Sources[i].Retry = c.Sources[i].Retry.withDefaults("stop")
	}
	for i := range c.Sinks {
		c.Sinks[i].Retry = c.Sinks[i].Retry.withDefaults("dead-letter")
	}
	if dir, ok := c.embeddedDir(); ok && c.StateDir == "" && !c.InMemoryState {
		c.StateDir = filepath.Join(dir, "state")
	}
	if !c.InMemoryState {
		def(&c.StateDir, filepath.Join("data", "state")) // as beside the default log
	}
	return c
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// validate reports every problem of a configuration with its defaults filled in.
func (c *Config) validate(topo *topology.Topology) error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case topo == nil:
		add("the topology is nil: pass what Build of a streams.Builder returned, and look at its error first")
	case topo.Name == "":
		add("the topology has no name: it is the prefix of all that it keeps in the log")
	}
	if err := c.validateLog(); err != nil {
		errs = append(errs, err)
	}
	c.validateAdvertise(add)
	if err := c.validateListen(); err != nil {
		errs = append(errs, err)
	}
	oneOf(add, "Flush", c.Flush, "commit", "os")
	oneOf(add, "Guarantee", c.Guarantee, "exactly_once", "at_least_once")
	oneOf(add, "OnBadRecord", c.OnBadRecord, "dead-letter", "skip", "stop")
	oneOf(add, "OnPanic", c.OnPanic, "stop", "dead-letter", "skip", "retry")
	if c.Workers < 0 {
		add("Workers is %d, expected 1 or more", c.Workers)
	}
	if c.Partitions < 0 {
		add("Partitions is %d, expected 1 or more", c.Partitions)
	}
	for name, d := range map[string]time.Duration{
		"CommitInterval": c.CommitInterval, "CheckpointInterval": c.CheckpointInterval, "IdleAfter": c.IdleAfter, "MaxTaskIdle": c.MaxTaskIdle,
	} {
		if d < 0 {
			add("%s is %v, expected 0 or more", name, d)
		}
	}
	if c.CacheBytes < 0 || c.UncheckpointedBytes < 0 {
		add("CacheBytes and UncheckpointedBytes are %d and %d, expected 0 or more", c.CacheBytes, c.UncheckpointedBytes)
	}
	names := map[string]bool{}
	for i, s := range c.Sources {
		if s.Name == "" || s.Topic == "" || s.Source == nil {
			add("source %d needs Name, Topic and Source", i)
		}
		if names["source/"+s.Name] {
			add("two sources are called %q", s.Name)
		}
		names["source/"+s.Name] = true
		s.Retry.validate(add, "source "+s.Name, "stop")
	}
	for i, s := range c.Sinks {
		if s.Name == "" || s.Topic == "" || s.Sink == nil {
			add("sink %d needs Name, Topic and Sink", i)
		}
		if names["sink/"+s.Name] {
			add("two sinks are called %q", s.Name)
		}
		names["sink/"+s.Name] = true
		s.Retry.validate(add, "sink "+s.Name, "dead-letter", "stop")
	}
	return errors.Join(errs...)
}

func oneOf(add func(string, ...any), name, have string, want ...string) {
	for _, w := range want {
		if have == w {
			return
		}
	}
	add("%s is %q, expected one of %s", name, have, strings.Join(want, ", "))
}

func (c *Config) badRecord() task.Action {
	return map[string]task.Action{"dead-letter": task.DeadLetter, "skip": task.Skip, "stop": task.Stop}[c.OnBadRecord]
}

// lateAction follows OnBadRecord, but a late record never stops the run.
func (c *Config) lateAction() task.Action {
	if c.OnBadRecord == "skip" {
		return task.Skip
	}
	return task.DeadLetter
}
