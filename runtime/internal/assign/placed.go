package assign

import (
	"cmp"
	"slices"
)

// place decides who runs the stateful units now: who is wanted if it has caught
// up, and otherwise who has.
func (d *dealing) place(stateful []int) {
	running := make([]int, len(d.members))
	var open []int
	for _, u := range stateful {
		w, o := d.wanted[u], d.owner[u]
		switch {
		case d.lag[w][u] == 0:
			d.runs[u] = w
		case o >= 0 && d.lag[o][u] == 0:
			d.runs[u] = o
		default:
			open = append(open, u)
			continue
		}
		running[d.runs[u]]++
	}
	for _, u := range open {
		d.runs[u] = d.mostCaughtUp(u, running)
		running[d.runs[u]]++
	}
}

// mostCaughtUp is the member that has a unit whose wanted member and whose owner
// have not caught up. An owner that is at it already goes on, unless somebody
// has less than half of the way left.
func (d *dealing) mostCaughtUp(u int, running []int) int {
	w, o := d.wanted[u], d.owner[u]
	best := 0
	for i := range d.members {
		if cmp.Or(
			cmp.Compare(d.lag[i][u], d.lag[best][u]),
			d.perCapacity(running[i]+1, i, running[best]+1, best),
		) < 0 {
			best = i
		}
	}
	least := d.lag[best][u]
	switch {
	case least == noLag:
		return w // nobody has anything
	case o >= 0 && d.lag[o][u]/2 <= least:
		return o
	case d.lag[w][u] == least:
		return w
	}
	return best
}

// standBy chooses the standbys of each stateful unit, and what warms up.
func (d *dealing) standBy(stateful []int, standbys int) {
	each := max(0, min(standbys, len(d.members)-1))
	s := newStandbys(d, stateful, each)
	s.keep()
	s.fill()
	s.even()
	s.swapForCaughtUp()
	d.warmUp(stateful, func(u int) []int { return []int{d.wanted[u]} })
	d.warmUp(stateful, func(u int) []int { return s.later[u] })
}

// warmUp makes members that shall have a unit begin to copy its state: least lag
// first, so that what has begun goes on.
func (d *dealing) warmUp(stateful []int, who func(u int) []int) {
	type wish struct{ member, unit int }
	var wishes []wish
	for _, u := range stateful {
		for _, i := range who(u) {
			if d.copies[i][u] == isNothing {
				wishes = append(wishes, wish{i, u})
			}
		}
	}
	slices.SortStableFunc(wishes, func(a, b wish) int { return cmp.Compare(d.lag[a.member][a.unit], d.lag[b.member][b.unit]) })
	for _, w := range wishes {
		if d.warm[w.member] < MaxWarmups {
			d.warm[w.member]++
			d.copies[w.member][w.unit] = isWarmup
		}
	}
}

// choice is the standbys of all units in the making.
type choice struct {
	*dealing
	units []int
	each  int   // standbys of a unit
	share []int // by member
	has   []int // by member
	count map[int]int
	later map[int][]int // by unit: who shall be a standby once it has caught up
}

func newStandbys(d *dealing, units []int, each int) *choice {
	s := &choice{dealing: d, units: units, each: each, has: make([]int, len(d.members)), count: map[int]int{}, later: map[int][]int{}}
	state := make([]int, len(d.members))
	for _, u := range units {
		for i := range d.members {
			if d.lag[i][u] != noLag && d.copies[i][u] == isNothing {
				state[i]++
			}
		}
	}
	s.share = d.shares(each*len(units), make([]int, len(d.members)), state)
	return s
}

func (s *choice) add(i, u int) {
	s.copies[i][u] = isStandby
	s.has[i]++
	s.count[u]++
}

func (s *choice) remove(i, u int) {
	s.copies[i][u] = isNothing
	s.has[i]--
	s.count[u]--
}

// keep lets members with state be standbys, within their shares.
func (s *choice) keep() {
	type holder struct{ member, unit int }
	var holders []holder
	for _, u := range s.units {
		for i := range s.members {
			if s.lag[i][u] != noLag && s.copies[i][u] == isNothing {
				holders = append(holders, holder{i, u})
			}
		}
	}
	slices.SortStableFunc(holders, func(a, b holder) int { return cmp.Compare(s.lag[a.member][a.unit], s.lag[b.member][b.unit]) })
	for _, h := range holders {
		if s.count[h.unit] < s.each && s.has[h.member] < s.share[h.member] {
			s.add(h.member, h.unit)
		}
	}
}

// fill finds the standbys that are missing, where there are fewest.
func (s *choice) fill() {
	for _, u := range s.units {
		for s.count[u] < s.each {
			best := -1
			for i := range s.members {
				if s.copies[i][u] == isNothing && (best < 0 || s.perCapacity(s.has[i]+1, i, s.has[best]+1, best) < 0) {
					best = i
				}
			}
			s.add(best, u)
		}
	}
}

// even moves standbys from members above their share to members below it.
func (s *choice) even() {
	for from := range s.members {
		for _, u := range s.units {
			if s.has[from] <= s.share[from] {
				break
			}
			if s.copies[from][u] != isStandby {
				continue
			}
			for to := range s.members {
				if s.has[to] < s.share[to] && s.copies[to][u] == isNothing {
					s.remove(from, u)
					s.add(to, u)
					break
				}
			}
		}
	}
}

// swapForCaughtUp keeps a standby that has caught up until the one that shall be
// in its place has caught up too.
func (s *choice) swapForCaughtUp() {
	for _, u := range s.units {
		for to := range s.members {
			if s.copies[to][u] != isStandby || s.lag[to][u] == 0 {
				continue
			}
			for i := range s.members {
				if s.lag[i][u] == 0 && s.copies[i][u] == isNothing {
					s.remove(to, u)
					s.add(i, u)
					s.later[u] = append(s.later[u], to)
					break
				}
			}
		}
	}
}
