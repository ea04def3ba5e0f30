package wire

import (
	"bytes"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Protocol is docs/PROTOCOL.md: the api table for people. A test keeps the file
// equal to it (go test ./log/wire -run Protocol -rewrite).
func Protocol() []byte {
	var w bytes.Buffer
	w.WriteString(protocolHead)
	served := map[int16]bool{}
	for i := range apis {
		a := &apis[i]
		served[a.key] = true
		fmt.Fprintf(&w, "| %d | %s | %s | %s |\n", a.key, kmsg.NameForKey(a.key), span(a.min, a.max), notes(a))
	}
	w.WriteString(protocolFeatures)
	for _, f := range features {
		fmt.Fprintf(&w, "| %s | %s | %d |\n", f.name, span(f.min, f.max), f.used)
	}
	w.WriteString(protocolRest)
	n := 0
	for key := int16(0); key <= kmsg.MaxKey; key++ {
		if req := kmsg.RequestForKey(key); req == nil || served[key] {
			continue
		}
		if n++; n > 1 {
			w.WriteString(", ")
		}
		fmt.Fprintf(&w, "%d %s", key, kmsg.NameForKey(key))
	}
	w.WriteString(".\n")
	return w.Bytes()
}

func span(from, to int16) string {
	if from == to {
		return fmt.Sprint(from)
	}
	return fmt.Sprintf("%d-%d", from, to)
}

func notes(a *api) string {
	s := a.notes
	if a.before {
		if s != "" {
			s += "; "
		}
		s += "before authentication too"
	}
	return s
}

const protocolHead = `# The Kafka protocol that Millstream serves

Generated from the table in log/wire/api.go; do not edit. Renew it with
` + "`go test ./log/wire -run Protocol -rewrite`" + `.

A request of another key or version closes its connection with one line in the
log, as Kafka does; only ApiVersions of an unknown version is answered, as
version 0 with UNSUPPORTED_VERSION (35), so that any client can find out what
there is. Versions are those of Apache Kafka 4.3; a version that this table
leaves out is between brokers, or unstable.

| key | API | versions | notes |
| ---: | --- | --- | --- |
`

const protocolFeatures = `
## Features

ApiVersions shows these from version 3 on (KIP-584).

| feature | supported | finalized |
| --- | --- | --- |
`

const protocolRest = `
## Bounds

| what | setting of wire.Config | when it is reached |
| --- | --- | --- |
| size of a request | MaxRequestBytes (socket.request.max.bytes) | the connection is closed |
| size of a request other than produce and fetch | a 128th of MaxInFlightBytes | the connection is closed |
| memory of requests in flight | MaxInFlightBytes | connections are not read until there is room |
| requests of a connection that wait for answers | MaxPipelined | the connection is not read until one is answered |
| connections, in all and from one address | MaxConnections, MaxConnectionsPerIP | the connection is closed at once |
| time without a request, or in which nothing is taken | IdleTimeout (connections.max.idle.ms) | the connection is closed |
| time in which a request must go on arriving | FrameTimeout | the connection is closed |
| fetch sessions | MaxFetchSessions | fetches are answered whole, without a session |
| what members of one group hold, and those of all groups | (millstream.group.max.bytes, millstream.groups.max.bytes) | a member that brings more is answered GROUP_MAX_SIZE_REACHED |

## Not served

`
