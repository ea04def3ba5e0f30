package alert

import (
	"math"
	"slices"
	"time"

	"github.com/millstream-io/millstream/streams"
)

// notices is one look at one key: a record, or its timer. It changes the key's
// state and sends what follows from that.
type notices[K, V any] struct {
	w  *watcher[K, V]
	c  *streams.Context[string, Event]
	k  K
	st *keyState
	at int64 // of the record or of the timer
	to int64 // in due: time goes on to it before another record comes

	accs []any // what Collect gathered for the notice that is sent
	gone bool  // the key is forgotten
}

// save puts the state back, or deletes one that says nothing, and sets the timer.
func (n *notices[K, V]) save() {
	w, st := n.w, n.st
	at := min(n.deadline(), n.nextRepeat())
	if n.gone || at == never && n.empty() {
		w.state.Delete(n.c, n.k)
		n.c.CancelTimer("due")
		return
	}
	if at != st.timer {
		if st.timer = at; at == never {
			n.c.CancelTimer("due")
		} else {
			n.c.SetTimer("due", moment(at))
		}
	}
	w.state.Put(n.c, n.k, st)
}

// empty reports whether the state says nothing that a new one would not.
func (n *notices[K, V]) empty() bool {
	return len(n.st.slices) == 0 && n.st.phase == idle && !n.w.watches()
}

// watches reports whether a key stays known without records.
func (r *rule) watches() bool { return r.absent > 0 || r.watchesEmpty() }

// watchesEmpty reports whether no records at all can fire the alert.
func (r *rule) watchesEmpty() bool {
	f := r.measure.number.fold
	return r.absent == 0 && r.measure.change == none && (f == count || f == sum) && holds(r.compare, 0, r.limit)
}

// incidents reports whether an alert goes on over windows; otherwise each window
// stands for itself.
func (r *rule) incidents() bool {
	return r.absent > 0 || !r.measure.tumbling || r.hyst || r.holdMS > 0 || r.repeatMS > 0 || r.resolved
}

// early reports whether records can only bring the number nearer to the limit, so
// that an alert fires with the record that reaches it.
func (r *rule) early() bool {
	if r.atClose || r.measure.change != none {
		return false
	}
	switch r.measure.number.fold {
	case count, sum, most:
		return r.compare == atLeast || r.compare == above || r.compare == beyond && r.measure.number.fold == count
	case least:
		return r.compare == atMost || r.compare == below
	}
	return false
}

// deadline is when something may change without a record; never if nothing can.
// What is repeated is no change.
func (n *notices[K, V]) deadline() int64 {
	w, st := n.w, n.st
	at := int64(never)
	switch {
	case w.absent > 0:
		if st.phase == idle {
			at = plus(st.last, w.absent.Milliseconds())
		}
	case w.measure.tumbling:
		if start, ok := n.toJudge(); ok {
			at = w.measure.windows.CloseMS(start)
		}
	default:
		at = n.nextSlide()
	}
	if st.phase == pending && (w.absent > 0 || !w.measure.tumbling) {
		at = min(at, plus(st.since, w.holdMS))
	}
	return min(at, n.forgetAt())
}

// forgetAt is when the key is forgotten; never if not.
func (n *notices[K, V]) forgetAt() int64 {
	if n.w.forgetMS == 0 || len(n.st.slices) > 0 {
		return never
	}
	return plus(n.st.last, n.w.forgetMS)
}

// nextRepeat is when the firing notice is repeated; never if not.
func (n *notices[K, V]) nextRepeat() int64 {
	if n.st.phase != firing {
		return never
	}
	return n.st.repeatAt
}

// due does what the timer was set for.
func (n *notices[K, V]) due() {
	w := n.w
	switch {
	case w.absent > 0:
		n.missed()
	case w.measure.tumbling:
		n.skipEmpty()
		for {
			start, ok := n.toJudge()
			if !ok || w.measure.windows.CloseMS(start) > n.at {
				break
			}
			n.judge(start)
		}
	default:
		n.slide()
		n.evaluate()
	}
	if n.nextRepeat() <= n.at && !n.skipRepeats() {
		n.again()
	}
	if n.forgetAt() <= n.at {
		n.forget()
	}
}

// forget makes the key unknown.
func (n *notices[K, V]) forget() {
	if n.st.phase == firing {
		m := n.st.was
		if n.w.absent > 0 {
			m = n.silence()
		}
		n.resolve(n.at, m)
	}
	n.gone = true
}

