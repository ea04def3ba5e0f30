package streams_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams"
)

// Random histories: a function with state and three timers per key, run with
// partitions, workers, commits, crashes and restarts as they come, gives per key
// exactly what a few lines of arithmetic give that know the whole input.

// order is one record: what its key is to do.
type order struct {
	key  string
	text string // "set a 500", "cancel b", "count"
	at   int64
}

var timerNames = []string{"a", "b", "again"}

func commands(rng *rand.Rand, n, keys int) (out []order) {
	at := int64(1_000_000)
	for range n {
		at += rng.Int64N(700)
		c := order{key: fmt.Sprintf("k%02d", rng.IntN(keys)), at: at, text: "count"}
		name := timerNames[rng.IntN(len(timerNames))]
		switch rng.IntN(6) {
		case 0, 1, 2:
			c.text = fmt.Sprintf("set %s %d", name, rng.Int64N(9000)-500)
		case 3:
			c.text = "cancel " + name
		case 4:
			c.text = fmt.Sprintf("set %s %d", name, 500*rng.Int64N(4)) // many at one time, and at now
		}
		out = append(out, c)
	}
	return out
}

// timersProgram does what commands say. Behind a repartition topic if the key is
// changed.
func timersProgram(rekey bool, opts ...streams.Option) *streams.Builder {
	b := streams.NewBuilder("timers")
	in := b.From[string, string]("in")
	if rekey {
		in = in.SelectKey(func(k, _ string) string { return strings.ToUpper(k) })
	}
	type context = *streams.Context[string, string]
	counts := streams.NewState[string, int64]("counts")
	add := func(c context, k string) int64 {
		n, _ := counts.Get(c, k)
		if n++; n%17 == 0 {
			counts.Delete(c, k)
		} else {
			counts.Put(c, k, n)
		}
		return n
	}
	opts = append(opts, streams.Uses(counts))
	for _, name := range timerNames {
		opts = append(opts, streams.OnTimer(name, func(c context, k string) {
			at := c.Timestamp().UnixMilli()
			c.Forward(k, fmt.Sprintf("%s fired at %d, count %d", name, at, add(c, k)))
			if name == "again" && at%5 != 0 {
				c.SetTimer("again", c.Timestamp().Add(time.Duration(at%5-1)*time.Second)) // 0: in the next millisecond
			}
		}))
	}
	in.Process(func(c context, k, v string) {
		at := c.Timestamp()
		c.Forward(k, fmt.Sprintf("%s at %d, count %d", v, at.UnixMilli(), add(c, k)))
		switch words := strings.Fields(v); words[0] {
		case "set":
			ms, _ := strconv.Atoi(words[2])
			c.SetTimer(words[1], at.Add(time.Duration(ms)*time.Millisecond))
		case "cancel":
			c.CancelTimer(words[1])
		}
	}, opts...).To("out")
	return b
}

// timersReference computes the outputs per key. It knows nothing of how timers
// are kept: it looks through all of a key's times for the next.
func timersReference(in []order, end int64, upper bool) map[string][]string {
	out := map[string][]string{}
	type keyState struct {
		count int64
		at    map[string]int64
	}
	keys := map[string]*keyState{}
	fire := func(k string, s *keyState, upTo int64) {
		for {
			name := ""
			for _, n := range timerNames {
				if t, ok := s.at[n]; ok && t <= upTo && (name == "" || t < s.at[name]) {
					name = n
				}
			}
			if name == "" {
				return
			}
			at := s.at[name]
			delete(s.at, name)
			s.count++
			out[k] = append(out[k], fmt.Sprintf("%s fired at %d, count %d", name, at, s.count))
			if s.count%17 == 0 {
				s.count = 0
			}
			if name == "again" && at%5 != 0 {
				s.at[name] = max(at+(at%5-1)*1000, at+1)
			}
		}
	}
	for _, c := range in {
		k := c.key
		if upper {
			k = strings.ToUpper(k)
		}
		s := keys[k]
		if s == nil {
			s = &keyState{at: map[string]int64{}}
			keys[k] = s
		}
		fire(k, s, c.at)
		s.count++
		out[k] = append(out[k], fmt.Sprintf("%s at %d, count %d", c.text, c.at, s.count))
		if s.count%17 == 0 {
			s.count = 0
		}
		switch words := strings.Fields(c.text); words[0] {
		case "set":
			ms, _ := strconv.ParseInt(words[2], 10, 64)
			s.at[words[1]] = c.at + ms
		case "cancel":
			delete(s.at, words[1])
		}
		fire(k, s, c.at)
	}
	for k, s := range keys {
		fire(k, s, end)
	}
	return out
}

