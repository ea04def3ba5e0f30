package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
)

// IncrementalAlterConfigs (KIP-339): versions 0 and 1.

func handleIncrementalAlterConfigs(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.IncrementalAlterConfigsRequest)
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	all := make([]broker.Resource, len(req.Resources))
	for i := range req.Resources {
		all[i] = broker.Resource{Type: broker.ResourceType(req.Resources[i].ResourceType), Name: req.Resources[i].ResourceName}
	}
	twice := repeated(all)
	for i := range req.Resources {
		res := kmsg.NewIncrementalAlterConfigsResponseResource()
		res.ResourceType, res.ResourceName = req.Resources[i].ResourceType, all[i].Name
		if res.ErrorCode, res.ErrorMessage = alterable(r, all[i], twice); res.ErrorCode == codeNone {
			res.ErrorCode, res.ErrorMessage = s.changeConfigs(r, all[i], req.Resources[i].Configs, req.ValidateOnly)
		}
		resp.Resources = append(resp.Resources, res)
	}
	return resp, nil
}

func (s *Server) changeConfigs(r *request, of broker.Resource, configs []kmsg.IncrementalAlterConfigsRequestResourceConfig, validateOnly bool) (int16, *string) {
	changes := make([]broker.ConfigChange, len(configs))
	for i, c := range configs {
		changes[i] = broker.ConfigChange{Op: broker.ConfigOp(c.Op), Name: c.Name}
		if c.Value != nil {
			changes[i].Value = *c.Value
		} else if changes[i].Op != broker.DeleteConfig {
			return r.deny(codeInvalidRequest, "Null value not supported for : ", c.Name)
		}
	}
	return r.refuse(s.b.AlterConfig(of, changes, validateOnly))
}
