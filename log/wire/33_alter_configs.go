package wire

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
)

// AlterConfigs: versions 0 to 2. What it says replaces all that a resource set;
// IncrementalAlterConfigs is what newer clients use.

func handleAlterConfigs(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.AlterConfigsRequest)
	resp := req.ResponseKind().(*kmsg.AlterConfigsResponse)
	all := make([]broker.Resource, len(req.Resources))
	for i := range req.Resources {
		all[i] = broker.Resource{Type: broker.ResourceType(req.Resources[i].ResourceType), Name: req.Resources[i].ResourceName}
	}
	twice := repeated(all)
	for i := range req.Resources {
		if twice[all[i]] && slices.Contains(all[:i], all[i]) {
			continue
		}
		res := kmsg.NewAlterConfigsResponseResource()
		res.ResourceType, res.ResourceName = req.Resources[i].ResourceType, all[i].Name
		if res.ErrorCode, res.ErrorMessage = alterable(r, all[i], twice); res.ErrorCode == codeNone {
			res.ErrorCode, res.ErrorMessage = s.replaceConfigs(r, all[i], req.Resources[i].Configs, req.ValidateOnly)
		}
		resp.Resources = append(resp.Resources, res)
	}
	return resp, nil
}

func (s *Server) replaceConfigs(r *request, of broker.Resource, configs []kmsg.AlterConfigsRequestResourceConfig, validateOnly bool) (int16, *string) {
	set := make(map[string]string, len(configs))
	for _, c := range configs {
		if c.Value == nil {
			return r.deny(codeInvalidRequest, "Null value not supported for : ", c.Name)
		}
		if _, ok := set[c.Name]; ok {
			return r.deny(codeInvalidRequest, "Error due to duplicate config keys: ", c.Name)
		}
		set[c.Name] = *c.Value
	}
	if of.Type == broker.BrokerLoggerResource {
		return r.deny(codeInvalidRequest, "Levels of loggers are altered one by one (IncrementalAlterConfigs).")
	}
	return r.refuse(s.b.ReplaceConfig(of, set, validateOnly))
}

// alterable refuses a resource that is named twice or not the client's to change.
func alterable(r *request, of broker.Resource, twice map[broker.Resource]bool) (int16, *string) {
	if twice[of] {
		return r.deny(codeInvalidRequest, "Each resource must appear at most once.")
	}
	if typ, ok := mayConfigure(r, acl.OpAlterConfigs, of); !ok {
		return r.denied(typ)
	}
	return codeNone, nil
}
