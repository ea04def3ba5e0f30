package alert

import "math"

// Jumps of time: a record that carries a far later time than those before it, or
// the first after a long silence. What a rule would tell again and again in
// between is told once; what cannot change anything is passed over.

// mostMissed is how many repeats, or empty windows, are told one by one where time
// passes them at once.
const mostMissed = 1000

// skipRepeats puts off a repeat that is due, where time passes more than
// mostMissed of them at once, to the last of them.
func (n *notices[K, V]) skipRepeats() bool {
	st := n.st
	to := min(n.to, plus(n.deadline(), -1)) // what changes then comes first
	missed := plus(to, -st.repeatAt) / n.w.repeatMS
	if missed < mostMissed {
		return false
	}
	st.repeatAt += missed * n.w.repeatMS
	return true
}

// skipEmpty passes over the empty windows that are next to be judged, where time
// closes more than mostMissed of them at once, up to the last of them, or up to
// the one with which the condition has held for For.
//
// Invariant: those windows would change nothing in the state but judged, before
// and was, which become what they would have become.
func (n *notices[K, V]) skipEmpty() {
	w, st := n.w, n.st
	next, ok := n.toJudge()
	if !ok || st.judged == never {
		return
	}
	windows, size := &w.measure.windows, w.measure.sliceMS
	last := windows.Last(plus(min(n.to, n.forgetAt()), -size-windows.GraceMS()))
	if len(st.slices) > 0 {
		last = min(last, st.slices[0].start-size)
	}
	if plus(last, -next)/size < mostMissed {
		return
	}
	m := w.compared(tally{}, tally{}, true)
	switch {
	case w.measure.change != none: // the first empty window ends it
		return
	case !w.incidents():
	case st.phase == pending && holds(w.compare, m.v, w.limit) && m.ok:
		last = min(last, windows.Last(plus(st.since, w.holdMS-1)))
	case st.phase == firing && holds(w.untilOp, m.v, w.until) && m.ok:
		st.was = m
	default: // something begins or ends with the next window
		return
	}
	if last > next {
		st.judged, st.before = last-size, tally{}
	}
}

// plus adds, up to the ends of time.
func plus(a, b int64) int64 {
	switch {
	case b > 0 && a > math.MaxInt64-b:
		return math.MaxInt64
	case b < 0 && a < math.MinInt64-b:
		return math.MinInt64
	}
	return a + b
}
