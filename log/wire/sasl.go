package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Authentication by SASL on one connection (KIP-12, KIP-43, KIP-152, KIP-368).
//
//	awaiting ──handshake──► exchanging ──last token──► authenticated ──handshake──► exchanging ...
//	    │                       │ refused
//	    └─ ApiVersions only     └──► answered after FailureDelay, closed
//
// After a handshake of version 0 tokens come as frames of their own, without a
// request's header; after version 1 as SaslAuthenticate.
type saslPhase uint8

const (
	saslAwaiting saslPhase = iota
	saslExchanging
	saslAuthenticated
)

// maxBeforeAuth bounds a request of somebody who has not authenticated
// (sasl.server.max.receive.size).
const maxBeforeAuth = 512 << 10

// minReauth is the shortest time between two authentications of a connection, as Kafka's.
const minReauth = time.Second

// sasl is the state of a connection of a listener that asks for SASL. It is the
// serving goroutine's.
type sasl struct {
	offered   []string // the listener's mechanisms
	phase     saslPhase
	mechanism string
	exchange  exchange
	raw       bool  // tokens come without a header
	wrong     error // what the next token is refused with: another mechanism at re-authentication
	again     bool  // this is a re-authentication
	since     time.Time
	expires   time.Time // zero: never
}

const (
	keySaslHandshake    = 17
	keySaslAuthenticate = 36
)

// errUnauthenticated ends a connection that asks for something before it may.
var errUnauthenticated = errors.New("a request before authentication")

// errSessionExpired ends a connection that did not authenticate anew in time.
var errSessionExpired = errors.New("the session is over: the client did not authenticate anew within connections.max.reauth.ms")

// admits says whether a request may be handled in the connection's state; an
// error ends the connection, as in Kafka.
func (c *conn) admits(a *api) error {
	st := c.sasl
	switch {
	case st == nil:
		return nil
	case st.phase == saslAwaiting && !a.before:
		return c.fail(ClosedAuth, fmt.Errorf("%w: %s, expected SaslHandshake", errUnauthenticated, kmsg.NameForKey(a.key)))
	case st.phase == saslExchanging && a.key != keySaslAuthenticate:
		return c.fail(ClosedAuth, fmt.Errorf("%w: %s, expected SaslAuthenticate", errUnauthenticated, kmsg.NameForKey(a.key)))
	case st.phase == saslAuthenticated && a.key != keySaslHandshake && !st.expires.IsZero() && c.srv.cfg.Now().After(st.expires):
		return c.fail(ClosedAuth, errSessionExpired)
	}
	return nil
}

// patience is how long a request may be waited for: a client that has not
// authenticated yet has as long as for one request.
func (c *conn) patience() time.Duration {
	if c.sasl != nil && c.sasl.phase != saslAuthenticated {
		return min(c.srv.cfg.FrameTimeout, c.srv.cfg.IdleTimeout)
	}
	return c.srv.cfg.IdleTimeout
}

// saslHandshake chooses the mechanism; it gives the code to answer. closing is set
// if the connection ends with the answer.
func (c *conn) saslHandshake(version int16, mechanism string) (code int16, closing error) {
	st := c.sasl
	switch {
	case st == nil, st.phase == saslExchanging:
		return codeIllegalSaslState, nil
	case st.phase == saslAuthenticated && (version == 0 || c.srv.cfg.Now().Sub(st.since) < minReauth):
		return codeIllegalSaslState, nil
	case !slices.Contains(st.offered, mechanism):
		return codeUnsupportedSaslMechanism, refusal(fmt.Sprintf("SASL mechanism %.40q is not offered, only %v", mechanism, st.offered))
	}
	st.again, st.wrong = st.phase == saslAuthenticated, nil
	if st.again && mechanism != st.mechanism {
		st.wrong = refusal(fmt.Sprintf("SASL mechanism '%s' requested by client is not supported for re-authentication of mechanism '%s'", mechanism, st.mechanism))
		mechanism = st.mechanism
	}
	ex, err := newExchange(mechanism, c.srv.security, c.srv.b)
	if err != nil {
		return codeUnknownServerError, err
	}
	st.mechanism, st.exchange, st.phase, st.raw = mechanism, ex, saslExchanging, version == 0
	if st.raw {
		c.in.min = 0
	}
	return codeNone, nil
}

// saslToken takes a token of the client. An error refuses it.
func (c *conn) saslToken(token []byte) (answer []byte, err error) {
	st := c.sasl
	if st.wrong != nil {
		return nil, st.wrong
	}
	answer, done, err := st.exchange.step(token)
	if err != nil || !done {
		return answer, err
	}
	principal := "User:" + st.exchange.user()
	if st.again && principal != c.principal {
		return nil, refusal(fmt.Sprintf("Cannot change principals during re-authentication from %s: %s", c.principal, principal))
	}
	if !st.again {
		c.principal = principal
		c.in.max, c.in.min = c.srv.cfg.MaxRequestBytes, minHeader
	}
	st.phase, st.exchange, st.raw, st.since = saslAuthenticated, nil, false, c.srv.cfg.Now()
	if life := c.srv.security.MaxReauth; life > 0 {
		st.expires = st.since.Add(life)
	}
	return answer, nil
}

// refused is what the client is told of an error of saslToken: nothing of
// which users there are.
func (st *sasl) refused(err error) string {
	var r refusal
	if errors.As(err, &r) {
		return r.Error()
	}
	what := "authentication"
	if st.again {
		what = "re-authentication"
	}
	return fmt.Sprintf("Authentication failed during %s due to invalid credentials with SASL mechanism %s", what, st.mechanism)
}

// refuse waits as long as failures are put off and gives the error that ends the connection.
func (c *conn) refuse(err error) error {
	user := ""
	if ex := c.sasl.exchange; ex != nil {
		user = ex.user()
	}
	if d := c.srv.security.FailureDelay; d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-c.ctx.Done():
		}
	}
	return fmt.Errorf("SASL %s: user %.100q: %w", c.sasl.mechanism, user, err)
}

// rawToken reads one token of a conversation without headers and answers it.
func (c *conn) rawToken(fr *frame) error {
	answer, err := c.saslToken(fr.b)
	fr.release()
	if err != nil {
		return c.fail(ClosedAuth, c.refuse(err))
	}
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(answer)), uint32(len(answer)))
	return c.send(append(b, answer...))
}
