package alert_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams"
	"github.com/millstream-io/millstream/streams/alert"
	"github.com/millstream-io/millstream/streams/topology"
)

// Random histories: with partitions, workers, commits, crashes and restarts as
// they come, the alerts are those of a reference that has the whole input before
// it and counts it anew for every second.

// point is a record: all are at whole seconds.
type point struct {
	key string
	at  int
}

func points(rng *rand.Rand, n, keys, step int) (out []point) {
	at := 0
	for range n {
		at += rng.IntN(step)
		if rng.IntN(25) == 0 {
			at += rng.IntN(150)
		}
		out = append(out, point{fmt.Sprintf("k%d", rng.IntN(keys)), at})
	}
	return out
}

// counting is how many records of the key, among the first n, are in [from, to).
func counting(in []point, n int, key string, from, to int) (c int) {
	for _, p := range in[:n] {
		if p.key == key && p.at >= from && p.at < to {
			c++
		}
	}
	return c
}

// incident is the life of one key's alert, second by second.
type incident struct {
	out                   *[]string
	key                   string
	hold, repeat          int
	on, firing            bool
	since, start, end, no int
	next                  int
}

func (i *incident) tell(status string, value float64, count, at int, to string) {
	i.no++
	*i.out = append(*i.out, fmt.Sprintf("%s %s %v of %d in %d-%d since %d%s #%d @%d", status, i.key, value, count, i.start, i.end, i.since, to, i.no, at))
}

func (i *incident) holds(since, at, start, end int, value float64, count int) {
	if !i.on {
		i.on, i.since = true, since
	}
	if !i.firing && at-i.since >= i.hold {
		i.firing, i.no, i.start, i.end, i.next = true, 0, start, end, at+i.repeat
		i.tell("firing", value, count, at, "")
	}
}

func (i *incident) over(at int, value float64, count int) {
	if i.firing {
		i.tell("resolved", value, count, at, fmt.Sprintf(" to %d", at))
	}
	i.on, i.firing = false, false
}

func (i *incident) again(at int, value float64, count int) {
	if i.firing && i.repeat > 0 && i.next == at {
		i.next = at + i.repeat
		i.tell("firing", value, count, at, "")
	}
}

// each calls second for every second of a key, then record for its records then.
// round is what the last second is rounded up to.
func each(in []point, key string, round int, second func(at, n int), record func(at, n int)) {
	n, end := 0, in[len(in)-1].at
	if round > 1 {
		end = end/round*round + round
	}
	for at := in[0].at; at <= end; at++ {
		second(at, n)
		for ; n < len(in) && in[n].at == at; n++ {
			if in[n].key == key {
				record(at, n+1)
			}
		}
	}
}

// slidingReference: at least 4 in the last 20 s until fewer than 2, for 5 s,
// repeated every 30 s, resolved.
func slidingReference(in []point, key string, out *[]string) {
	i := &incident{out: out, key: key, hold: 5, repeat: 30}
	judge := func(at, n int) {
		c := counting(in, n, key, at-19, at+1)
		switch {
		case i.firing && c < 2 || !i.firing && i.on && c < 4:
			i.over(at, float64(c), c)
		case c >= 4:
			i.holds(at, at, at-20, at, float64(c), c)
		}
	}
	each(in, key, 1, func(at, n int) {
		judge(at, n)
		c := counting(in, n, key, at-19, at+1)
		i.again(at, float64(c), c)
	}, judge)
}

// absentReference: no record for 40 s, for 10 s more, repeated every 60 s, resolved.
func absentReference(in []point, key string, out *[]string) {
	i := &incident{out: out, key: key, hold: 10, repeat: 60}
	last := -1
	each(in, key, 1, func(at, _ int) {
		if last >= 0 && at >= last+40 {
			i.holds(last+40, at, last, last+40, float64(at-last), 0)
			i.again(at, float64(at-last), 0)
		}
	}, func(at, _ int) {
		if at > last {
			i.over(at, float64(at-last), 0)
			last = at
		}
	})
}

// windowReference: at least 3 in a window of 30 s: once, early.
func windowReference(in []point, key string, out *[]string) {
	each(in, key, 1, func(int, int) {}, func(at, n int) {
		start := at - at%30
		if counting(in, n, key, start, start+30) == 3 {
			*out = append(*out, fmt.Sprintf("firing %s 3 of 3 in %d-%d since %d #1 @%d", key, start, start+30, at, at))
		}
	})
}

