package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
)

// AlterPartitionReassignments (KIP-455): versions 0 and 1. Partitions are on this
// node; whoever asks for that gets it at once, and anything else is impossible.

func handleAlterPartitionReassignments(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.AlterPartitionAssignmentsRequest)
	resp := req.ResponseKind().(*kmsg.AlterPartitionAssignmentsResponse)
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	resp.Topics = []kmsg.AlterPartitionAssignmentsResponseTopic{}
	if !r.mayCluster(acl.OpAlter) {
		resp.ErrorCode, resp.ErrorMessage = r.denied(acl.TypeCluster)
		return resp, nil
	}
	for _, ask := range req.Topics {
		t := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		t.Topic = ask.Topic
		for _, a := range ask.Partitions {
			p := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			p.Partition = a.Partition
			switch wrong := s.checkReplicas(a.Replicas); {
			case !s.existing(ask.Topic, a.Partition):
				p.ErrorCode, p.ErrorMessage = r.deny(codeUnknownTopicOrPartition, "No such topic or partition.")
			case a.Replicas == nil:
				p.ErrorCode, p.ErrorMessage = r.deny(codeNoReassignmentInProgress, "No partition reassignment is in progress.")
			case wrong != "":
				p.ErrorCode, p.ErrorMessage = r.deny(codeInvalidReplicaAssignment, wrong)
			}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp, nil
}
