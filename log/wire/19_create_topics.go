package wire

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
)

// CreateTopics: versions 2 to 7. v4 the broker's defaults by -1 (KIP-464), v5
// what was made (KIP-525), v6 quota errors (KIP-599), v7 topic ids (KIP-516).

func handleCreateTopics(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.CreateTopicsRequest)
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	names := make([]string, len(req.Topics))
	for i := range req.Topics {
		names[i] = req.Topics[i].Topic
	}
	twice := repeated(names)
	for i := range req.Topics {
		if i > 0 && twice[names[i]] && slices.Contains(names[:i], names[i]) {
			continue
		}
		t := kmsg.NewCreateTopicsResponseTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = names[i], -1, -1
		switch {
		case twice[names[i]]:
			t.ErrorCode, t.ErrorMessage = r.deny(codeInvalidRequest, "Duplicate topic name.")
		case !r.mayCluster(acl.OpCreate) && !r.may(acl.OpCreate, acl.TypeTopic, names[i]):
			t.ErrorCode, t.ErrorMessage = r.denied(acl.TypeTopic)
		default:
			s.createTopic(r, req, &req.Topics[i], &t)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp, nil
}

func (s *Server) createTopic(r *request, req *kmsg.CreateTopicsRequest, ask *kmsg.CreateTopicsRequestTopic, t *kmsg.CreateTopicsResponseTopic) {
	spec := broker.TopicSpec{Name: ask.Topic, Partitions: ask.NumPartitions, Strict: true, ValidateOnly: true, Configs: map[string]string{}}
	if t.ErrorCode, t.ErrorMessage = s.checkCreate(r, ask, &spec); t.ErrorCode != codeNone {
		return
	}
	top, err := s.b.CreateTopic(spec)
	if err == nil && !req.ValidateOnly {
		if t.ErrorCode = r.mutate(int(top.Partitions), 6); t.ErrorCode != codeNone {
			t.ErrorCode, t.ErrorMessage = r.deny(t.ErrorCode, "The throttling quota has been exceeded.")
			return
		}
		spec.ValidateOnly = false
		top, err = s.b.CreateTopic(spec)
	}
	if errors.Is(err, broker.ErrTopicExists) { // Kafka's words, which its tools look for
		t.ErrorCode, t.ErrorMessage = r.deny(codeTopicAlreadyExists, "Topic '", ask.Topic, "' already exists.")
		return
	}
	if err != nil {
		t.ErrorCode, t.ErrorMessage = r.refuse(err)
		return
	}
	t.TopicID = top.ID
	if req.Version < 5 {
		return
	}
	if !r.may(acl.OpDescribeConfigs, acl.TypeTopic, ask.Topic) {
		t.ConfigErrorCode = codeTopicAuthorizationFailed
		return
	}
	t.NumPartitions, t.ReplicationFactor = top.Partitions, 1
	t.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
	for _, e := range s.b.DescribeTopicSpec(spec) {
		c := kmsg.NewCreateTopicsResponseTopicConfig()
		c.Name, c.Value, c.ReadOnly, c.Source, c.IsSensitive = e.Name, configValue(e), e.ReadOnly, int8(e.Source), e.Sensitive
		t.Configs = append(t.Configs, c)
	}
}

// checkCreate holds the request to what Kafka asks of it and completes the spec.
func (s *Server) checkCreate(r *request, ask *kmsg.CreateTopicsRequestTopic, spec *broker.TopicSpec) (int16, *string) {
	for _, c := range ask.Configs {
		if c.Value == nil {
			return r.deny(codeInvalidConfig, "Null value not supported for topic configs: ", c.Name)
		}
		spec.Configs[c.Name] = *c.Value
	}
	if len(ask.ReplicaAssignment) > 0 {
		return s.checkAssignment(r, ask, spec)
	}
	switch {
	case ask.NumPartitions == 0 || ask.NumPartitions < -1:
		return r.deny(codeInvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
	case ask.ReplicationFactor == 0 || ask.ReplicationFactor < -1:
		return r.deny(codeInvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
	case ask.ReplicationFactor > 1:
		return r.deny(codeInvalidReplicationFactor, fmt.Sprintf("Unable to replicate the partition %d time(s): there is 1 broker.", ask.ReplicationFactor))
	}
	spec.Partitions = max(ask.NumPartitions, 0)
	return codeNone, nil
}

// checkAssignment is for a request that says where each partition is to be.
func (s *Server) checkAssignment(r *request, ask *kmsg.CreateTopicsRequestTopic, spec *broker.TopicSpec) (int16, *string) {
	if ask.ReplicationFactor != -1 {
		return r.deny(codeInvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1.")
	}
	if ask.NumPartitions != -1 {
		return r.deny(codeInvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1.")
	}
	seen := map[int32]bool{}
	for _, a := range ask.ReplicaAssignment {
		if seen[a.Partition] {
			return r.deny(codeInvalidReplicaAssignment, fmt.Sprintf("Found multiple manual partition assignments for partition %d", a.Partition))
		}
		seen[a.Partition] = true
		if wrong := s.checkReplicas(a.Replicas); wrong != "" {
			return r.deny(codeInvalidReplicaAssignment, wrong)
		}
	}
	for n := range int32(len(seen)) {
		if !seen[n] {
			return r.deny(codeInvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence")
		}
	}
	spec.Partitions = int32(len(seen))
	return codeNone, nil
}
