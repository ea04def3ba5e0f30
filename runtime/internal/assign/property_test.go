package assign

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// histories is how many random clusters each property is tried on.
const histories = 400

// random makes a cluster of some members with random pasts.
func random(r *rand.Rand) *cluster {
	c := newCluster()
	c.standbys = r.IntN(3)
	for s := range 1 + r.IntN(3) {
		stateful := r.IntN(3) > 0
		for p := range 1 + r.IntN(12) {
			c.units = append(c.units, logclient.Unit{ID: fmt.Sprintf("%d_%d", s, p), Stateful: stateful})
		}
	}
	for i := range 1 + r.IntN(6) {
		c.join(fmt.Sprint("m", i), r)
	}
	for _, u := range c.units {
		for name, m := range c.members {
			switch r.IntN(4) {
			case 0:
				m.Lag[u.ID] = 0
			case 1:
				m.Lag[u.ID] = r.Int64N(3 * AcceptableLag)
			}
			if r.IntN(len(c.members)+2) == 0 {
				c.members[name].Owns = append(m.Owns, u.ID)
			}
		}
	}
	return c
}

func (c *cluster) join(name string, r *rand.Rand) {
	c.members[name] = &Member{Name: name, Capacity: []int{0, 1, 2, 4}[r.IntN(4)], Lag: map[string]int64{}}
}

func (c *cluster) everybodyCaughtUp() {
	for _, m := range c.members {
		for _, u := range c.units {
			m.Lag[u.ID] = 0
		}
	}
}

func (c *cluster) runners() map[string]string {
	at := map[string]string{}
	for name, g := range c.last {
		if c.members[name] == nil {
			continue
		}
		for _, id := range g.Units {
			at[id] = name
		}
	}
	return at
}

