// Package syslog reads syslog lines: a Source that listens on UDP and TCP, a
// Parser for lines from anywhere (the file source plugs it in), and Message,
// the view of one line that a topology works on.
//
// It understands RFC 3164 as it is found in the wild (no priority, no year,
// CRLF, zero-padded days, RFC 3339 times) and RFC 5424. Lines are judged by
// leodido/go-syslog; the common shape of RFC 3164,
//
//	[<PRI>]Mmm dd hh:mm:ss host tag[pid]: text
//
// is taken apart here without allocation, with the same result (a differential
// fuzz test holds that).
//
// # What a record of the source's topic is
//
//	key        the host name; without one the sender's address (listening), or null (files)
//	value      the line as it came, without its frame and its trailing CR and LF
//	timestamp  the line's own time (event time)
//	headers    HeaderReceived, HeaderRemote (listening), HeaderNoPriority (where it was missing)
//
// A line that does not parse goes to the dead letters with its bytes and the reason.
//
// Concurrency: a Source is called by the engine from one goroutine; its Stats,
// addresses and Listen may be used from any. A Parser belongs to one goroutine.
// A Message is a value; any goroutine may read it while the bytes are valid.
package syslog

// Headers of the records.
const (
	HeaderReceived   = "syslog.received"    // when the socket was read: 8 bytes big-endian, nanoseconds since the Unix epoch
	HeaderRemote     = "syslog.remote"      // the sender's address and port; of a unix connection "pid=N,uid=N" (Linux), of a unix datagram nothing
	HeaderTransport  = "syslog.transport"   // a Transport: udp, tcp, tls, unix, unixgram
	HeaderSubject    = "syslog.tls-subject" // of the client's verified certificate, if it has one: "CN=web-1,O=Example" (RFC 2253)
	HeaderNoPriority = "syslog.no-priority" // the line had no <PRI>; 13 (user.notice) was assumed
)