// unruly lets the driver do something that must change nothing.
func unruly(d *streamstest.Driver, rng *rand.Rand) {
	switch rng.IntN(9) {
	case 0:
		d.Commit()
	case 1:
		d.Checkpoint()
	case 2:
		d.Crash()
	case 3:
		d.CrashInCommit(streamstest.Undecided)
	case 4:
		d.CrashInCommit(streamstest.Decided)
	case 5:
		d.CrashInCheckpoint(rng.IntN(4))
	case 6:
		d.Stop()
	case 7:
		d.Compact()
	default:
		for range rng.IntN(20) {
			d.Step()
		}
	}
	if !d.Up() {
		d.Restart()
	}
}

func TestTimersOfRandomHistoriesAreThoseOfAFold(t *testing.T) {
	for seed := range uint64(16) {
		rng := rand.New(rand.NewPCG(seed, 7))
		rekey := seed%3 == 2
		in := commands(rng, 60+rng.IntN(200), 1+rng.IntN(12))
		o := streamstest.Options{Partitions: 1 + int32(rng.IntN(4)), Workers: 1 + rng.IntN(3), CommitEvery: rng.IntN(6)}
		if seed%4 == 1 {
			o.Engine.CacheBytes = 1 // everything is read back
		}
		var opts []streams.Option
		if seed%5 == 4 && !rekey {
			opts = append(opts, streams.WaitForAll()) // without a repartition topic all is one
		}
		d := streamstest.New(t, must(timersProgram(rekey, opts...).Build()), o)
		input := streamstest.Input[string, string](d, "in")
		for _, c := range in {
			input.Send(c.key, c.text, time.UnixMilli(c.at))
			for rng.IntN(8) == 0 {
				unruly(d, rng)
			}
		}
		d.End()
		got := map[string][]string{}
		for _, r := range streamstest.Output[string, string](d, "out").ReadAll() {
			got[r.Key] = append(got[r.Key], r.Value)
		}
		want := timersReference(in, in[len(in)-1].at, rekey)
		for k := range want {
			if !slices.Equal(got[k], want[k]) {
				t.Fatalf("seed %d, %+v: key %s:\n got  %s\n want %s", seed, o, k, strings.Join(got[k], "\n      "), strings.Join(want[k], "\n      "))
			}
		}
		if len(got) != len(want) {
			t.Fatalf("seed %d: outputs of %d keys, expected %d", seed, len(got), len(want))
		}
	}
}

// In one task the timers of all keys fire in the order of time, then key.
func TestTimersFireInTheOrderOfTimeThenKey(t *testing.T) {
	seeds := uint64(10)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 8))
		d := streamstest.New(t, must(timersProgram(false).Build()), streamstest.Options{Partitions: 1})
		input := streamstest.Input[string, string](d, "in")
		for _, c := range commands(rng, 200, 40) {
			if !strings.HasPrefix(c.text, "cancel") {
				input.Send(c.key, c.text, time.UnixMilli(c.at))
			}
		}
		d.Run()
		out := streamstest.Output[string, string](d, "out")
		out.ReadAll()
		input.Send("last", "count", time.UnixMilli(5_000_000))
		d.Run()
		type point struct {
			at  int64
			key string
		}
		var fired []point
		for _, r := range out.ReadAll() {
			if r.Key != "last" {
				fired = append(fired, point{r.Time.UnixMilli(), r.Key})
			}
		}
		if len(fired) < 20 {
			t.Fatalf("seed %d: %d timers, expected more", seed, len(fired))
		}
		if !slices.IsSortedFunc(fired, func(a, b point) int {
			if a.at != b.at {
				return int(a.at - b.at)
			}
			return strings.Compare(a.key, b.key)
		}) {
			t.Errorf("seed %d: fired %v", seed, fired)
		}
	}
}
