package main

import (
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams/alert"
)

// world is the topology under test, without a program around it.
type world struct {
	t        *testing.T
	d        *streamstest.Driver
	in       *streamstest.In[string, Reading]
	averages *streamstest.Out[string, Average]
	alerts   *streamstest.Out[string, alert.Event]
}

func newWorld(t *testing.T) *world {
	topo, err := buildTopology()
	if err != nil {
		t.Fatal(err)
	}
	d := streamstest.New(t, topo, streamstest.Options{Partitions: 1})
	return &world{t: t, d: d,
		in:       streamstest.Input[string, Reading](d, "readings"),
		averages: streamstest.Output[string, Average](d, "averages"),
		alerts:   streamstest.Output[string, alert.Event](d, "alerts"),
	}
}

func minute(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }

func (w *world) measure(device string, n int, celsius float64) {
	w.in.Send(device, Reading{Device: device, At: minute(n), Celsius: celsius}, minute(n))
	w.d.Run()
}

// crash kills the program, with what it has not committed, and starts it again.
func (w *world) crash() {
	w.d.Crash()
	w.d.Restart()
}

// wantAlert expects one notice, given at that minute, and no other.
func (w *world) wantAlert(device, kind string, status alert.Status, n int) {
	w.t.Helper()
	got := w.alerts.ReadAll()
	if len(got) != 1 {
		w.t.Fatalf("%d notices, want one: %s %s %s\n%+v", len(got), device, kind, status, got)
	}
	if r := got[0]; r.Key != device || r.Value.Kind != kind || r.Value.Status != status || !r.Time.Equal(minute(n)) {
		w.t.Fatalf("%s %s %s at %s, want %s %s %s at %s", r.Key, r.Value.Kind, r.Value.Status, r.Time, device, kind, status, minute(n))
	}
}

func TestAnAverageComesOnceAndSurvivesACrash(t *testing.T) {
	w := newWorld(t)
	w.measure("roof", 0, 10)
	w.measure("cellar", 1, 8)
	w.crash()
	w.measure("roof", 4, 13)
	w.averages.ExpectNone() // the window is open

	w.in.Send("roof", Reading{Device: "roof", At: minute(5), Celsius: 50}, minute(5))
	w.d.Process() // closes it, but nothing is committed ...
	w.crash()     // ... and lost: it is done again
	w.d.Run()
	first := func(celsius float64, readings int64) Average {
		return Average{From: minute(0), To: minute(5), Celsius: celsius, Readings: readings}
	}
	w.averages.Expect(streamstest.KV("roof", first(11.5, 2)), streamstest.KV("cellar", first(8, 1)))

	w.crash()
	w.d.Run()
	w.averages.ExpectNone()
}

func TestASilentDeviceIsToldOfOnceAndWhenItIsBack(t *testing.T) {
	w := newWorld(t)
	w.measure("cellar", 0, 8)
	w.measure("roof", 9, 15)
	w.alerts.ExpectNone()
	w.crash() // when the cellar was last heard of is not lost
	w.measure("roof", 10, 15)
	w.wantAlert("cellar", "silent", alert.Firing, 10)

	w.crash()
	w.measure("roof", 15, 15)
	w.alerts.ExpectNone() // it goes on, and is not repeated
	w.measure("cellar", 16, 8)
	w.wantAlert("cellar", "silent", alert.Resolved, 16)
}

func TestADeviceMustStayHot(t *testing.T) {
	w := newWorld(t)
	w.measure("oven", 0, 90)
	w.measure("oven", 1, 60) // 75 on average: hot for a minute only
	w.measure("oven", 2, 100)
	w.alerts.ExpectNone()
	w.measure("oven", 3, 100) // 87.5: hot again since 12:02, when it was 83.3
	w.alerts.ExpectNone()
	w.crash() // since when it is hot is not lost
	w.measure("oven", 4, 100)
	w.wantAlert("oven", "hot", alert.Firing, 4)

	w.crash()
	w.measure("oven", 5, 50)
	w.measure("oven", 6, 50)
	w.measure("oven", 7, 50) // 70 on average: not below it
	w.alerts.ExpectNone()
	w.measure("oven", 8, 50) // 60
	w.wantAlert("oven", "hot", alert.Resolved, 8)
}
