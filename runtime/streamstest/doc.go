// Package streamstest tests topologies, from programs of your own too. It has
// two worlds, with the same typed inputs, outputs and stores:
//
// A Driver runs the tasks of production step by step, on one goroutine, with as
// many partitions as you like, repartition topics, transactions, changelogs and
// checkpoints, and a clock that only you move. It can crash after any step and
// start again. The log and the database are models in memory.
//
//	d := streamstest.New(t, topo, streamstest.Options{Partitions: 3})
//	in := streamstest.Input[string, string](d, "lines")
//	out := streamstest.Output[string, int64](d, "counts")
//	in.Send("host-1", "Invalid user", at)
//	d.Run()
//	out.Expect(streamstest.KV("host-1", int64(1)))
//
// Run runs a whole engine, with its sources and sinks, the embedded log (on a
// file system in memory) and its timers, in the virtual time of testing/synctest:
// a day of windows passes in about a second. It can be killed and started again.
//
//	streamstest.Run(t, topo, streamstest.Options{IdleAfter: time.Minute}, func(r *streamstest.Running) {
//		in := streamstest.Input[string, string](r, "lines")
//		in.Send("host-1", "Invalid user", r.Now())
//		r.Advance(24 * time.Hour)
//		...
//	})
//
// # Why it says what production says
//
// A Driver runs the very tasks, plans, transactions and recovery of the engine,
// and cuts them into steps; only the order in which workers take turns and the
// moments of commits are its own, and results do not depend on those (but those
// of EmitOnCommit, which emits what a commit changed: see Options.CommitEvery).
// Tables and streams that meet in a task are merged by time as in production,
// whatever the order in which they were sent. A test of this package holds the
// two against each other.
//
// # When is something committed
//
// Run and Advance leave nothing open. Step and Process do: what they have done
// and not committed is seen by no output and no store, and a Crash loses it.
//
// Everything that fails calls t.Fatalf of the test that was passed in, with what
// was expected of whom. A Driver and what belongs to it is for one goroutine, as
// is a Running, for the function that Run calls.
//
// The package is for tests: it imports testing.
package streamstest
