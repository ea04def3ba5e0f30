package streams_test

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"
)

// Where commits and restarts fall changes nothing in what is emitted on close or
// on every update.
func TestCommitsAndRestartsDoNotChangeResults(t *testing.T) {
	for _, program := range []string{
		"tumbling 10s grace 3s close", "hopping 10s 3s grace 4s close", "tumbling 10s close retention 50s",
		"tumbling 10s grace 3s update", "hopping 9s 3s update", "tumbling 2s grace 1s close again",
	} {
		for seed := range int64(15) {
			want := randomRun(t, program, seed, 0)
			if len(want) < 20 {
				t.Fatalf("%s: only %d results, the run shows nothing", program, len(want))
			}
			for _, every := range []int{1, 2, 7, 40} {
				if got := randomRun(t, program, seed, every); !slices.Equal(got, want) {
					t.Fatalf("%s, seed %d, a commit or restart every %d records:\n got  %q\n want %q", program, seed, every, got, want)
				}
			}
		}
	}
}

// randomRun sends records that are out of order by up to 6 s and returns what
// came out. every is the mean number of records between commits, 0: none.
func randomRun(t *testing.T, program string, seed int64, every int) []string {
	rng, commits := rand.New(rand.NewSource(seed)), rand.New(rand.NewSource(seed))
	d := newDriver(windowProgram(t, program))
	for i := range 300 {
		at := time.Duration(i)*300*time.Millisecond - time.Duration(rng.Intn(6000))*time.Millisecond
		d.send("in", fmt.Sprintf("k%d", rng.Intn(5)), "x", at)
		if every > 0 && commits.Intn(every) == 0 {
			if commits.Intn(2) == 0 {
				d.commit()
			} else {
				d.restart()
			}
		}
	}
	d.advance(10 * time.Minute)
	return append(lines[string, int64](d, "out"), d.late...)
}

// The results on close are the fold of the records that were in time, and the
// rest was late.
func TestResultsAreTheFoldOfTheInput(t *testing.T) {
	for seed := range int64(50) {
		rng := rand.New(rand.NewSource(seed))
		d := newDriver(windowProgram(t, "tumbling 10s grace 2s close"))
		counts, last, late, now := map[string]int{}, map[string]int64{}, 0, int64(-1<<62)
		for range 400 {
			at := int64(rng.Intn(100_000)) // milliseconds
			if rng.Intn(4) > 0 {
				at = now + int64(rng.Intn(4000)) - 2000
			}
			at = min(max(at, 0), now+5000, 1<<40)
			if now < 0 {
				at = 0
			}
			key := fmt.Sprintf("k%d", rng.Intn(3))
			d.send("in", key, "x", time.Duration(at)*time.Millisecond)
			now = max(now, at)
			start := at / 10_000 * 10_000
			if now >= start+12_000 {
				late++
				continue
			}
			w := key + "@" + ms(start)
			counts[w]++
			last[w] = max(last[w], at)
		}
		d.advance(time.Hour)
		var want []string
		for w, n := range counts {
			want = append(want, fmt.Sprintf("%s = %d @%s", w, n, ms(last[w])))
		}
		slices.Sort(want)
		got := slices.Sorted(slices.Values(lines[string, int64](d, "out")))
		if !slices.Equal(got, want) || len(d.late) != late {
			t.Fatalf("seed %d: %d late, expected %d\n got  %q\n want %q", seed, len(d.late), late, got, want)
		}
	}
}
