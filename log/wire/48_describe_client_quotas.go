package wire

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/internal/quota"
)

// DescribeClientQuotas (KIP-546): versions 0 and 1.

// How a component of the filter means names.
const (
	matchExact = iota
	matchDefault
	matchAny
)

func handleDescribeClientQuotas(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.DescribeClientQuotasRequest)
	resp := req.ResponseKind().(*kmsg.DescribeClientQuotasResponse)
	fail := func(code int16, text string) (kmsg.Response, error) {
		resp.ErrorCode, resp.ErrorMessage, resp.Entries = code, kmsg.StringPtr(text), nil
		r.errors++
		return resp, nil
	}
	if !r.mayCluster(acl.OpDescribeConfigs) {
		return fail(codeClusterAuthorizationFailed, "Cluster authorization failed")
	}
	filter, err := quotaFilter(req.Components)
	if err != nil {
		return fail(codeInvalidRequest, err.Error())
	}
	entries, err := s.b.Quotas().Select(filter, req.Strict)
	switch {
	case errors.Is(err, quota.ErrUnknownType):
		return fail(codeUnsupportedVersion, err.Error())
	case err != nil:
		return fail(codeInvalidRequest, err.Error())
	}
	resp.Entries = []kmsg.DescribeClientQuotasResponseEntry{}
	for _, e := range entries {
		out := kmsg.NewDescribeClientQuotasResponseEntry()
		for _, p := range e.Entity {
			ent := kmsg.NewDescribeClientQuotasResponseEntryEntity()
			ent.Type, ent.Name = p.Type, p.Name
			out.Entity = append(out.Entity, ent)
		}
		for _, key := range slices.Sorted(maps.Keys(e.Values)) {
			v := kmsg.NewDescribeClientQuotasResponseEntryValue()
			v.Key, v.Value = key, e.Values[key]
			out.Values = append(out.Values, v)
		}
		resp.Entries = append(resp.Entries, out)
	}
	return resp, nil
}

func quotaFilter(components []kmsg.DescribeClientQuotasRequestComponent) ([]quota.Match, error) {
	var filter []quota.Match
	for _, c := range components {
		m := quota.Match{Part: quota.Part{Type: c.EntityType}}
		switch {
		case c.MatchType == matchExact && c.Match != nil:
			m.Name = c.Match
		case c.MatchType == matchDefault && c.Match == nil:
		case c.MatchType == matchAny && c.Match == nil:
			m.AnyName = true
		default:
			return nil, fmt.Errorf("entity type %s: match type %d does not go with its match string", c.EntityType, c.MatchType)
		}
		filter = append(filter, m)
	}
	return filter, nil
}
