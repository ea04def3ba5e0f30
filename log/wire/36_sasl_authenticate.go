package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// SaslAuthenticate (KIP-152, KIP-368): versions 0 to 2. From version 1 on the
// answer says how long the session lasts.

func handleSaslAuthenticate(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.SASLAuthenticateRequest)
	resp := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
	resp.SASLAuthBytes = []byte{}
	st := r.conn.sasl
	if st == nil || st.phase != saslExchanging {
		resp.ErrorCode, resp.ErrorMessage = codeIllegalSaslState, kmsg.StringPtr("SaslAuthenticate without a SaslHandshake before it")
		r.errors++
		return resp, nil
	}
	answer, err := r.conn.saslToken(req.SASLAuthBytes)
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = codeSaslAuthenticationFailed, kmsg.StringPtr(st.refused(err))
		r.errors++
		r.last = r.conn.refuse(err)
		return resp, nil
	}
	resp.SASLAuthBytes = answer
	if st.phase == saslAuthenticated {
		resp.SessionLifetimeMillis = s.security.MaxReauth.Milliseconds()
	}
	return resp, nil
}
