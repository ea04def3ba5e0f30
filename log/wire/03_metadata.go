package wire

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
)

// Metadata: versions 0 to 13. v4 auto-creation by flag, v7 leader epochs, v8
// authorized operations (KIP-430), v10 topic ids, v12 look-up by id (KIP-516),
// v13 an error for the whole answer (KIP-1102), which one node never needs.

func handleMetadata(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.MetadataRequest)
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	m := metadataAnswer{s: s, r: r, req: req, resp: resp, node: s.b.NodeID()}
	cluster := s.b.ClusterID()
	host, port := r.conn.advertised()
	resp.ClusterID, resp.ControllerID = &cluster, m.node
	self := kmsg.NewMetadataResponseBroker()
	self.NodeID, self.Host, self.Port = m.node, host, port
	resp.Brokers = append(resp.Brokers, self)
	if req.IncludeClusterAuthorizedOperations && req.Version <= 10 {
		resp.AuthorizedOperations = 0
		if r.mayCluster(acl.OpDescribe) {
			resp.AuthorizedOperations = r.authorizedOperations(acl.TypeCluster, acl.ClusterName)
		}
	}
	if err := m.topics(); err != nil {
		return nil, err
	}
	return resp, nil
}

// advertised is the address that clients of this connection's listener are
// told; where that is bound to all interfaces and nothing was said, the one by
// which this client came.
func (c *conn) advertised() (host string, port int32) {
	l := c.listener
	if ip := net.ParseIP(l.host); l.Advertised == "" && ip != nil && ip.IsUnspecified() {
		if a, ok := c.nc.LocalAddr().(*net.TCPAddr); ok {
			return a.IP.String(), l.port
		}
	}
	return l.host, l.port
}

// metadataAnswer gathers the topics of one answer.
type metadataAnswer struct {
	s    *Server
	r    *request
	req  *kmsg.MetadataRequest
	resp *kmsg.MetadataResponse
	node int32
	one  []int32 // the node, shared by all partitions as replicas and ISR
}

func (m *metadataAnswer) topics() error {
	m.one = []int32{m.node}
	all := m.req.Topics == nil || m.req.Version == 0 && len(m.req.Topics) == 0
	if all {
		for v := range m.s.b.TopicViews() {
			if m.r.may(acl.OpDescribe, acl.TypeTopic, v.Name) {
				m.found(v)
			}
		}
		return nil
	}
	byID := false
	for i := range m.req.Topics {
		t := &m.req.Topics[i]
		if m.req.Version < 12 && (t.Topic == nil || t.TopicID != [16]byte{}) {
			return malformed("topic names, and no topic ids, in a metadata request before version 12", fmt.Sprintf("%x in version %d", t.TopicID, m.req.Version))
		}
		byID = byID || t.TopicID != [16]byte{}
	}
	seen := make(map[any]bool, len(m.req.Topics))
	for i := range m.req.Topics {
		t := &m.req.Topics[i]
		switch {
		case byID && t.TopicID != [16]byte{}:
			if !seen[t.TopicID] {
				seen[t.TopicID] = true
				m.byID(t.TopicID)
			}
		case !byID && t.Topic != nil && !seen[*t.Topic]:
			seen[*t.Topic] = true
			m.byName(*t.Topic)
		}
	}
	return nil
}

func (m *metadataAnswer) byID(id [16]byte) {
	v, ok := m.s.b.TopicViewByID(id)
	switch {
	case !ok:
		m.failed(nil, id, codeUnknownTopicID)
	case !m.r.may(acl.OpDescribe, acl.TypeTopic, v.Name):
		m.failed(nil, id, forbidden(acl.TypeTopic))
	default:
		m.found(v)
	}
}

func (m *metadataAnswer) byName(name string) {
	if !m.r.may(acl.OpDescribe, acl.TypeTopic, name) {
		m.failed(&name, [16]byte{}, forbidden(acl.TypeTopic))
		return
	}
	if v, ok := m.s.b.TopicView(name); ok {
		m.found(v)
		return
	}
	if !m.create() {
		c := codeUnknownTopicOrPartition
		if !broker.ValidTopicName(name) {
			c = codeInvalidTopicException
		}
		m.failed(&name, [16]byte{}, c)
		return
	}
	if !m.r.mayCluster(acl.OpCreate) && !m.r.may(acl.OpCreate, acl.TypeTopic, name) {
		m.failed(&name, [16]byte{}, forbidden(acl.TypeTopic))
		return
	}
	// The topic is there now, and yet the answer is "not this time", as from Kafka,
	// whose controller makes it a moment later: clients ask again, and some take the
	// first answer to a name that was deleted as proof that it is gone. The code is
	// that of Kafka with ZooKeeper. Kafka 4.3 answers UNKNOWN_TOPIC_OR_PARTITION, at
	// which a group of kafka-go assigns no partitions and may never look again (on
	// Kafka too, when the topic comes between the leader's question and the
	// watcher's; here it always would).
	c := codeLeaderNotAvailable
	if _, err := m.s.b.CreateTopic(broker.TopicSpec{Name: name}); err != nil && !errors.Is(err, broker.ErrTopicExists) {
		c = code(err)
	}
	m.failed(&name, [16]byte{}, c)
}

// create says whether topics that are not there are to be made. Before version
// 4 the request could not say no.
func (m *metadataAnswer) create() bool {
	return !m.s.cfg.NoAutoCreate && (m.req.AllowAutoTopicCreation || m.req.Version < 4)
}

func (m *metadataAnswer) failed(name *string, id [16]byte, code int16) {
	t := kmsg.NewMetadataResponseTopic()
	t.Topic, t.TopicID, t.ErrorCode = name, id, code
	if m.req.IncludeTopicAuthorizedOperations && name != nil {
		t.AuthorizedOperations = m.r.authorizedOperations(acl.TypeTopic, *name)
	}
	m.r.errors++
	m.resp.Topics = append(m.resp.Topics, t)
}

func (m *metadataAnswer) found(v broker.TopicView) {
	t := kmsg.NewMetadataResponseTopic()
	t.Topic, t.TopicID, t.IsInternal = &v.Name, v.ID, v.Internal
	if m.req.IncludeTopicAuthorizedOperations {
		t.AuthorizedOperations = m.r.authorizedOperations(acl.TypeTopic, v.Name)
	}
	t.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(v.Partitions))
	for i, part := range v.Partitions {
		p := &t.Partitions[i]
		p.Default()
		p.Partition, p.Leader, p.LeaderEpoch = int32(i), m.node, int32(part.Offsets().Epoch)
		p.Replicas, p.ISR = m.one, m.one
		if part.Err() != nil {
			p.ErrorCode, p.Leader, p.ISR, p.OfflineReplicas = codeLeaderNotAvailable, -1, nil, m.one
		}
	}
	m.resp.Topics = append(m.resp.Topics, t)
}
