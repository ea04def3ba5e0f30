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
// A condition over windows (In) that values can only bring nearer, as they do
// "at least", fires with the record that reaches it, not when the window closes:
// once per window and key. Records that come later in the window change nothing
// any more, unless AtClose asks for the final value instead. "At most" and
// "below" are judged when the window closes, since every window begins below.
//
// With Until, For, Repeat or NotifyResolved, an alert is an incident that goes on over
// windows: it fires once, and ends when a window closes that does not hold.
//
// A condition over the last d (Over) is judged with every record and whenever
// something leaves the last d. Absent is judged by timers: a silent service needs
// engine.Config.IdleAfter, or no time passes.
//
// # Concurrency
//
// As for package streams: rules are built by one goroutine; functions given here
// run in many tasks at once.
package alert
