package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
)

// DescribeCluster (KIP-700): versions 0 to 2. v1 brokers or controllers
// (KIP-919), v2 fenced brokers (KIP-1073), which there are none of.

const (
	endpointBrokers     = 1
	endpointControllers = 2
)

func handleDescribeCluster(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.DescribeClusterRequest)
	resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)
	resp.EndpointType = endpointBrokers
	resp.Brokers = []kmsg.DescribeClusterResponseBroker{}
	switch {
	case req.Version == 0 || req.EndpointType == endpointBrokers:
	case req.EndpointType == endpointControllers:
		resp.ErrorCode, resp.ErrorMessage = r.deny(codeMismatchedEndpointType, "The request was sent to an endpoint of type BROKER, but it asks for CONTROLLER.")
		return resp, nil
	default:
		resp.ErrorCode, resp.ErrorMessage = r.deny(codeUnsupportedEndpointType, "Unsupported endpoint type: expected brokers 1 or controllers 2.")
		return resp, nil
	}
	resp.ClusterID, resp.ControllerID = s.b.ClusterID(), s.b.NodeID()
	self := kmsg.NewDescribeClusterResponseBroker()
	self.NodeID = s.b.NodeID()
	self.Host, self.Port = r.conn.advertised()
	if rack := s.b.Setting("broker.rack"); rack != "" {
		self.Rack = &rack
	}
	resp.Brokers = append(resp.Brokers, self)
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = 0
		if r.mayCluster(acl.OpDescribe) {
			resp.ClusterAuthorizedOperations = r.authorizedOperations(acl.TypeCluster, acl.ClusterName)
		}
	}
	return resp, nil
}
