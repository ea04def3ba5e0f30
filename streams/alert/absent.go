package alert

// The absence of records.

// seen takes note of a record: an alert that goes on is over.
func (n *notices[K, V]) seen(v V) bool {
	w, st := n.w, n.st
	if n.at > st.last {
		n.accs = n.accs[:0]
		n.take(st.acc)
		switch st.phase {
		case firing:
			n.resolve(n.at, n.silence())
			st.acc = nil
		case pending:
			st.phase = idle
		}
		st.last, st.now = n.at, max(st.now, n.at)
	}
	if w.gather != nil {
		if st.acc == nil {
			st.acc = w.collector.fresh()
		}
		w.gather.addTo(st.acc, n.k, v)
	}
	return true
}

// missed judges the absence as it is now.
func (n *notices[K, V]) missed() {
	w, st := n.w, n.st
	since := plus(st.last, w.absent.Milliseconds())
	if st.phase == firing || n.at < since {
		return
	}
	n.accs = n.accs[:0]
	n.take(st.acc)
	n.hold(since, n.at, st.last, since, n.silence())
}

// silence is the number of seconds without a record, up to now.
func (n *notices[K, V]) silence() measured {
	return measured{v: (float64(n.at) - float64(n.st.last)) / 1000, ok: true}
}
