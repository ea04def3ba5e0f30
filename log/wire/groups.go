package wire

import (
	"errors"
	"strings"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/segment"
)

// What the handlers of group requests (08 to 16, 42, 47, 68, 69) share.

// unavailable: the error is the coordinator's own, of a disk or of a closing
// broker. The client is to look for the coordinator anew.
func unavailable(err error) bool {
	for _, e := range []error{broker.ErrClosed, broker.ErrOffline, broker.ErrStorage, segment.ErrStorage, segment.ErrOffline, segment.ErrClosed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// groupCode is the code of a group request's error.
func (r *request) groupCode(err error) int16 {
	if unavailable(err) {
		r.errors++
		return codeCoordinatorNotAvailable
	}
	return r.fail(err)
}

// groupRefused says why a request about a group is refused before anything is
// looked up: 0 if it is not.
func (r *request) groupRefused(op acl.Operation, name string) int16 {
	switch {
	case !r.may(op, acl.TypeGroup, name):
		return forbidden(acl.TypeGroup)
	case name == "":
		return codeInvalidGroupID
	}
	return codeNone
}

// clientHost is the client's address as Kafka keeps it.
func (r *request) clientHost() string { return "/" + r.conn.host }

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// orNil is a nullable string of one that is empty where there is none.
func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// message is what an answer tells of an error; without the names of packages.
func message(err error) *string {
	if err == nil {
		return nil
	}
	s := err.Error()
	if _, rest, ok := strings.Cut(s, "group: "); ok {
		s = rest
	}
	return &s
}
