package op

import (
	"errors"

	"github.com/millstream-io/millstream/streams/internal/cache"
	"github.com/millstream-io/millstream/streams/processor"
	"github.com/millstream-io/millstream/streams/serde"
	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/topology"
	"github.com/millstream-io/millstream/streams/window"
)

// EmitMode says when an operator with state emits changes.
type EmitMode uint8

const (
	EmitOnCommit    EmitMode = iota // at each commit, each changed entry once
	EmitEveryUpdate                 // after each record
	EmitOnClose                     // once per window, when it closes
)

func (m EmitMode) String() string {
	return [...]string{"emit on commit", "emit every update", "emit on close"}[m]
}

// Step computes the next aggregate. a is the zero A if none exists yet.
type Step[K, V, A any] func(k K, v V, a A, exists bool) A

// Aggregate describes an operator with a store of values of type A.
type Aggregate[K, A any] struct {
	Node    topology.NodeID
	Store   string
	Keys    serde.Serde[K]
	Values  serde.Serde[A]
	Emit    EmitMode
	WantOld bool // something downstream asks for the old values
}

// stateful is what aggregates and tables share: keys as bytes and back, old
// values, who owns the memory of values.
type stateful[K, A any] struct {
	Aggregate[K, A]
	t       *Task
	store   int // index into SubTopology.Stores
	decode  serde.KeyDecoder[K]
	life    serde.Lifetime
	next    Changed[K, A]
	keyBuf  []byte
	oldBuf  []byte
	scratch []byte
}

func newStateful[K, A any](t *Task, a Aggregate[K, A], next Changed[K, A]) stateful[K, A] {
	return stateful[K, A]{
		Aggregate: a, t: t, store: t.store(a.Store), next: next,
		decode: serde.NewKeyDecoder(a.Keys), life: serde.LifetimeOf(a.Values),
	}
}

// key returns the encoded key: the raw one if there is one. nil: null.
func (s *stateful[K, A]) key(c *Ctx, k K) ([]byte, error) {
	if c.raw {
		return c.rawKey, nil
	}
	b, err := encode(s.Keys, &s.keyBuf, k)
	if err != nil {
		return nil, s.t.encodeError(s.Node, "key", err)
	}
	return b, nil
}

// usable returns the encoded key of a record; ok is false if it has a null key or
// value, which is counted, or after an error.
func (s *stateful[K, A]) usable(c *Ctx, k K) (key []byte, ok bool) {
	if c.null {
		s.t.dropped(s.Node)
		return nil, false
	}
	return s.usableKey(c, k)
}

// usableKey is usable for operators that take null values.
func (s *stateful[K, A]) usableKey(c *Ctx, k K) (key []byte, ok bool) {
	key, err := s.key(c, k)
	if err != nil {
		c.fail(err)
		return nil, false
	}
	if key == nil {
		s.t.dropped(s.Node)
		return nil, false
	}
	return key, true
}

// lastCommitted reads the value that the last commit left under a store's key.
func (s *stateful[K, A]) lastCommitted(storeKey []byte) (old A, ok bool, err error) {
	b, ok, err := s.t.host.Backend(s.store).Get(storeKey, s.oldBuf[:0])
	if err != nil || !ok {
		return old, false, err
	}
	s.oldBuf = b
	_, v, ok := state.SplitValue(b)
	if !ok {
		return old, false, errors.New("a stored value is shorter than its timestamp")
	}
	old, err = s.Values.Decode(v)
	if err != nil {
		return old, false, err
	}
	return s.Values.Own(old), true, nil
}

// emit sends a change that a commit or a close causes.
func (s *stateful[K, A]) emit(c *Ctx, key []byte, w window.Window, old, new A, ch Change, timestamp, streamTime int64) error {
	k, err := s.decode.Decode(key)
	if err != nil {
		return err
	}
	c.caused(timestamp, streamTime, key)
	s.next(c, k, w, old, new, ch)
	return c.take()
}

// update sends a change that the record in c causes, with its headers.
func (s *stateful[K, A]) update(c *Ctx, k K, key []byte, w window.Window, old, new A, ch Change, timestamp int64) {
	wasTimestamp, wasStreamTime, rawKey, raw, null := c.Timestamp, c.StreamTime, c.rawKey, c.raw, c.null
	c.Timestamp, c.StreamTime = timestamp, max(c.StreamTime, timestamp)
	c.rawKey, c.raw, c.null = key, true, false
	s.next(c, k, w, old, new, ch)
	c.Timestamp, c.StreamTime, c.rawKey, c.raw, c.null = wasTimestamp, wasStreamTime, rawKey, raw, null
}

// aggregate folds records into a key-value store.
type aggregate[K, V, A any] struct {
	stateful[K, A]
	kv   *cache.KV[A]
	step Step[K, V, A]
}

// NewAggregate builds an aggregate without windows.
func NewAggregate[K, V, A any](t *Task, a Aggregate[K, A], step Step[K, V, A], next Changed[K, A]) Next[K, V] {
	g := &aggregate[K, V, A]{stateful: newStateful(t, a, next), step: step}
	g.kv = cache.NewKV[A](t.host, g.store, a.Values, t.budget)
	holderOf[A](t, a.Node).kv = g.kv
	t.addState(g.Node, g)
	return g.process
}

func (g *aggregate[K, V, A]) process(c *Ctx, k K, v V) {
	key, ok := g.usable(c, k)
	if !ok {
		return
	}
	e, err := g.kv.FindOrCreate(key)
	if err != nil {
		c.fail(err)
		return
	}
	old, existed := e.Value, e.Exists()
	c.node = g.Node
	e.Value = g.step(k, v, old, existed)
	if g.life == serde.Borrowed {
		e.Value = g.Values.Own(e.Value)
	}
	e.TimestampMS = max(e.TimestampMS, c.Timestamp)
	g.kv.Changed(e)
	if g.Emit == EmitEveryUpdate {
		g.update(c, k, key, window.Window{}, old, e.Value, change(existed), e.TimestampMS)
	}
}

func change(hadOld bool) Change {
	if hadOld {
		return HasNew | HadOld
	}
	return HasNew
}

func (g *aggregate[K, V, A]) emitOnCommit(c *Ctx) error {
	return emitKV(&g.stateful, g.kv, c)
}

// emitKV emits the changed entries of a key-value store and makes their values
// its own.
func emitKV[K, A any](s *stateful[K, A], kv *cache.KV[A], c *Ctx) error {
	if s.Emit != EmitOnCommit && s.life == serde.Plain {
		return nil
	}
	return kv.Dirty(func(key []byte, e *cache.Entry[A]) error {
		if s.life == serde.Safe && e.Exists() {
			e.Value = s.Values.Own(e.Value)
		}
		if s.Emit != EmitOnCommit {
			return nil
		}
		var (
			old A
			had bool
			err error
		)
		if s.WantOld {
			if old, had, err = s.lastCommitted(key); err != nil {
				return err
			}
		}
		ch := change(had)
		if !e.Exists() {
			ch &^= HasNew
		}
		return s.emit(c, key, window.Window{}, old, e.Value, ch, e.TimestampMS, e.TimestampMS)
	})
}

func (g *aggregate[K, V, A]) flush() error { return g.kv.Flush() }
func (g *aggregate[K, V, A]) done()        { g.kv.Committed() }

func (g *aggregate[K, V, A]) usage() processor.Usage { return g.kv.Usage() }
