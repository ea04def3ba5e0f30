package alert

// Conditions over tumbling windows. A record belongs to the window that holds its
// time, as long as that has not closed by the stream time that the record
// carries. Windows are judged when they close, one after the other; where the
// rule is early, a record that reaches the limit fires at once.

// intoWindow counts a record; false if it came too late.
func (n *notices[K, V]) intoWindow(v V) bool {
	w, st := n.w, n.st
	start := w.measure.windows.Last(n.at)
	if n.c.StreamTime().UnixMilli() >= w.measure.windows.CloseMS(start) || st.judged != never && start <= st.judged {
		return false
	}
	s := n.sliceAt(start)
	n.add(s, v)
	if s.reached != never || !w.early() {
		return true
	}
	m := w.compared(s.n, tally{}, true)
	if m.ok && holds(w.compare, m.v, w.limit) {
		s.reached = n.at
		n.reached(s, m)
	} else if st.phase == firing && m.ok {
		st.was = m
	}
	return true
}

// reached acts on a window that has come to its limit before it closes.
func (n *notices[K, V]) reached(s *slice, m measured) {
	w, st := n.w, n.st
	n.accs = n.accs[:0]
	n.take(s.acc)
	end := plus(s.start, w.measure.sliceMS)
	if !w.incidents() {
		st.since, st.start, st.end = s.reached, s.start, end
		s.fired = true
		st.number = 0
		n.send(Firing, m, nil)
		return
	}
	switch {
	case st.phase == idle:
		n.hold(s.reached, n.at, s.start, end, m)
	case st.phase == pending && (s.start == st.start || st.judged != never && s.start == plus(st.judged, w.measure.sliceMS)):
		n.hold(s.reached, n.at, s.start, end, m) // all windows in between have held
	}
}

// toJudge is the next window to judge.
func (n *notices[K, V]) toJudge() (start int64, ok bool) {
	w, st := n.w, n.st
	if st.judged != never && (st.phase != idle || w.watchesEmpty() || w.measure.change != none && st.before.count > 0) {
		start = plus(st.judged, w.measure.sliceMS)
		if st.phase != idle && start < st.start { // what is before the incident says nothing of it
			start = st.start
			if len(st.slices) > 0 {
				start = min(start, st.slices[0].start)
			}
		}
		return start, true
	}
	if len(st.slices) > 0 {
		return st.slices[0].start, true
	}
	return 0, false
}

// judge closes a window: what it says now is final.
func (n *notices[K, V]) judge(start int64) {
	w, st := n.w, n.st
	var s slice
	s.reached = never
	if len(st.slices) > 0 && st.slices[0].start == start {
		s = st.slices[0]
		st.slices = append(st.slices[:0], st.slices[1:]...)
		clear(st.slices[len(st.slices) : len(st.slices)+1]) // lets go of what it gathered
	}
	m := w.compared(s.n, st.before, st.before.count > 0)
	st.judged, st.before = start, s.n
	bad := m.ok && holds(w.compare, m.v, w.limit)
	end := plus(start, w.measure.sliceMS)
	n.accs = n.accs[:0]
	n.take(s.acc)
	if !w.incidents() {
		if bad && !s.fired {
			st.since, st.start, st.end, st.number = start, start, end, 0
			n.send(Firing, m, nil)
		}
		return
	}
	switch {
	case st.phase == idle && bad:
		since := start
		if s.reached != never {
			since = s.reached
		}
		n.hold(since, end, start, end, m)
	case st.phase == idle || start < st.start:
	case st.phase == pending && bad:
		n.hold(st.since, end, st.start, st.end, m)
	case st.phase == pending:
		st.phase = idle
	case m.ok && holds(w.untilOp, m.v, w.until):
		st.was = m
	default:
		n.resolve(end, m)
	}
	n.next()
}

// next begins an incident in the first open window that has reached the limit, if
// there is no incident.
func (n *notices[K, V]) next() {
	for i := range n.st.slices {
		s := &n.st.slices[i]
		if n.st.phase == idle && s.reached != never {
			n.reached(s, n.w.compared(s.n, tally{}, true))
		}
	}
}
