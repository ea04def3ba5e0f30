package streams

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/millstream-io/millstream/streams/internal/op"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/serde"
)

// Option is an optional argument of a verb. An option that a verb has no use for
// is a mistake that Build reports.
type Option struct {
	kind  optionKind
	value any
}

type optionKind uint32

const (
	optNamed optionKind = 1 << iota
	optStore
	optEmit
	optKeys
	optValues
	optEventTime
	optPartitioner
	optPartitions
	optKeepLate
	optNoChangelog
	optFormerName
	optUses
	optOnTimer
	optEvery
	optWaitForAll
	optEndOfInput
	optDetail
	optMistake
	optNothing // no option at all
)

// repeatable options may be given more than once: their values are kept as a []any.
const repeatable = optUses | optOnTimer | optDetail

var optionNames = map[optionKind]string{
	optNamed: "Named", optStore: "Store", optEmit: "Emit...", optKeys: "Keys", optValues: "Values",
	optEventTime: "EventTime", optPartitioner: "Partitioner", optPartitions: "Partitions",
	optKeepLate: "KeepLate", optNoChangelog: "NoChangelog", optFormerName: "FormerName",
	optUses: "Uses", optOnTimer: "OnTimer", optEvery: "Every", optWaitForAll: "WaitForAll",
	optEndOfInput: "EndOfInput", optDetail: "Detail", optMistake: "Mistake",
}

// Named gives the operator its name, which errors, metrics and internal topics
// use. Default: the store's name, or verb and number.
func Named(name string) Option { return Option{optNamed, name} }

// Store names the state of an aggregate or table: its changelog topic is
// <app>-<name>-changelog, and queries ask for it. Every state needs a name.
func Store(name string) Option { return Option{optStore, name} }

// EmitOnCommit emits, at each commit, the entries that changed since the last,
// each once. The default.
func EmitOnCommit() Option { return Option{optEmit, op.EmitOnCommit} }

// EmitEveryUpdate emits after every record.
func EmitEveryUpdate() Option { return Option{optEmit, op.EmitEveryUpdate} }

// EmitOnClose emits each window's result once, when stream time reaches its end
// plus grace. Of windowed aggregates only.
func EmitOnClose() Option { return Option{optEmit, op.EmitOnClose} }

// Keys sets the serde of the keys.
func Keys[K any](s serde.Serde[K]) Option { return Option{optKeys, s} }

// Values sets the serde of the values.
func Values[V any](s serde.Serde[V]) Option { return Option{optValues, s} }

// EventTime, of From and Table, takes the event time from the record instead of its
// timestamp in the log. It must be a function of its arguments alone.
func EventTime[K, V any](fn func(k K, v V) time.Time) Option {
	if fn == nil {
		return Option{optEventTime, op.Extractor[K, V](nil)}
	}
	return Option{optEventTime, op.Extractor[K, V](func(k K, v V) int64 {
		if t := fn(k, v); t.Year() >= 1 && t.Year() <= 9999 {
			return t.UnixMilli()
		}
		return processor.NoTime // out of every range: a bad record
	})}
}

// Partitioner, of To and Repartition, chooses the partition, 0 <= p < partitions.
// Default: by the key's bytes (murmur2), as Kafka does; without a key in turn.
func Partitioner[K, V any](fn func(k K, v V, partitions int32) int32) Option {
	return Option{optPartitioner, op.Partitioner[K, V](fn)}
}

// Partitions, of Repartition and GroupBy, is the number of partitions of the
// repartition topic. Default: that of the widest input.
func Partitions(n int32) Option { return Option{optPartitions, n} }

// KeepLate sends a windowed aggregate's late records, and those that a function of
// Process calls late, to the dead-letter topic.
// Default: they are only counted.
func KeepLate() Option { return Option{optKeepLate, true} }

// NoChangelog keeps the state out of the log, in the local directory alone. It
// survives a stop that was asked for. After a crash, or without the directory, it
// begins empty, while the input goes on from where it was committed: for state
// that may be lost, such as what is only there to save work. What else the task
// keeps is rebuilt from its changelogs then.
func NoChangelog() Option { return Option{optNoChangelog, true} }

