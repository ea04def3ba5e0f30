package wire

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// request is one request that is being handled.
//
// Invariant: the req of a produce lies in the frame, bytes and strings, and that of
// a fetch with its strings; a produce's frame is used again once the answer is
// written. Whoever keeps something of these longer clones it. Other requests
// are their own.
type request struct {
	req      kmsg.Request // its version is the one asked for
	clientID string
	conn     *conn
	arrived  time.Time // when its last byte had been read

	api         *api
	correlation int32
	frame       frame
	size        int // of the frame
	errors      int // error codes put into the answer; see fail
	wait        func() kmsg.Response
	fetched     int64         // bytes of records in the answer to a fetch
	waited      time.Duration // of handling, for others; see waiting
	throttle    time.Duration // the client is over a quota for so long
	last        error         // set: the connection ends with this once the answer is written
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
