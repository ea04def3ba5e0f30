// Package alert makes alerts of streams: a condition that is watched per key, and
// a stream of events that say when it fires and when it is over.
//
//	breaches := alert.When(lines, alert.Count().In(streams.Tumbling(time.Minute)).AtLeast(5),
//		alert.Named("breach"), alert.Collect(newAttempts, addAttempt))
//	breaches.To("alerts")
//
//	hot := alert.When(readings, alert.Avg(temperature).Over(5*time.Minute).Above(80).Until(70),
//		alert.Named("hot"), alert.For(2*time.Minute), alert.Repeat(time.Hour), alert.NotifyResolved())
//
//	quiet := alert.When(readings, alert.Absent(10*time.Minute), alert.Named("quiet"), alert.NotifyResolved())
//
// It is written on the public verbs (Stream.Process with a State and a timer), so
// it has what they have: all is by event time; state and events are one
// transaction with the records, so a crash neither repeats nor forgets an alert;
// for input in time order the events are the same with any number of partitions,
// workers and commits. It sends nothing anywhere: connectors/webhook does.
//
// # When an alert fires
//
// A condition over windows (In) that further records can only bring nearer fires
// with the record that reaches it, not when the window closes: Count, Sum (of
// numbers that are not negative) and Max, at least or above; Min, at most or
// below. It fires once per window and key; records that come later in the window
// change nothing that was told, unless AtClose asks for the final number instead.
// All others, Change among them, are judged when the window closes: stream time
// has reached its end plus grace.
//
// With Until, For, Repeat or NotifyResolved an alert is an incident that goes on
// over windows: it fires once, and ends when a window closes that does not hold.
// For is then counted from the record or the start of the window that began it,
// to the record or the end of the window that is judged.
//
// A condition over the last d (Over) is judged with every record and whenever
// something leaves the last d. Absent fires when stream time reaches the last
// record's time plus d; a record of that very moment comes after it and ends it.
// A silent service needs engine.Config.IdleAfter, or no time passes.
//
// # Jumps of time, and the end of a bounded run
//
// Where time passes more than a thousand of a key's repeats, or of its empty
// windows, at once (a record carries a far later time, or nothing came for long),
// the last of them is told for all, and the next follows after it as usual. A
// repeat is told before anything else changes: so there may be one more before a
// window closes. Everything else of an alert, its beginning and end, has its own
// time. What is at once is what one record moves: it does not depend on commits
// or crashes. Behind a repartition topic it is what the upstream tasks' commits
// move, so there, with jumps of that size, the number of notices does depend on
// them. Without such jumps nothing is left out.
//
// At the end of a bounded run time rises to the last event, and for windows to
// the end plus grace of the one that holds it. That is the time of the whole
// task: absences of other rules that are due by then fire too, though they are
// later than the last event.
//
// # Out of order, and behind a repartition topic
//
// A record counts in the window, or slice, that holds its own time. One that is
// too old for that changes nothing and is counted as late under the rule's name.
// Behind a repartition topic windows wait for all upstream tasks before they
// close, as elsewhere, so what is judged at a close does not depend on how those
// interleave. What fires early, Over and Absent take the records as they come in
// the log: where one key's records come from several upstream tasks, the record
// that reaches a limit may be another in another run.
//
// # State
//
// A key's state is in the store with the rule's name: a few numbers, the open
// windows (or at most 60 slices, twice that for changes), what Collect gathers
// there. It goes when nothing is open, unless the rule must know of keys that are
// silent: Absent, and Count and Sum at most or below, know every key for good
// unless Forget says otherwise.
//
// # Concurrency
//
// As for package streams: rules are built by one goroutine; functions given here
// run in many tasks at once.
package alert
