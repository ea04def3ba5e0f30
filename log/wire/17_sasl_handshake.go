package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// SaslHandshake (KIP-43, KIP-152): versions 0 and 1. After version 0 the tokens
// follow bare, after version 1 in SaslAuthenticate.

func handleSaslHandshake(_ context.Context, _ *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.SASLHandshakeRequest)
	resp := req.ResponseKind().(*kmsg.SASLHandshakeResponse)
	code, err := r.conn.saslHandshake(req.Version, req.Mechanism)
	resp.ErrorCode = code
	if r.conn.sasl != nil {
		resp.SupportedMechanisms = r.conn.sasl.offered
	}
	if code != codeNone {
		r.errors++
	}
	if err != nil {
		r.last = r.conn.refuse(err)
	}
	return resp, nil
}
