package wire

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
)

// ListConfigResources (KIP-1142): versions 0 and 1. v0 was
// ListClientMetricsResources (KIP-714) and lists those.

func handleListConfigResources(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.ListConfigResourcesRequest)
	resp := req.ResponseKind().(*kmsg.ListConfigResourcesResponse)
	resp.ConfigResources = []kmsg.ListConfigResourcesResponseConfigResource{}
	if !r.mayCluster(acl.OpDescribeConfigs) {
		resp.ErrorCode, _ = r.denied(acl.TypeCluster)
		return resp, nil
	}
	var types []broker.ResourceType
	for _, t := range req.ResourceTypes {
		switch rt := broker.ResourceType(t); rt {
		case broker.TopicResource, broker.BrokerResource, broker.BrokerLoggerResource, broker.ClientMetricsResource, broker.GroupResource:
			types = append(types, rt)
		default:
			resp.ErrorCode, _ = r.deny(codeUnsupportedVersion, fmt.Sprint("unexpected resource type ", t))
			return resp, nil
		}
	}
	if req.Version == 0 {
		types = []broker.ResourceType{broker.ClientMetricsResource}
	}
	for _, res := range s.b.ConfigResources(types...) {
		c := kmsg.NewListConfigResourcesResponseConfigResource()
		c.Name, c.Type = res.Name, int8(res.Type)
		resp.ConfigResources = append(resp.ConfigResources, c)
	}
	return resp, nil
}
