package streams

import (
	"errors"

	"github.com/millstream-io/millstream/streams/internal/op"
)

// Splitter deals a stream's records out to branches: each goes to the first
// branch that wants it.
type Splitter[K, V any] struct {
	from     *Stream[K, V]
	n        *node
	branches []branch[K, V]
	rest     *node
}

type branch[K, V any] struct {
	want func(k K, v V) bool
	n    *node
}

// Split begins to deal the stream out. Options: Named.
func (s *Stream[K, V]) Split(opts ...Option) *Splitter[K, V] {
	o := parse("Split", optNamed, opts)
	p := &Splitter[K, V]{from: s}
	p.n = s.b.operator("Split", &o, false, func(_ *node, t *op.Task) any { return p.make(t) }, s.n)
	return p
}

func (p *Splitter[K, V]) make(t *op.Task) any {
	bs := make([]op.Branch[K, V], len(p.branches))
	for i, b := range p.branches {
		bs[i] = op.Branch[K, V]{Want: b.want, Next: b.n.instance(t).(op.Next[K, V])}
	}
	rest := op.Fan[K, V](nil)
	if p.rest != nil {
		rest = p.rest.instance(t).(op.Next[K, V])
	}
	return op.Split(p.n.ID, bs, rest)
}

// Branch is the stream of the records that want is true for and that no earlier
// branch wanted. Options: Named.
func (p *Splitter[K, V]) Branch(want func(k K, v V) bool, opts ...Option) *Stream[K, V] {
	o := parse("Branch", optNamed, opts)
	s := p.child("Branch", &o)
	if want == nil {
		s.n.errs = append(s.n.errs, errors.New("its function is nil"))
	}
	p.branches = append(p.branches, branch[K, V]{want, s.n})
	return s
}

// Default is the stream of the records that no branch wants. Options: Named.
func (p *Splitter[K, V]) Default(opts ...Option) *Stream[K, V] {
	o := parse("Default", optNamed, opts)
	s := p.child("Default", &o)
	if p.rest != nil {
		s.n.errs = append(s.n.errs, errors.New("the split has a default branch already"))
	}
	p.rest = s.n
	return s
}

func (p *Splitter[K, V]) child(verb string, o *options) *Stream[K, V] {
	out := *p.from
	out.n = p.from.b.operator(verb, o, false, func(n *node, t *op.Task) any {
		return downstream[K, V](n, t)
	}, p.n)
	return &out
}
