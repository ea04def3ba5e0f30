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
// Everything that fails calls t.Fatalf of the test that was passed in, with what
// was expected of whom. A Driver and what belongs to it is for one goroutine, as
// is a Running, for the function that Run calls.
//
// The package is for tests: it imports testing.
package streamstest
