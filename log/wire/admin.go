package wire

import (
	"slices"
	"strconv"
	"strings"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
)

// What the handlers of administration share (keys 19-21, 32-35, 37, 43-46, 55,
// 57, 60, 74, 75).

// refuse counts an error of the answer and gives its code with words for the client.
func (r *request) refuse(err error) (int16, *string) {
	if err == nil {
		return codeNone, nil
	}
	text := err.Error()
	return r.fail(err), &text
}

// deny counts a refusal and gives its code with the words given.
func (r *request) deny(code int16, words ...string) (int16, *string) {
	r.errors++
	text := strings.Join(words, "")
	return code, &text
}

// denied is the answer to who may not do op on a topic, or on the cluster.
func (r *request) denied(typ acl.ResourceType) (int16, *string) {
	words := map[acl.ResourceType]string{acl.TypeTopic: "Topic", acl.TypeGroup: "Group", acl.TypeCluster: "Cluster"}[typ]
	return r.deny(forbidden(typ), words, " authorization failed.")
}

// repeated are the values that occur more than once.
func repeated[T comparable](values []T) map[T]bool {
	seen, out := make(map[T]bool, len(values)), map[T]bool{}
	for _, v := range values {
		if seen[v] {
			out[v] = true
		}
		seen[v] = true
	}
	return out
}

// checkReplicas holds an assignment to this node, the only one there is. It
// returns what is wrong with it, or nothing.
func (s *Server) checkReplicas(replicas []int32) string {
	switch node := s.b.NodeID(); {
	case len(replicas) == 0:
		return "The manual partition assignment includes an empty replica list."
	case slices.IndexFunc(replicas, func(r int32) bool { return r != node }) >= 0:
		return "The manual partition assignment includes a broker that is not registered: the only one is " + strconv.Itoa(int(node)) + "."
	case len(replicas) > 1:
		return "The manual partition assignment includes the broker " + strconv.Itoa(int(node)) + " more than once."
	}
	return ""
}

// existing finds a topic's partition as the reassignment and election APIs ask.
func (s *Server) existing(topic string, partition int32) bool {
	v, ok := s.b.TopicView(topic)
	return ok && partition >= 0 && int(partition) < len(v.Partitions)
}

// mayConfigure says whether the principal may do op on a resource, and whose
// access control that is: topics and
// groups have their own, the rest is the cluster's.
func mayConfigure(r *request, op acl.Operation, res broker.Resource) (acl.ResourceType, bool) {
	switch res.Type {
	case broker.TopicResource:
		return acl.TypeTopic, r.may(op, acl.TypeTopic, res.Name)
	case broker.GroupResource:
		return acl.TypeGroup, r.may(op, acl.TypeGroup, res.Name)
	}
	return acl.TypeCluster, r.mayCluster(op)
}