// hold takes note that the condition holds, from since on at least, as known up
// to now, in the span from start to end.
func (n *notices[K, V]) hold(since, now, start, end int64, m measured) {
	st := n.st
	if st.phase == idle {
		st.phase, st.since = pending, since
		st.start, st.end = start, end
	}
	if st.phase == pending && now >= plus(st.since, n.w.holdMS) {
		if !n.w.measure.tumbling && n.w.absent == 0 {
			st.start, st.end = start, end
		}
		st.phase = firing
		n.fire(m)
	}
}

// fire sends the first notice of an incident. One that begins with the same span
// as the last is the same one again: its notices are counted on.
func (n *notices[K, V]) fire(m measured) {
	st := n.st
	if st.lastStart != st.start {
		st.lastStart, st.number = st.start, 0
	}
	n.send(Firing, m, nil)
	n.planRepeat(n.at)
}

func (n *notices[K, V]) planRepeat(from int64) {
	n.st.repeatAt = never
	if n.w.repeatMS > 0 {
		n.st.repeatAt = plus(from, n.w.repeatMS)
	}
}

// again repeats the firing notice, with the number as it is now.
func (n *notices[K, V]) again() {
	m := n.st.was
	switch {
	case n.w.absent > 0:
		m = n.silence()
	case n.w.measure.tumbling:
		n.accs = n.accs[:0]
		if k := len(n.st.slices); k > 0 {
			s := &n.st.slices[k-1]
			m.count = s.n.count
			if v, ok := s.n.number(n.w.measure.number.fold); ok && n.w.measure.change == none {
				m.v = v
			}
			n.take(s.acc)
		}
	}
	n.send(Firing, m, nil)
	n.planRepeat(n.st.repeatAt)
}

// resolve ends a firing incident.
func (n *notices[K, V]) resolve(at int64, m measured) {
	st := n.st
	st.phase, st.repeatAt = idle, never
	if n.w.resolved {
		ends := told(max(at, st.since))
		n.send(Resolved, m, &ends)
	}
}

func (n *notices[K, V]) take(acc any) {
	if acc != nil {
		n.accs = append(n.accs, acc)
	}
}

func (n *notices[K, V]) send(s Status, m measured, ends *time.Time) {
	w, st := n.w, n.st
	st.number++
	e := Event{
		Kind: w.name, Status: s, Key: text(n.k),
		WindowStart: told(st.start), WindowEnd: told(st.end), StartsAt: told(st.since), EndsAt: ends,
		Value: m.v, Count: m.count, Number: int(st.number),
	}
	if math.IsNaN(e.Value) || math.IsInf(e.Value, 0) {
		e.Value = 0
	}
	for name, value := range w.labels {
		e.label(name, value)
	}
	if w.gather != nil && len(n.accs) > 0 {
		data, err := w.collector.json(n.accs, w.merge)
		if err != nil {
			n.c.Fail(err)
			return
		}
		e.Data = data
	}
	e.identify(n.c.Application())
	if w.finish != nil {
		w.finish(n.k, &e)
	}
	key := e.Key
	if w.groupOf != nil {
		key = w.groupOf(n.k)
	}
	n.c.ForwardAt(moment(n.at), key, e)
}

// sliceAt is the slice that starts there, made if there is none.
func (n *notices[K, V]) sliceAt(start int64) *slice {
	st := n.st
	i := len(st.slices)
	for i > 0 && st.slices[i-1].start > start {
		i--
	}
	if i > 0 && st.slices[i-1].start == start {
		return &st.slices[i-1]
	}
	fresh := slice{start: start, reached: never}
	if n.w.gather != nil {
		fresh.acc = n.w.collector.fresh()
	}
	st.slices = slices.Insert(st.slices, i, fresh)
	return &st.slices[i]
}

// add counts a record in a slice.
func (n *notices[K, V]) add(s *slice, v V) {
	x := 0.0
	if n.w.of != nil {
		x = n.w.of(v)
	}
	s.n.add(x, n.at)
	if n.w.gather != nil {
		n.w.gather.addTo(s.acc, n.k, v)
	}
	n.st.last, n.st.now = max(n.st.last, n.at), max(n.st.now, n.at)
}

// compared is the number, or its change from what was before.
func (r *rule) compared(now, before tally, known bool) measured {
	m := measured{count: now.count}
	m.v, m.ok = now.number(r.measure.number.fold)
	if r.measure.change == none || !m.ok {
		return m
	}
	was, ok := before.number(r.measure.number.fold)
	m.v, m.ok = m.v-was, ok && known
	if r.measure.change == relative {
		if was == 0 {
			m.v, m.ok = 0, false
		} else {
			m.v /= math.Abs(was)
		}
	}
	return m
}
