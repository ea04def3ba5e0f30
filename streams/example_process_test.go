package streams_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/runtime/streamstest"
	"github.com/millstream-io/millstream/streams"
)

func ExampleContext() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.Process(func(c *streams.Context[string, int], k, v string) {
			c.Forward(k, len(v))
			c.ForwardAt(c.Timestamp().Add(time.Minute), k+"-later", len(v))
			c.ForwardNull(k + "-gone")
		}).To("out")
	})
	fmt.Println(strings.Join(lines[string, int](d, "out")[:3], "\n"))
	// Output:
	// a = 3 @1s
	// a-later = 3 @1m1s
	// a-gone = null @1s
}

func ExampleValueContext() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.ProcessValues(func(c *streams.ValueContext[int], _, v string) {
			switch {
			case strings.Contains(v, " "):
				c.ForwardNull()
			case len(v) > 4:
				c.ForwardAt(c.Timestamp().Add(time.Minute), len(v))
			default:
				c.Forward(len(v))
			}
		}).To("out")
	})
	show[string, int](d, "out")
	// Output:
	// a = 3 @1s
	// b = null @2s
	// a = 5 @1m3s
}

// A key's timer is set, looked at, cancelled; one for another key is set too.
func ExampleScope() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.Process(func(c *streams.Context[string, string], k, v string) {
			if at, pending := c.Timer("check"); pending {
				c.Forward(k, c.Application()+": was set to "+at.Format("05")+", cancelled")
				c.CancelTimer("check")
				return
			}
			c.SetTimer("check", c.Timestamp().Add(5*time.Second))
			c.SetTimerOf("all", "check", c.Timestamp().Add(6*time.Second))
		}, streams.Named("watch"), streams.OnTimer("check", func(c *streams.Context[string, string], k string) {
			c.Forward(k, "fired")
		})).To("out")
	})
	d.advance(time.Minute)
	show[string, string](d, "out")
	// Output:
	// a = example: was set to 06, cancelled @3s
	// b = fired @7s
	// all = fired @8s
}

// The record is counted as late, and with KeepLate it is a dead letter.
func ExampleScope_Late() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.ProcessValues(func(c *streams.ValueContext[string], _, v string) {
			if c.StreamTime().Sub(c.Timestamp()) >= time.Minute {
				c.Late()
				return
			}
			c.Forward(v)
		}, streams.Named("fresh"), streams.KeepLate()).To("out")
	})
	d.send("in", "a", "now", 2*time.Minute)
	d.send("in", "a", "old", 30*time.Second)
	fmt.Println(len(lines[string, string](d, "out")), d.late)
	// Output: 4 [late fresh keep=true a @30s]
}

// What a function has done does not hold when it fails: not even the record
// before, which is in the same transaction.
func ExampleScope_Fail() {
	b := streams.NewBuilder("example")
	b.From[string, string]("in").
		ProcessValues(func(c *streams.ValueContext[string], _, v string) {
			c.Forward(v)
			if v == "poison" {
				c.Fail(errors.New("cannot digest this"))
			}
		}, streams.Named("eat")).
		To("out")
	topo, err := b.Build()
	if err != nil {
		panic(err)
	}

	d := streamstest.New(new(testing.T), topo, streamstest.Options{Partitions: 1})
	in := streamstest.Input[string, string](d, "in")
	in.Send("a", "bread", d.Now())
	in.Send("a", "poison", d.Now())
	fmt.Println(d.Try())
	fmt.Println(len(streamstest.Output[string, string](d, "out").ReadAll()), "records came out")
	// Output:
	// task 0_0, in-0 offset 1: operator "eat": cannot digest this
	// 0 records came out
}

// All reads a partition's entries; the loop may change the store.
func ExampleState() {
	d := abc(func(in *streams.Stream[string, string]) {
		stock := streams.NewState[string, int]("stock")
		in.Process(func(c *streams.Context[string, int], k, v string) {
			n, _ := stock.Get(c, k)
			stock.Put(c, k, n+len(v))
			if v != "three" {
				return
			}
			for k, n := range stock.All(c) {
				c.Forward(k, n)
				stock.Delete(c, k)
			}
		}, streams.Uses(stock)).To("out")
	})
	show[string, int](d, "out")
	// Output:
	// a = 8 @3s
	// b = 9 @3s
}

func ExampleNewState() {
	b := streams.NewBuilder("example")
	lengths := streams.NewState[string, point]("lengths", streams.Values(pointsAsText), streams.NoChangelog())
	b.From[string, string]("in").ProcessValues(func(c *streams.ValueContext[string], k, v string) {
		lengths.Put(c, k, point{X: len(v)})
	}, streams.Uses(lengths))
	topo, err := b.Build()
	if err != nil {
		panic(err)
	}
	s, _ := topo.Store("lengths")
	fmt.Println(s.SerdeName, s.Changelog)
	// Output: string,point false
}

// Timers up to the last window's end fire when a bounded run ends.
func ExampleEndOfInput() {
	minutes := streams.Tumbling(time.Minute)
	b := streams.NewBuilder("example")
	b.From[string, string]("in").
		Process(func(c *streams.Context[string, string], _, _ string) {
			end := minutes.Window(minutes.Last(c.Timestamp().UnixMilli())).EndTime()
			c.SetTimer("end", end)
		}, streams.Named("minutes"), streams.EndOfInput(minutes),
			streams.OnTimer("end", func(c *streams.Context[string, string], k string) {
				c.Forward(k, "the minute is over")
			})).
		To("out")
	topo, err := b.Build()
	if err != nil {
		panic(err)
	}

	d := streamstest.New(new(testing.T), topo, streamstest.Options{Partitions: 1})
	streamstest.Input[string, string](d, "in").Send("a", "one", d.Now().Add(20*time.Second))
	d.End()
	for _, r := range streamstest.Output[string, string](d, "out").ReadAll() {
		fmt.Println(r.Key, r.Value, r.Time.Format(time.TimeOnly))
	}
	// Output: a the minute is over 00:01:00
}

// A reminder every second that does not make up for the hour that was silent.
func ExampleScope_Reached() {
	d := abc(func(in *streams.Stream[string, string]) {
		in.Process(func(c *streams.Context[string, string], _, _ string) {
			c.SetTimer("remind", c.Timestamp().Add(time.Second))
		}, streams.Named("remind"), streams.OnTimer("remind", func(c *streams.Context[string, string], k string) {
			c.Forward(k, "reached "+c.Reached().Format(time.TimeOnly))
			c.SetTimer("remind", c.Reached().Add(time.Second))
		})).To("out")
	})
	d.out = nil
	d.send("in", "a", "an hour later", time.Hour)
	show[string, string](d, "out")
	// Output:
	// a = reached 01:00:00 @4s
	// b = reached 01:00:00 @4s
}