func each(t *testing.T, claim func(t *testing.T, r *rand.Rand, c *cluster)) {
	for seed := range uint64(histories) {
		r := rand.New(rand.NewPCG(seed, 7))
		claim(t, r, random(r))
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}

// sound checks what holds of every dealing.
func sound(t *testing.T, c *cluster, given []Given) {
	t.Helper()
	runs, copies := map[string]int{}, map[string]int{}
	for _, g := range given {
		mine := map[string]bool{}
		for _, id := range slices.Concat(g.Units, g.Standbys, g.Warmups) {
			if mine[id] {
				t.Errorf("%s has %s twice: %+v", g.Name, id, g)
			}
			mine[id] = true
		}
		for _, id := range g.Units {
			runs[id]++
		}
		for _, id := range slices.Concat(g.Standbys, g.Warmups) {
			if !c.stateful(id) {
				t.Errorf("%s copies %s, which has no state", g.Name, id)
			}
		}
		for _, id := range g.Standbys {
			copies[id]++
		}
		if len(g.Warmups) > MaxWarmups {
			t.Errorf("%s warms up %v, more than %d", g.Name, g.Warmups, MaxWarmups)
		}
	}
	for _, u := range c.units {
		if runs[u.ID] != 1 {
			t.Errorf("%s runs %d times", u.ID, runs[u.ID])
		}
		if u.Stateful && copies[u.ID] != min(c.standbys, len(c.members)-1) {
			t.Errorf("%s has %d standbys of %d with %d members", u.ID, copies[u.ID], c.standbys, len(c.members))
		}
	}
}

func TestEveryUnitRunsOnceWithItsStandbysElsewhere(t *testing.T) {
	each(t, func(t *testing.T, r *rand.Rand, c *cluster) {
		in := c.input()
		given := Assign(in, c.units, c.standbys)
		sound(t, c, given)
		r.Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
		units := slices.Clone(c.units)
		r.Shuffle(len(units), func(i, j int) { units[i], units[j] = units[j], units[i] })
		if again := Assign(in, units, c.standbys); fmt.Sprint(again) != fmt.Sprint(given) {
			t.Errorf("in another order:\n%v\nexpected\n%v", again, given)
		}
	})
}

// A stateful unit runs on one that has caught up, if there is one.
func TestStatefulUnitsRunWhereTheirStateIs(t *testing.T) {
	each(t, func(t *testing.T, r *rand.Rand, c *cluster) {
		for _, g := range Assign(c.input(), c.units, c.standbys) {
			for _, id := range g.Units {
				lag, is := c.members[g.Name].Lag[id]
				if !c.stateful(id) || is && lag <= AcceptableLag {
					continue
				}
				for name, m := range c.members {
					if other, has := m.Lag[id]; has && other <= AcceptableLag {
						t.Errorf("%s runs %s although %s has caught up", g.Name, id, name)
					} else if has && !is {
						t.Errorf("%s runs %s without state although %s has some", g.Name, id, name)
					}
				}
			}
		}
	})
}

// balanced: no move of one unit of the class from one member to another makes the
// fuller of both less full.
func balanced(t *testing.T, c *cluster, what string, count func(Given) int) {
	t.Helper()
	capacity := func(name string) int { return max(1, c.members[name].Capacity) }
	for a, full := range c.last {
		for b, other := range c.last {
			if c.members[a] != nil && c.members[b] != nil && count(full)*capacity(b) > (count(other)+1)*capacity(a) {
				t.Errorf("%s: %s has %d with capacity %d, %s has %d with capacity %d", what, a, count(full), capacity(a), b, count(other), capacity(b))
			}
		}
	}
}

func statefulOf(c *cluster) func(Given) int {
	return func(g Given) int {
		n := 0
		for _, id := range g.Units {
			if c.stateful(id) {
				n++
			}
		}
		return n
	}
}

func allOf(g Given) int { return len(g.Units) }

func balancedUnits(t *testing.T, c *cluster) {
	t.Helper()
	balanced(t, c, "stateful units", statefulOf(c))
	balanced(t, c, "units", allOf)
}

func TestWhenEverybodyHasCaughtUpUnitsAreBalancedAtOnceAndStay(t *testing.T) {
	each(t, func(t *testing.T, r *rand.Rand, c *cluster) {
		c.everybodyCaughtUp()
		first := c.deal()
		balancedUnits(t, c)
		for range 2 {
			if again := c.deal(); again != first {
				t.Errorf("dealt again:\n%sexpected\n%s", again, first)
			}
		}
	})
}

// Standbys of random pasts are balanced but for few: whoever runs many units can
// stand by for few of them.
func TestStandbysAreSpread(t *testing.T) {
	each(t, func(t *testing.T, r *rand.Rand, c *cluster) {
		for _, m := range c.members {
			m.Capacity = 1
		}
		c.everybodyCaughtUp()
		c.deal()
		least, most := len(c.units), 0
		for _, g := range c.last {
			least, most = min(least, len(g.Standbys)), max(most, len(g.Standbys))
		}
		if most > least+2 {
			t.Errorf("standbys of one member: %d to %d\n%v", least, most, c.last)
		}
	})
}

// Rounds of catching up and dealing end, balanced: each moves as many as can
// warm up.
func TestDealingConvergesAsWarmupsCatchUp(t *testing.T) {
	each(t, func(t *testing.T, r *rand.Rand, c *cluster) {
		before := ""
		for round := 0; ; round++ {
			sound(t, c, Assign(c.input(), c.units, c.standbys))
			now := c.deal()
			if now == before {
				balancedUnits(t, c)
				for name, g := range c.last {
					if len(g.Warmups) > 0 {
						t.Errorf("%s warms up for nothing: %v", name, g.Warmups)
					}
				}
				return
			}
			if round > 5+len(c.units)*(1+c.standbys) {
				t.Fatalf("still moving after %d rounds:\n%s\n%s", round, before, now)
			}
			before = now
			for name := range c.members {
				c.catchUp(name)
			}
		}
	})
}

func TestOnlyTheUnitsOfOneThatIsGoneMove(t *testing.T) {
	each(t, func(t *testing.T, r *rand.Rand, c *cluster) {
		if len(c.members) == 1 {
			return
		}
		c.everybodyCaughtUp()
		c.deal()
		was := c.runners()
		delete(c.members, "m0")
		c.deal()
		moved := 0
		for id, now := range c.runners() {
			if was[id] != "m0" && was[id] != now {
				moved++
				if c.stateful(id) {
					t.Errorf("%s moved from %s to %s", id, was[id], now)
				}
			}
		}
		if moved > len(c.members) {
			t.Errorf("%d stateless units moved between those that stay", moved)
		}
	})
}

func TestOneMoreTakesAtMostItsShare(t *testing.T) {
	each(t, func(t *testing.T, r *rand.Rand, c *cluster) {
		c.everybodyCaughtUp()
		c.deal()
		was := c.runners()
		c.join("new", r)
		c.everybodyCaughtUp()
		c.deal()
		balancedUnits(t, c)
		moved := 0
		for id, now := range c.runners() {
			if was[id] != now && now != "new" {
				moved++
				if c.stateful(id) {
					t.Errorf("%s moved from %s to %s", id, was[id], now)
				}
			}
		}
		if moved > len(c.members) {
			t.Errorf("%d stateless units moved between those that were there", moved)
		}
	})
}

// Letting go comes first: whoever is wanted gets a unit once its owner has let go,
// nobody else.
func TestReleasedUnitsGoWhereTheyWereWanted(t *testing.T) {
	each(t, func(t *testing.T, r *rand.Rand, c *cluster) {
		c.everybodyCaughtUp()
		owner := map[string]string{}
		for _, m := range c.input() {
			for _, id := range m.Owns {
				if at, is := owner[id]; !is || m.Name < at {
					owner[id] = m.Name
				}
			}
		}
		first := Assign(c.input(), c.units, c.standbys)
		for _, g := range first { // everybody lets go what it shall not have
			m := c.members[g.Name]
			m.Owns = slices.DeleteFunc(slices.Clone(m.Owns), func(id string) bool {
				return owner[id] != g.Name || !slices.Contains(g.Units, id)
			})
		}
		second := Assign(c.input(), c.units, c.standbys)
		for i := range first {
			for _, id := range second[i].Units {
				if owner[id] != "" && c.stateful(id) && !slices.Contains(first[i].Units, id) && slices.Contains(c.members[owner[id]].Owns, id) {
					t.Errorf("%s, which stayed with %s, moved to %s in the second step", id, owner[id], second[i].Name)
				}
			}
			if len(first[i].Units) != len(second[i].Units) {
				t.Errorf("%s has %d units, and %d after the release", first[i].Name, len(first[i].Units), len(second[i].Units))
			}
		}
	})
}

func TestManyUnitsAreDealtFast(t *testing.T) {
	c := newCluster()
	for s := range 4 {
		for p := range 150 {
			c.units = append(c.units, logclient.Unit{ID: fmt.Sprintf("%d_%03d", s, p), Stateful: s > 0})
		}
	}
	c.members["m0"] = &Member{Name: "m0", Lag: map[string]int64{}}
	c.deal()
	for i := range 15 {
		c.members[fmt.Sprint("m", i+1)] = &Member{Name: fmt.Sprint("m", i+1), Lag: map[string]int64{}}
	}
	c.everybodyCaughtUp()
	c.standbys = 1
	c.deal()
	balancedUnits(t, c)
}
