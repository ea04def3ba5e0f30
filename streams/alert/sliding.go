package alert

// Conditions over the last d. The time of a key is the greatest that it has seen,
// of its records and its timers. With every record, and whenever a slice leaves
// the last d, the condition is judged.

// floor is where the slice that holds the time begins.
func (m *Measure) floor(at int64) int64 {
	r := at % m.sliceMS
	if r < 0 {
		r += m.sliceMS
	}
	return plus(at, -r)
}

// kept is how many slices are kept: those of the last d, and for a change those
// of the d before.
func (m *Measure) kept() int64 {
	if m.change != none {
		return 2 * m.slices
	}
	return m.slices
}

// oldest is where the last slice begins that has left the last n at a time.
func (m *Measure) oldest(at, n int64) int64 { return plus(m.floor(at), -n*m.sliceMS) }

// intoSlice counts a record; false if it is older than what is kept.
func (n *notices[K, V]) intoSlice(v V) bool {
	m, st := &n.w.measure, n.st
	start := m.floor(n.at)
	if start <= m.oldest(st.now, m.kept()) {
		return false
	}
	n.add(n.sliceAt(start), v)
	n.at = st.now
	n.slide()
	n.evaluate()
	return true
}

// slide drops the slices that are older than what is kept.
func (n *notices[K, V]) slide() {
	m, st := &n.w.measure, n.st
	oldest := m.oldest(st.now, m.kept())
	i := 0
	for i < len(st.slices) && st.slices[i].start <= oldest {
		i++
	}
	if i > 0 {
		k := copy(st.slices, st.slices[i:])
		clear(st.slices[k:])
		st.slices = st.slices[:k]
	}
}

// warm is the time from which on what is kept is wholly in the key's life, as far
// as the condition needs it.
func (n *notices[K, V]) warm() int64 {
	m := &n.w.measure
	if m.change == none && !n.w.watchesEmpty() {
		return n.st.first
	}
	return plus(m.floor(n.st.first), (m.kept()-1)*m.sliceMS)
}

// evaluate judges the last d as it is at the key's time.
func (n *notices[K, V]) evaluate() {
	w, st := n.w, n.st
	var now, before tally
	fold := w.measure.number.fold
	oldest := w.measure.oldest(st.now, w.measure.slices)
	n.accs = n.accs[:0]
	for i := range st.slices {
		if s := &st.slices[i]; s.start <= oldest {
			before.merge(&s.n, fold)
		} else {
			now.merge(&s.n, fold)
			n.take(s.acc)
		}
	}
	m := w.compared(now, before, before.count > 0)
	m.ok = m.ok && st.now >= n.warm()
	bad := m.ok && holds(w.compare, m.v, w.limit)
	st.was = m
	switch {
	case st.phase != firing && bad:
		n.hold(st.now, st.now, plus(st.now, -w.measure.over.Milliseconds()), st.now, m)
	case st.phase == pending:
		st.phase = idle
	case st.phase == firing && !(m.ok && holds(w.untilOp, m.v, w.until)):
		n.resolve(st.now, m)
	}
}

// falls reports whether the number can only get further from the limit while time
// goes by without records.
func (r *rule) falls() bool {
	if r.measure.change != none {
		return false
	}
	switch r.measure.number.fold {
	case count, most:
		return r.compare == atLeast || r.compare == above
	case least:
		return r.compare == atMost || r.compare == below
	}
	return false
}

// nextSlide is when the number may change without a record, or when nothing is
// left of the key.
func (n *notices[K, V]) nextSlide() int64 {
	w, st := n.w, n.st
	m := &w.measure
	if len(st.slices) > 0 && st.phase == idle && w.falls() {
		return plus(st.slices[len(st.slices)-1].start, m.kept()*m.sliceMS)
	}
	at := int64(never)
	if warm := n.warm(); warm > st.now {
		at = warm
	}
	for slices := m.slices; slices <= m.kept(); slices += m.slices {
		for i := range st.slices {
			if t := plus(st.slices[i].start, slices*m.sliceMS); t > st.now {
				at = min(at, t)
				break
			}
		}
	}
	return at
}
