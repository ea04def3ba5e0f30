// Package syslog reads syslog lines: a Source that listens on UDP, TCP, TLS and
// unix sockets, a Parser for lines from anywhere (the file source plugs it in),
// and Message, the view of one line that a topology works on. It sends nothing
// and keeps nothing; docs/connectors/syslog.md is its manual.
//
// Lines are RFC 5424, or RFC 3164 as it is found in the wild: no priority, year,
// host or time, ISO times, Cisco's forms, CEF, LEEF and JSON payloads. They are
// taken apart here without allocation; tests hold the scanners against
// leodido/go-syslog, which also says what is wrong with a line that is none.
// The common shape has a faster path, scan; all others go through dissect.
//
//	[<PRI>]Mmm dd hh:mm:ss host tag[pid]: text
//
// # The way of a line
//
//	socket -> framer or packetReader -> queue (bounded) -> ledger (until committed) -> Batch
//
// One goroutine per listener and per connection fills the queue; Read, on the
// engine's goroutine, empties it. A full queue stops the reading of sockets.
//
// # What a record of the source's topic is
//
//	key        the host name; without one the sender's address (listening), or null (files)
//	value      the line as it came, without its frame and its trailing CR, LF and NUL
//	timestamp  the line's own time (event time); without one when it was received (listening)
//	headers    HeaderReceived, HeaderRemote, HeaderTransport, HeaderSubject (listening),
//	           HeaderNoPriority (where it was missing)
//
// # Bad input
//
//	a line that does not parse        dead letter: its bytes, the reason, the sender
//	a line beyond MaxLine             dead letter: its beginning; the rest is skipped
//	half a line, then silence or end  dead letter: what came; the connection is closed after LineTimeout
//	bytes that are no frame           (FramingOctets only) dead letter; the connection is closed
//	a TLS handshake that fails        that connection closed and counted
//	too many connections              the newest closed and counted
//	datagrams faster than the log     the kernel drops and counts them: Stats.Dropped
//	a stream faster than the log      its sender is held back
//	an address in use, a live unix socket, a wrong certificate file: an error of Listen
//	a certificate file that breaks later: the old one stays in force, with a warning
//
// Concurrency: a Source is called by the engine from one goroutine; its Stats,
// addresses, Listen and Close may be used from any. A Parser belongs to one
// goroutine. A Message is a value; any goroutine may read it while the bytes are
// valid.
package syslog

// Headers of the records.
const (
	HeaderReceived   = "syslog.received"    // when the socket was read: 8 bytes big-endian, nanoseconds since the Unix epoch
	HeaderRemote     = "syslog.remote"      // the sender's address and port; of a unix connection "pid=N,uid=N" (Linux), of a unix datagram nothing
	HeaderTransport  = "syslog.transport"   // a Transport: udp, tcp, tls, unix, unixgram
	HeaderSubject    = "syslog.tls-subject" // of the client's verified certificate, if it has one: "CN=web-1,O=Example" (RFC 2253)
	HeaderAhead      = "syslog.ahead"       // the line's own time, which is further ahead than MaxAhead: milliseconds since the Unix epoch, decimal
	HeaderNoPriority = "syslog.no-priority" // the line had no <PRI>; 13 (user.notice) was assumed
)