// FormerName, beside a new name, says under which one the state was kept: the
// program goes on with it. It stays where it is, in topics named after the former
// name, but queries, metrics and errors know the new one only. The option stays in
// the program for as long as the state is kept; after a second renaming too it is
// the first name, as the topics say.
//
// Of the verbs with Store, and of NewState, it is the store's former name, and
// that of the repartition topic that is named after the store. Of Process and
// ProcessValues with timers or state it is the operator's (Named): of its timers
// and its repartition topic.
func FormerName(name string) Option { return Option{optFormerName, name} }

// Detail, of Process and ProcessValues, is what the function does in words, for
// Describe and the fingerprint: state that a program keeps is refused by one whose
// details are others.
func Detail(text string) Option { return Option{optDetail, text} }

// Mistake, of any verb, is a mistake that Build reports with the operator's name:
// for packages that make verbs of their own out of these. A nil error is none.
func Mistake(err error) Option {
	if err == nil {
		return Option{kind: optNothing}
	}
	return Option{optMistake, err}
}

// options are a verb's options, taken apart.
type options struct {
	given optionKind
	value map[optionKind]any
	errs  []error
}

func parse(verb string, allowed optionKind, opts []Option) options {
	o := options{value: map[optionKind]any{}}
	for _, x := range opts {
		switch {
		case x.kind == 0:
			o.errs = append(o.errs, errors.New("an option is empty"))
		case x.kind == optNothing:
		case x.kind == optMistake:
			o.errs = append(o.errs, x.value.(error))
		case x.kind&allowed == 0:
			o.errs = append(o.errs, fmt.Errorf("option %s does not belong to %s", optionNames[x.kind], verb))
		case x.kind&repeatable != 0:
			o.given |= x.kind
			list, _ := o.value[x.kind].([]any)
			o.value[x.kind] = append(list, x.value)
		case o.given&x.kind != 0:
			o.errs = append(o.errs, fmt.Errorf("option %s is given twice", optionNames[x.kind]))
		default:
			o.given |= x.kind
			o.value[x.kind] = x.value
		}
	}
	return o
}

func (o *options) string(k optionKind) string {
	s, _ := o.value[k].(string)
	return s
}

// kept is the name under which the state called name is kept: its former one, if
// FormerName gives one. A mistake in that is noted.
func (o *options) kept(name string) string {
	if o.given&optFormerName == 0 {
		return name
	}
	former := o.string(optFormerName)
	switch err := checkName(former); {
	case err != nil:
		o.errs = append(o.errs, fmt.Errorf("FormerName: %w", err))
		return name
	case former == name:
		o.errs = append(o.errs, fmt.Errorf("FormerName: %q is its name now", name))
	}
	return former
}

// alias is name where it differs from the name under which the state is kept.
func alias(name, kept string) string {
	if name == kept {
		return ""
	}
	return name
}

// typed returns the option's value as a T; ok is false if it was not given. The
// wrong type is a mistake.
func typed[T any](o *options, k optionKind) (v T, ok bool) {
	x, given := o.value[k]
	if !given {
		return v, false
	}
	v, ok = x.(T)
	if !ok {
		o.errs = append(o.errs, fmt.Errorf("option %s is for other types: it is a %T, expected a %v", optionNames[k], x, reflect.TypeFor[T]()))
	}
	return v, ok
}

// serdeOf is a serde that may be missing; that matters only where bytes are made.
type serdeOf[T any] struct {
	s   serde.Serde[T]
	err error
}

func (s serdeOf[T]) name() string {
	if s.s == nil {
		return ""
	}
	return s.s.Name()
}

// serdeFor takes the option's serde, else the one of the type.
func serdeFor[T any](b *Builder, o *options, k optionKind) serdeOf[T] {
	if s, ok := typed[serde.Serde[T]](o, k); ok {
		return serdeOf[T]{s: s}
	}
	s, err := serde.For[T](&b.registry)
	return serdeOf[T]{s, err}
}

// override takes the option's serde, else old.
func override[T any](o *options, k optionKind, old serdeOf[T]) serdeOf[T] {
	if s, ok := typed[serde.Serde[T]](o, k); ok {
		return serdeOf[T]{s: s}
	}
	return old
}

// need reports a missing serde.
func need[T any](o *options, what string, s serdeOf[T]) {
	if s.err != nil {
		o.errs = append(o.errs, fmt.Errorf("%s: %w", what, s.err))
	}
}
