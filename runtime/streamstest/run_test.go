package streamstest_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams"
)

// A day of lines, one window a minute, by the engine of production with its
// embedded log: the virtual clock closes the last windows.
func TestADayOfWindows(t *testing.T) {
	streamstest.Run(t, logins(t), streamstest.Options{Partitions: 1, Workers: 1, IdleAfter: time.Minute}, func(r *streamstest.Running) {
		lines := streamstest.Input[string, string](r, "lines")
		var in []event
		minutes := 24 * 60
		if testing.Short() {
			minutes = 60 // the race detector's run
		}
		for range minutes {
			for i, host := range []string{"host-1", "host-2", "host-3", "host-1"} {
				e := event{host + " bad", r.Now().Add(time.Duration(i) * time.Second)}
				in = append(in, e)
				lines.SendValue(e.line, e.at)
			}
			r.Advance(time.Minute)
		}
		r.Advance(3 * time.Minute)
		if alerts, _ := fold(in); len(alerts) != 3*minutes {
			t.Fatalf("the test's fold has %d windows", len(alerts))
		}
		check(r.T(), "a day", r, in)
	})
}

// The engine and the driver say the same of the same input: by a bounded run,
// by virtual time, by hand.
func TestTheDriverAndTheEngineAgree(t *testing.T) {
	for seed := range uint64(3) {
		in := events(300, 10+seed)
		d := streamstest.New(t, logins(t), streamstest.Options{IdleAfter: time.Minute})
		send(d, in)
		d.Run()
		d.Advance(5 * time.Minute)
		want := streamstest.Output[streams.Windowed[string], int64](d, "alerts").ReadAll()
		check(t, "driver", d, in)

		streamstest.Run(t, logins(t), streamstest.Options{IdleAfter: time.Minute}, func(r *streamstest.Running) {
			send(r, in)
			r.Wait()
			r.Advance(5 * time.Minute)
			check(r.T(), "engine", r, in)
			got := streamstest.Output[streams.Windowed[string], int64](r, "alerts").ReadAll()
			same(r.T(), got, want)
		})
	}
}

// same compares records by key, with their order within it, their partitions,
// times and headers.
func same[K, V any](t testing.TB, got, want []streamstest.Record[K, V]) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, expected %d", len(got), len(want))
	}
	byKey := func(a, b streamstest.Record[K, V]) int {
		return strings.Compare(fmt.Sprintf("%#v", a.Key), fmt.Sprintf("%#v", b.Key))
	}
	slices.SortStableFunc(got, byKey)
	slices.SortStableFunc(want, byKey)
	for i := range got {
		got[i].Offset, want[i].Offset = 0, 0 // markers take offsets too, and commits fall elsewhere
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("record %d: %+v, expected %+v", i, got[i], want[i])
		}
	}
}

func TestKillAndPowerCutLoseNothing(t *testing.T) {
	in := events(240, 20)
	streamstest.Run(t, logins(t), streamstest.Options{IdleAfter: time.Minute}, func(r *streamstest.Running) {
		for i := 0; i < len(in); i += 40 {
			send(r, in[i:i+40])
			r.Advance(time.Duration(30+i) * time.Millisecond) // before, in and after the commits
			if i%80 == 0 {
				r.Kill()
			} else {
				r.PowerCut()
			}
			r.Restart()
		}
		r.Wait()
		r.Advance(5 * time.Minute)
		check(r.T(), "six crashes", r, in)
	})
}
