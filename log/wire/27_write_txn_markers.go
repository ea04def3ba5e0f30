package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/record"
)

// WriteTxnMarkers: versions 1 and 2. What Kafka's brokers send each other, and an
// administrator to end a transaction that hangs (KIP-664). v2 carries the
// transaction's version (KIP-1228).

func handleWriteTxnMarkers(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.WriteTxnMarkersRequest)
	resp := r.response().(*kmsg.WriteTxnMarkersResponse)
	allowed := r.mayCluster(acl.OpAlter) || r.mayCluster(acl.OpClusterAction)
	for i := range req.Markers {
		m := &req.Markers[i]
		out := kmsg.WriteTxnMarkersResponseMarker{ProducerID: m.ProducerID}
		for _, topic := range m.Topics {
			t := kmsg.WriteTxnMarkersResponseMarkerTopic{Topic: topic.Topic}
			for _, p := range topic.Partitions {
				c := forbidden(acl.TypeCluster)
				if allowed {
					c = r.fail(s.writeMarker(m, topicPartition(topic.Topic, p)))
				}
				t.Partitions = append(t.Partitions, kmsg.WriteTxnMarkersResponseMarkerTopicPartition{Partition: p, ErrorCode: c})
			}
			out.Topics = append(out.Topics, t)
		}
		resp.Markers = append(resp.Markers, out)
	}
	return resp, nil
}

func (s *Server) writeMarker(m *kmsg.WriteTxnMarkersRequestMarker, tp record.TopicPartition) error {
	marker := record.Marker{Type: record.AbortMarker, CoordinatorEpoch: m.CoordinatorEpoch}
	if m.Committed {
		marker.Type = record.CommitMarker
	}
	return s.b.WriteTxnMarker(tp, identityOf(m.ProducerID, m.ProducerEpoch), marker, m.TransactionVersion >= 2)
}
