package wire

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// request is one request that is being handled.
//
// Invariant: what req holds as []byte lies in the frame, which is given back
// once the answer is written; strings are copies, except in produce and fetch
// requests, where they lie in the frame too. Whoever keeps one of those longer
// clones it.
type request struct {
	req      kmsg.Request // its version is the one asked for
	clientID string
	conn     *conn
	arrived  time.Time // when its last byte had been read

	api         *api
	correlation int32
	frame       frame
	errors      int // error codes put into the answer; see fail
	wait        func() kmsg.Response
	fetched     int64         // bytes of records in the answer to a fetch
	waited      time.Duration // of handling, for others; see waiting
	throttle    time.Duration // the client is over a quota for so long
	last        error // set: the connection ends with this once the answer is written
}

// version of the request.
func (r *request) version() int16 { return r.req.GetVersion() }

// later lets the connection go on with the next request and runs wait beside
// it, for answers whose order is fixed but which must wait for the disk. The
// handler then returns nil, nil. wait runs when all earlier answers of the
// connection are written.
func (r *request) later(wait func() kmsg.Response) { r.wait = wait }

// response makes the empty response of the request's kind and version.
func (r *request) response() kmsg.Response { return r.req.ResponseKind() }
