package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
)

// AlterReplicaLogDirs (KIP-113): versions 1 and 2. There is one directory, so a
// partition is where it is asked for, or there is no such place.

func handleAlterReplicaLogDirs(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.AlterReplicaLogDirsRequest)
	resp := req.ResponseKind().(*kmsg.AlterReplicaLogDirsResponse)
	allowed := r.mayCluster(acl.OpAlter)
	dir, err := s.b.LogDir()
	at := map[string]int{}
	for _, d := range req.Dirs {
		for _, ask := range d.Topics {
			i, ok := at[ask.Topic]
			if !ok {
				t := kmsg.NewAlterReplicaLogDirsResponseTopic()
				t.Topic = ask.Topic
				i = len(resp.Topics)
				at[ask.Topic], resp.Topics = i, append(resp.Topics, t)
			}
			for _, n := range ask.Partitions {
				p := kmsg.NewAlterReplicaLogDirsResponseTopicPartition()
				p.Partition = n
				switch {
				case !allowed:
					p.ErrorCode, _ = r.denied(acl.TypeCluster)
				case err != nil:
					p.ErrorCode = r.fail(err)
				case d.Dir != dir.Path:
					p.ErrorCode, _ = r.deny(codeLogDirNotFound)
				case !s.existing(ask.Topic, n):
					p.ErrorCode, _ = r.deny(codeReplicaNotAvailable)
				}
				resp.Topics[i].Partitions = append(resp.Topics[i].Partitions, p)
			}
		}
	}
	return resp, nil
}
