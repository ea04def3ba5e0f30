// Package assign deals the units of an application out to its instances: the
// pure core of the group's assignor (the kafka member calls it in whichever
// instance leads the group). It knows nothing of groups, generations or
// networks; that nobody gets a unit before its owner has let it go is the
// caller's business.
//
// What it aims at, the more important first:
//
//  1. Every unit runs somewhere.
//  2. A stateful unit runs where its state is: on a member that has caught up
//     (lag of at most AcceptableLag), and if there is none, on the one that is
//     least behind.
//  3. Members have units by their capacity: stateful ones, and all together.
//     Where balance wants a stateful unit on a member without its state, that
//     member warms up first, a few units at a time, and gets it in a later call.
//  4. Nothing moves without need: an owner keeps what is within its share.
//  5. Each stateful unit has the wanted number of standbys on other members,
//     evenly, where its state already is.
//
// Shares are those of D'Hondt: one more unit goes to the member whose units per
// capacity are then fewest, so that no move of a single unit can improve them.
//
// Functions here have no state: they may be called from any goroutine. The same
// input gives the same output, whatever the order of members and units.
package assign

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

const (
	// AcceptableLag is how many changelog records a member may be behind and
	// still take a unit over at once: replaying them takes a moment only (Kafka
	// Streams' acceptable.recovery.lag).
	AcceptableLag = 10_000
	// MaxWarmups bounds the units that one member warms up at a time beside its
	// standbys, so that scaling out does not copy everything at once.
	MaxWarmups = 2
)

// Member is an instance as it describes itself.
type Member struct {
	Name     string // unique
	Capacity int    // at least 1; 0 is 1
	// Owns are the units that it runs. A unit that several claim belongs to the
	// first of them by name.
	Owns []string
	// Lag is how many changelog records its state is behind, by unit. A unit that is
	// absent has no state here.
	Lag map[string]int64
}

// Given is what one member gets.
//
// Invariant: a unit is in at most one of the three.
type Given struct {
	Name     string
	Units    []string // it runs them
	Standbys []string // it keeps a copy of their state
	Warmups  []string // it makes a copy, to take over from whom has one now
}

// Assign deals the units out: one Given for each member, by name, with units by
// id. There must be at least one member; unit ids are unique.
func Assign(members []Member, units []logclient.Unit, standbys int) []Given {
	d := newDealing(members, units)
	stateful, stateless := d.split()
	d.want(stateful)
	d.want(stateless)
	d.place(stateful)
	for _, u := range stateless {
		d.runs[u] = d.wanted[u]
	}
	for _, u := range stateful {
		d.copies[d.runs[u]][u] = isActive
	}
	d.standBy(stateful, standbys)
	return d.given()
}

// noLag is that of a member without any state of the unit.
const noLag = math.MaxInt64

// copyKind is what a member has to do with a unit.
type copyKind uint8

const (
	isNothing copyKind = iota
	isActive
	isStandby
	isWarmup
)

// dealing is one call of Assign: members and units by their index in the order
// of names and ids, so that the order of the input does not matter.
type dealing struct {
	members []Member
	units   []logclient.Unit
	family  []string  // by unit: of which sub-topology it is
	lag     [][]int64 // by member and unit
	owner   []int     // by unit; -1: nobody

	wanted []int // by unit: who has it once everybody has caught up; -1: not dealt yet
	runs   []int // by unit: who has it now
	load   []int // by member: units wanted, of all classes dealt so far
	kin    []map[string]int
	copies [][]copyKind // by member and unit
	warm   []int        // by member: warm-ups
}

func newDealing(members []Member, units []logclient.Unit) *dealing {
	d := &dealing{members: slices.Clone(members), units: slices.Clone(units)}
	slices.SortFunc(d.members, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(d.units, func(a, b logclient.Unit) int { return cmp.Compare(a.ID, b.ID) })
	n, m := len(d.units), len(d.members)
	index := make(map[string]int, n)
	d.family, d.owner, d.wanted, d.runs = make([]string, n), make([]int, n), make([]int, n), make([]int, n)
	for u, unit := range d.units {
		index[unit.ID] = u
		d.family[u], _, _ = strings.Cut(unit.ID, "_")
		d.owner[u], d.wanted[u], d.runs[u] = -1, -1, -1
	}
	d.load, d.warm, d.kin = make([]int, m), make([]int, m), make([]map[string]int, m)
	for i := range d.members {
		member := &d.members[i]
		member.Capacity = max(member.Capacity, 1)
		lags := make([]int64, n)
		for u, unit := range d.units {
			lag, is := member.Lag[unit.ID]
			switch {
			case !unit.Stateful:
			case !is:
				lags[u] = noLag
			case lag > AcceptableLag:
				lags[u] = lag
			} // the others have caught up, and are equal
		}
		for _, id := range member.Owns {
			if u, is := index[id]; is && d.owner[u] < 0 {
				d.owner[u] = i
			}
		}
		d.lag, d.kin[i] = append(d.lag, lags), map[string]int{}
		d.copies = append(d.copies, make([]copyKind, n))
	}
	return d
}

// split tells the units that have state from those that have none.
func (d *dealing) split() (stateful, stateless []int) {
	for u, unit := range d.units {
		if unit.Stateful {
			stateful = append(stateful, u)
		} else {
			stateless = append(stateless, u)
		}
	}
	return stateful, stateless
}

// given is the result.
func (d *dealing) given() []Given {
	out := make([]Given, len(d.members))
	for i, m := range d.members {
		out[i].Name = m.Name
	}
	for u, unit := range d.units {
		g := &out[d.runs[u]]
		g.Units = append(g.Units, unit.ID)
		for i := range d.members {
			switch d.copies[i][u] {
			case isStandby:
				out[i].Standbys = append(out[i].Standbys, unit.ID)
			case isWarmup:
				out[i].Warmups = append(out[i].Warmups, unit.ID)
			}
		}
	}
	return out
}
