package wire

import (
	"context"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
)

// DescribeLogDirs (KIP-113): versions 1 to 5. v3 an error for the whole answer,
// v4 the size of the file system (KIP-827), v5 cordoned directories (KIP-1066),
// which there are none of. Sizes are those of the segments, without indexes, as Kafka's.

func handleDescribeLogDirs(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.DescribeLogDirsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeLogDirsResponse)
	resp.Dirs = []kmsg.DescribeLogDirsResponseDir{}
	if !r.mayCluster(acl.OpDescribe) {
		resp.ErrorCode, _ = r.denied(acl.TypeCluster)
		return resp, nil
	}
	d, err := s.b.LogDir()
	dir := kmsg.NewDescribeLogDirsResponseDir()
	dir.Dir, dir.ErrorCode = d.Path, r.fail(err)
	dir.TotalBytes, dir.UsableBytes = int64(min(d.Total, math.MaxInt64)), int64(min(d.Usable, math.MaxInt64))
	dir.Topics = []kmsg.DescribeLogDirsResponseDirTopic{}
	if req.Topics == nil {
		for v := range s.b.TopicViews() {
			dir.Topics = append(dir.Topics, logDirTopic(v, nil))
		}
	}
	for _, ask := range req.Topics {
		if v, ok := s.b.TopicView(ask.Topic); ok {
			if t := logDirTopic(v, ask.Partitions); len(t.Partitions) > 0 {
				dir.Topics = append(dir.Topics, t)
			}
		}
	}
	resp.Dirs = append(resp.Dirs, dir)
	return resp, nil
}

// logDirTopic tells the sizes of a topic's partitions: of those given, or of all.
func logDirTopic(v broker.TopicView, only []int32) kmsg.DescribeLogDirsResponseDirTopic {
	t := kmsg.NewDescribeLogDirsResponseDirTopic()
	t.Topic = v.Name
	add := func(n int32) {
		p := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
		p.Partition, p.Size = n, v.Partitions[n].Bytes()
		t.Partitions = append(t.Partitions, p)
	}
	if only == nil {
		for n := range v.Partitions {
			add(int32(n))
		}
	}
	for _, n := range only {
		if n >= 0 && int(n) < len(v.Partitions) {
			add(n)
		}
	}
	return t
}
