package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/internal/quota"
)

// AlterClientQuotas (KIP-546): versions 0 and 1. Each entity has its own
// answer: all of its changes are made, or none.

func handleAlterClientQuotas(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.AlterClientQuotasRequest)
	resp := req.ResponseKind().(*kmsg.AlterClientQuotasResponse)
	allowed := r.mayCluster(acl.OpAlterConfigs)
	var changes []quota.Alteration
	for _, e := range req.Entries {
		var c quota.Alteration
		out := kmsg.NewAlterClientQuotasResponseEntry()
		for _, p := range e.Entity {
			c.Entity = append(c.Entity, quota.Part{Type: p.Type, Name: p.Name})
			ent := kmsg.NewAlterClientQuotasResponseEntryEntity()
			ent.Type, ent.Name = p.Type, p.Name
			out.Entity = append(out.Entity, ent)
		}
		for _, op := range e.Ops {
			c.Ops = append(c.Ops, quota.Op{Key: op.Key, Value: op.Value, Remove: op.Remove})
		}
		changes = append(changes, c)
		resp.Entries = append(resp.Entries, out)
	}
	var results []error
	var err error
	switch {
	case !allowed:
	case req.ValidateOnly:
		_, results = s.b.Quotas().Alter(changes)
	default:
		results, err = s.b.AlterQuotas(changes)
	}
	for i := range resp.Entries {
		out := &resp.Entries[i]
		switch {
		case !allowed:
			out.ErrorCode, out.ErrorMessage = codeClusterAuthorizationFailed, kmsg.StringPtr("Cluster authorization failed")
			r.errors++
		case err != nil:
			out.ErrorCode, out.ErrorMessage = r.fail(err), kmsg.StringPtr(err.Error())
		case results[i] != nil:
			out.ErrorCode, out.ErrorMessage = codeInvalidRequest, kmsg.StringPtr(results[i].Error())
			r.errors++
		}
	}
	return resp, nil
}
