// Package cassandra is a sink that keeps tables of Apache Cassandra 4 and 5
// current: each record becomes rows, and each row an upsert or a delete.
//
//	type Sales struct {
//		Product string    `cql:"product,key"`
//		Day     time.Time `cql:"day,cluster,type=date"`
//		Cents   int64     `cql:"cents"`
//	}
//	sales := cassandra.TableOf[Sales]("daily_sales")
//	sink := cassandra.New(cassandra.Config{
//		Hosts: []string{"127.0.0.1"}, Keyspace: "shop", Create: true,
//		Tables: []cassandra.TableSpec{sales},
//		Rows:   cassandra.FromValue(sales, nil),
//	})
//
// # Delivery
//
// The engine delivers at least once; the effect is once, because a repetition
// carries the same write timestamp and the same values. The timestamp of a row is
// the creation time of the record's topic in microseconds plus the record's
// offset. So of two records of one partition the later one always wins, however
// often and in whatever order they arrive, and whatever their event times are:
// a sum that goes from 100 to 90 within one event time ends at 90.
//
// It follows that the rows of one primary key must come from records of one
// partition (keyed by it), and that nobody else writes the same columns with
// server-side timestamps: these are later and would win for good.
//
// What a Write holds for one row is merged before it is sent, rows of one
// partition key go out as one unlogged batch, everything else goes out side by
// side, bounded by Config.InFlight and by what the cluster takes.
//
// # Bad input
//
//	no such keyspace or table, wrong or missing   Open: one ErrSchema that lists every problem and
//	columns, counters, views                      the CQL that mends each
//	refused connection, unknown host, bad         Open fails; the engine tries again where that can
//	certificate, wrong password                   help, and says so in /readyz
//	value null, of no UTF-8, too big, out of      dead letter, with table, column and reason; the
//	range, that Cassandra calls invalid; a Rows   other records go on
//	that fails or panics
//	column dropped or retyped while running       ErrSchema; nothing is acknowledged; Open checks again
//	overload, time-outs, too few replicas         fewer requests at a time, tried again with jitter,
//	                                              then the engine's retry; nothing is acknowledged
//	that was not written
//	some rows of a Write fail                     only their records come again
//
// A Sink is called from one goroutine, as the engine does; Stats may be called
// from any.
package cassandra