// tumblingReference: at least 3 in windows of 30 s until fewer than 2, resolved.
func tumblingReference(in []point, key string, out *[]string) {
	i := &incident{out: out, key: key}
	each(in, key, 30, func(at, n int) {
		if at%30 == 0 {
			if c := counting(in, n, key, at-30, at); c < 2 {
				i.over(at, float64(c), c)
			}
		}
	}, func(at, n int) {
		start := at - at%30
		if c := counting(in, n, key, start, start+30); c >= 3 {
			i.holds(at, at, start, start+30, float64(c), c)
		}
	})
}

// closeReference: at least 3 in a window of 30 s, at its close.
func closeReference(in []point, key string, out *[]string) {
	end := in[len(in)-1].at/30*30 + 30
	for start := 0; start < end; start += 30 {
		if c := counting(in, len(in), key, start, start+30); c >= 3 {
			*out = append(*out, fmt.Sprintf("firing %s %d of %d in %d-%d since %d #1 @%d", key, c, c, start, start+30, start, start+30))
		}
	}
}

func unruly(d *streamstest.Driver, rng *rand.Rand) {
	acts := []func(){
		d.Commit, d.Checkpoint, d.Crash, d.Stop, d.Compact,
		func() { d.CrashInCommit(streamstest.Undecided) }, func() { d.CrashInCommit(streamstest.Decided) },
		func() { d.CrashInCheckpoint(rng.IntN(4)) },
	}
	if i := rng.IntN(len(acts) + 2); i < len(acts) {
		acts[i]()
	}
	for range rng.IntN(20) {
		if d.Up() {
			d.Step()
		}
	}
	if !d.Up() {
		d.Restart()
	}
}

func TestAlertsOfRandomHistoriesAreThoseOfAFold(t *testing.T) {
	const s = time.Second
	half := streams.Tumbling(30 * s)
	for name, c := range map[string]struct {
		rule      alert.Condition
		opts      []alert.Option
		reference func(in []point, key string, out *[]string)
		rekey     bool // all upstream tasks count: only what does not depend on their order
	}{
		"window":   {alert.Count().In(half).AtLeast(3), nil, windowReference, false},
		"close":    {alert.Count().In(half).AtLeast(3), []alert.Option{alert.AtClose()}, closeReference, true},
		"tumbling": {alert.Count().In(half).AtLeast(3).Until(2), []alert.Option{alert.NotifyResolved()}, tumblingReference, false},
		"sliding":  {alert.Count().Over(20 * s).Slices(20).AtLeast(4).Until(2), []alert.Option{alert.For(5 * s), alert.Repeat(30 * s), alert.NotifyResolved()}, slidingReference, false},
		"absent":   {alert.Absent(40 * s), []alert.Option{alert.For(10 * s), alert.Repeat(60 * s), alert.NotifyResolved()}, absentReference, false},
	} {
		t.Run(name, func(t *testing.T) {
			told := 0
			for seed := range uint64(8) {
				rng := rand.New(rand.NewPCG(seed, 3))
				in := points(rng, 40+rng.IntN(160), 1+rng.IntN(6), 1+rng.IntN(12))
				o := streamstest.Options{Partitions: 1 + int32(rng.IntN(4)), Workers: 1 + rng.IntN(3), CommitEvery: rng.IntN(5)}
				if seed%4 == 1 {
					o.Engine.CacheBytes = 1
				}
				topo := program(t, c.rule, c.opts...)
				if c.rekey {
					topo = rekeyed(t, c.rule, c.opts...)
				}
				d := streamstest.New(t, topo, o)
				input := streamstest.Input[string, float64](d, "numbers")
				for i, p := range in {
					key := p.key
					if c.rekey {
						key = fmt.Sprintf("%s/%d", p.key, i) // the key's records come through all partitions
					}
					input.Send(key, 1, t0.Add(time.Duration(p.at)*s))
					for rng.IntN(10) == 0 {
						unruly(d, rng)
					}
				}
				d.End()
				var want []string
				for k := range 6 {
					c.reference(in, fmt.Sprintf("k%d", k), &want)
				}
				got := events(d)
				sort.Strings(got)
				sort.Strings(want)
				told += len(want)
				if !slices.Equal(got, want) {
					t.Fatalf("seed %d, %d partitions, %d workers:\n got  %s\n want %s", seed, o.Partitions, o.Workers, strings.Join(got, "\n      "), strings.Join(want, "\n      "))
				}
			}
			if told < 20 {
				t.Errorf("%d alerts in all: the test tests little", told)
			}
		})
	}
}

func rekeyed(t testing.TB, c alert.Condition, opts ...alert.Option) *topology.Topology {
	t.Helper()
	b := streams.NewBuilder("app")
	s := b.From[string, float64]("numbers").SelectKey(func(k string, _ float64) string { k, _, _ = strings.Cut(k, "/"); return k })
	alert.When(s, c, append([]alert.Option{alert.Named("rule")}, opts...)...).To("alerts")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return topo
}
