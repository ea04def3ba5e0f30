package assign

import (
	"cmp"
	"slices"
)

// perCapacity compares a units on member i with b units on member j.
func (d *dealing) perCapacity(a, i, b, j int) int {
	return cmp.Compare(int64(a)*int64(d.members[j].Capacity), int64(b)*int64(d.members[i].Capacity))
}

// shares deals seats one after another, each to the member that has then fewest
// per capacity, counting those it has from before. Among equals it goes to one
// that can keep something with it: has says how much that is.
func (d *dealing) shares(seats int, before, has []int) []int {
	share := make([]int, len(d.members))
	for range seats {
		best := 0
		for i := 1; i < len(share); i++ {
			order := d.perCapacity(before[i]+share[i]+1, i, before[best]+share[best]+1, best)
			if order < 0 || order == 0 && has[i] > share[i] && has[best] <= share[best] {
				best = i
			}
		}
		share[best]++
	}
	return share
}

// want decides who shall have the units of a class (all stateful, or all
// stateless ones) once everybody has caught up: by shares, with the fewest moves,
// and those preferably to where the state is.
func (d *dealing) want(class []int) {
	has := make([]int, len(d.members))
	for _, u := range class {
		if o := d.owner[u]; o >= 0 {
			has[o]++
		}
	}
	share := d.shares(len(class), d.load, has)
	room := make([]int, len(d.members)) // below 0: so many must go
	for i := range room {
		room[i] = share[i] - has[i]
	}
	var free []int
	for _, u := range class {
		if o := d.owner[u]; o >= 0 {
			d.take(u, o)
		} else {
			free = append(free, u)
		}
	}
	d.orderByChoice(free, room)
	for _, u := range free {
		i := d.bestFor(u, room)
		d.take(u, i)
		room[i]--
	}
	for {
		to := d.neediest(room)
		if to < 0 {
			return
		}
		u := d.bestMove(class, to, room)
		from := d.wanted[u]
		d.load[from]--
		d.kin[from][d.family[u]]--
		room[from]++
		d.take(u, to)
		room[to]--
	}
}

// take notes that a unit is wanted on a member.
func (d *dealing) take(u, i int) {
	d.wanted[u] = i
	d.load[i]++
	d.kin[i][d.family[u]]++
}

// orderByChoice puts units first that few members with room have caught up with,
// and those last that none has: whoever has a choice leaves it to those.
func (d *dealing) orderByChoice(free, room []int) {
	choices := func(u int) int {
		n := 0
		for i := range room {
			if room[i] > 0 && d.lag[i][u] == 0 {
				n++
			}
		}
		if n == 0 {
			return len(room) + 1
		}
		return n
	}
	count := map[int]int{}
	for _, u := range free {
		count[u] = choices(u)
	}
	slices.SortFunc(free, func(a, b int) int { return cmp.Or(cmp.Compare(count[a], count[b]), cmp.Compare(a, b)) })
}

// bestFor is the member with room that a free unit goes to.
func (d *dealing) bestFor(u int, room []int) int {
	best := -1
	for i := range room {
		if room[i] <= 0 {
			continue
		}
		if best < 0 || cmp.Or(
			cmp.Compare(d.lag[i][u], d.lag[best][u]),
			d.perCapacity(d.load[i]+1, i, d.load[best]+1, best),
			d.perCapacity(d.kin[i][d.family[u]]+1, i, d.kin[best][d.family[u]]+1, best),
		) < 0 {
			best = i
		}
	}
	return best
}

// neediest is the member with room that has fewest; -1 if nobody has room.
func (d *dealing) neediest(room []int) int {
	best := -1
	for i := range room {
		if room[i] > 0 && (best < 0 || d.perCapacity(d.load[i]+1, i, d.load[best]+1, best) < 0) {
			best = i
		}
	}
	return best
}

// bestMove is the unit, of a member that has too many, that moves: one whose
// state is there already, and of a sub-topology that the receiver has few of.
func (d *dealing) bestMove(class []int, to int, room []int) int {
	best, bestKin := -1, 0.0
	for _, u := range class {
		from := d.wanted[u]
		if room[from] >= 0 {
			continue
		}
		kin := float64(d.kin[from][d.family[u]])/float64(d.members[from].Capacity) - float64(d.kin[to][d.family[u]])/float64(d.members[to].Capacity)
		if best < 0 || cmp.Or(cmp.Compare(d.lag[to][u], d.lag[to][best]), cmp.Compare(bestKin, kin)) < 0 {
			best, bestKin = u, kin
		}
	}
	return best
}
