package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
)

// DescribeQuorum (KIP-595): versions 0 to 2. v1 times (KIP-836), v2 directories
// and nodes (KIP-853). The metadata is a file that this node writes alone: it is
// the leader and the only voter, and its writes since the start count as offsets.

const metadataTopic = "__cluster_metadata"

func handleDescribeQuorum(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.DescribeQuorumRequest)
	resp := req.ResponseKind().(*kmsg.DescribeQuorumResponse)
	if !r.mayCluster(acl.OpDescribe) {
		resp.ErrorCode, resp.ErrorMessage = r.denied(acl.TypeCluster)
		return resp, nil
	}
	for _, ask := range req.Topics {
		t := kmsg.NewDescribeQuorumResponseTopic()
		t.Topic = ask.Topic
		for _, a := range ask.Partitions {
			p := kmsg.NewDescribeQuorumResponseTopicPartition()
			p.Partition = a.Partition
			p.CurrentVoters = []kmsg.DescribeQuorumResponseTopicPartitionReplicaState{}
			p.Observers = []kmsg.DescribeQuorumResponseTopicPartitionReplicaState{}
			if ask.Topic != metadataTopic || a.Partition != 0 {
				p.ErrorCode, p.ErrorMessage = r.deny(codeUnknownTopicOrPartition, "The only quorum is that of ", metadataTopic, "-0.")
			} else {
				s.quorum(&p)
			}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	node := kmsg.NewDescribeQuorumResponseNode()
	node.NodeID = s.b.NodeID()
	for _, l := range s.bound {
		nl := kmsg.NewDescribeQuorumResponseNodeListener()
		nl.Name, nl.Host, nl.Port = l.Name, l.host, uint16(l.port)
		node.Listeners = append(node.Listeners, nl)
	}
	resp.Nodes = append(resp.Nodes, node)
	return resp, nil
}

func (s *Server) quorum(p *kmsg.DescribeQuorumResponseTopicPartition) {
	now := s.cfg.Now().UnixMilli()
	p.LeaderID, p.LeaderEpoch, p.HighWatermark = s.b.NodeID(), 1, s.b.MetadataWrites()
	voter := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
	voter.ReplicaID, voter.ReplicaDirectoryID, voter.LogEndOffset = s.b.NodeID(), s.b.DirectoryID(), p.HighWatermark
	voter.LastFetchTimestamp, voter.LastCaughtUpTimestamp = now, now
	p.CurrentVoters = append(p.CurrentVoters, voter)
}
