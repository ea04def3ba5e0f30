package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Metadata: versions 0 to 13.

func handleMetadata(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.MetadataRequest)
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	return resp, nil
}
