package wire

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
)

// adminRights are those of topics, configurations and the cluster.
func adminRights() []rightCase {
	topic, cluster := codeTopicAuthorizationFailed, codeClusterAuthorizationFailed
	create := func(_ *testServer, name string) kmsg.Request {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Version = 4
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, 1, 1
		req.Topics = append(req.Topics, t)
		return req
	}
	remove := func(req *kmsg.DeleteTopicsRequest, name *string, id [16]byte) kmsg.Request {
		req.Version = 6
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic, t.TopicID = name, id
		req.Topics = append(req.Topics, t)
		return req
	}
	return []rightCase{
		{key: 19, needs: []right{topicRight(acl.OpCreate)}, want: topic, req: create},
		{key: 19, what: "with Create on the cluster", needs: []right{clusterRight(acl.OpCreate)}, want: topic, req: create},
		{key: 20, needs: []right{topicRight(acl.OpDelete)}, want: topic, req: func(_ *testServer, name string) kmsg.Request {
			return remove(kmsg.NewPtrDeleteTopicsRequest(), &name, [16]byte{})
		}},
		{key: 20, what: "by id", needs: []right{topicRight(acl.OpDelete)}, want: topic, req: func(ts *testServer, _ string) kmsg.Request {
			return remove(kmsg.NewPtrDeleteTopicsRequest(), nil, ts.secretID())
		}},
		{key: 37, needs: []right{topicRight(acl.OpAlter)}, want: topic, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrCreatePartitionsRequest()
			req.Version = 3
			t := kmsg.NewCreatePartitionsRequestTopic()
			t.Topic, t.Count = name, 3
			req.Topics = append(req.Topics, t)
			return req
		}},
		{key: 32, needs: []right{topicRight(acl.OpDescribeConfigs)}, want: topic, req: describeConfigs(kmsg.ConfigResourceTypeTopic)},
		{key: 32, what: "of the broker", needs: []right{clusterRight(acl.OpDescribeConfigs)}, want: cluster, req: describeConfigs(kmsg.ConfigResourceTypeBroker)},
		{key: 32, what: "of a group", needs: []right{groupRight(acl.OpDescribeConfigs)}, want: codeGroupAuthorizationFailed, req: describeConfigs(kmsg.ConfigResourceTypeGroupConfig)},
		{key: 33, needs: []right{topicRight(acl.OpAlterConfigs)}, want: topic, req: alterConfigs(kmsg.ConfigResourceTypeTopic, "retention.ms")},
		{key: 33, what: "of the broker", needs: []right{clusterRight(acl.OpAlterConfigs)}, want: cluster, req: alterConfigs(kmsg.ConfigResourceTypeBroker, "log.retention.ms")},
		{key: 44, needs: []right{topicRight(acl.OpAlterConfigs)}, want: topic, req: changeConfigs(kmsg.ConfigResourceTypeTopic, "retention.ms")},
		{key: 44, what: "of the broker", needs: []right{clusterRight(acl.OpAlterConfigs)}, want: cluster, req: changeConfigs(kmsg.ConfigResourceTypeBroker, "log.retention.ms")},
		{key: 44, what: "of its loggers", needs: []right{clusterRight(acl.OpAlterConfigs)}, want: cluster, req: changeConfigs(kmsg.ConfigResourceTypeBrokerLogger, "root")},
		{key: 44, what: "of a group", needs: []right{groupRight(acl.OpAlterConfigs)}, want: codeGroupAuthorizationFailed, req: changeConfigs(kmsg.ConfigResourceTypeGroupConfig, "consumer.session.timeout.ms")},
		{key: 34, needs: []right{clusterRight(acl.OpAlter)}, want: cluster, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrAlterReplicaLogDirsRequest()
			req.Version = 2
			d, t := kmsg.NewAlterReplicaLogDirsRequestDir(), kmsg.NewAlterReplicaLogDirsRequestDirTopic()
			d.Dir, t.Topic, t.Partitions = "/x", name, []int32{0}
			d.Topics = append(d.Topics, t)
			req.Dirs = append(req.Dirs, d)
			return req
		}},
		{key: 35, needs: []right{clusterRight(acl.OpDescribe)}, want: cluster, req: func(*testServer, string) kmsg.Request {
			req := kmsg.NewPtrDescribeLogDirsRequest()
			req.Version = 4
			return req
		}},
		{key: 43, needs: []right{clusterRight(acl.OpAlter)}, want: cluster, req: func(*testServer, string) kmsg.Request {
			req := kmsg.NewPtrElectLeadersRequest()
			req.Version = 2
			return req
		}},
		{key: 45, needs: []right{clusterRight(acl.OpAlter)}, want: cluster, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
			t, p := kmsg.NewAlterPartitionAssignmentsRequestTopic(), kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
			t.Topic, p.Replicas = name, []int32{1}
			t.Partitions = append(t.Partitions, p)
			req.Topics = append(req.Topics, t)
			return req
		}},
		{key: 46, needs: []right{clusterRight(acl.OpDescribe)}, want: cluster, req: func(*testServer, string) kmsg.Request {
			return kmsg.NewPtrListPartitionReassignmentsRequest()
		}},
		{key: 55, needs: []right{clusterRight(acl.OpDescribe)}, want: cluster, req: func(*testServer, string) kmsg.Request {
			req := kmsg.NewPtrDescribeQuorumRequest()
			t, p := kmsg.NewDescribeQuorumRequestTopic(), kmsg.NewDescribeQuorumRequestTopicPartition()
			t.Topic = "__cluster_metadata"
			t.Partitions = append(t.Partitions, p)
			req.Topics = append(req.Topics, t)
			return req
		}},
		{key: 57, needs: []right{clusterRight(acl.OpAlter)}, want: cluster, req: func(*testServer, string) kmsg.Request {
			req := kmsg.NewPtrUpdateFeaturesRequest()
			req.Version = 1
			f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
			f.Feature, f.MaxVersionLevel, f.UpgradeType = "transaction.version", 2, 1
			req.FeatureUpdates = append(req.FeatureUpdates, f)
			return req
		}},
		{key: 74, needs: []right{clusterRight(acl.OpDescribeConfigs)}, want: cluster, req: func(*testServer, string) kmsg.Request {
			return kmsg.NewPtrListConfigResourcesRequest()
		}},
	}
}

// resourceName is what a resource of the type is called where a topic would be name.
func resourceName(ts *testServer, typ kmsg.ConfigResourceType, name string) string {
	if typ == kmsg.ConfigResourceTypeBroker || typ == kmsg.ConfigResourceTypeBrokerLogger {
		return strconv.Itoa(int(ts.b.NodeID()))
	}
	return name
}

func describeConfigs(typ kmsg.ConfigResourceType) func(*testServer, string) kmsg.Request {
	return func(ts *testServer, name string) kmsg.Request {
		req := kmsg.NewPtrDescribeConfigsRequest()
		req.Version = 4
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = typ, resourceName(ts, typ, name)
		req.Resources = append(req.Resources, r)
		return req
	}
}

func alterConfigs(typ kmsg.ConfigResourceType, config string) func(*testServer, string) kmsg.Request {
	return func(ts *testServer, name string) kmsg.Request {
		req := kmsg.NewPtrAlterConfigsRequest()
		req.Version = 2
		r, c := kmsg.NewAlterConfigsRequestResource(), kmsg.NewAlterConfigsRequestResourceConfig()
		r.ResourceType, r.ResourceName, c.Name, c.Value = typ, resourceName(ts, typ, name), config, str("100000")
		r.Configs = append(r.Configs, c)
		req.Resources = append(req.Resources, r)
		return req
	}
}

func changeConfigs(typ kmsg.ConfigResourceType, config string) func(*testServer, string) kmsg.Request {
	return func(ts *testServer, name string) kmsg.Request {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		req.Version = 1
		r, c := kmsg.NewIncrementalAlterConfigsRequestResource(), kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		r.ResourceType, r.ResourceName, c.Name, c.Value = typ, resourceName(ts, typ, name), config, str("60000")
		r.Configs = append(r.Configs, c)
		req.Resources = append(req.Resources, r)
		return req
	}
}

// securityRights are those of access control lists, users and quotas.
func securityRights() []rightCase {
	cluster := codeClusterAuthorizationFailed
	return []rightCase{
		{key: 29, needs: []right{clusterRight(acl.OpDescribe)}, want: cluster, req: func(*testServer, string) kmsg.Request {
			req := kmsg.NewPtrDescribeACLsRequest()
			req.Version, req.ResourceType, req.ResourcePatternType, req.Operation, req.PermissionType = 3, 1, 1, 1, 1
			return req
		}},
		{key: 30, needs: []right{clusterRight(acl.OpAlter)}, want: cluster, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrCreateACLsRequest()
			req.Version = 3
			c := kmsg.NewCreateACLsRequestCreation()
			c.ResourceType, c.ResourceName, c.ResourcePatternType, c.Principal, c.Host, c.Operation, c.PermissionType = 2, name, 3, "User:alice", "*", 3, 3
			req.Creations = append(req.Creations, c)
			return req
		}},
		{key: 31, needs: []right{clusterRight(acl.OpAlter)}, want: cluster, req: func(*testServer, string) kmsg.Request {
			req := kmsg.NewPtrDeleteACLsRequest()
			req.Version = 3
			f := kmsg.NewDeleteACLsRequestFilter()
			f.ResourceType, f.ResourcePatternType, f.Operation, f.PermissionType = 1, 1, 1, 1
			req.Filters = append(req.Filters, f)
			return req
		}},
		{key: 48, needs: []right{clusterRight(acl.OpDescribeConfigs)}, want: cluster, req: func(*testServer, string) kmsg.Request {
			return kmsg.NewPtrDescribeClientQuotasRequest()
		}},
		{key: 49, needs: []right{clusterRight(acl.OpAlterConfigs)}, want: cluster, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrAlterClientQuotasRequest()
			e, p, op := kmsg.NewAlterClientQuotasRequestEntry(), kmsg.NewAlterClientQuotasRequestEntryEntity(), kmsg.NewAlterClientQuotasRequestEntryOp()
			p.Type, p.Name, op.Key, op.Value = "user", &name, "producer_byte_rate", 1
			e.Entity, e.Ops = append(e.Entity, p), append(e.Ops, op)
			req.Entries = append(req.Entries, e)
			return req
		}},
		{key: 50, needs: []right{clusterRight(acl.OpDescribe)}, want: cluster, req: func(*testServer, string) kmsg.Request {
			return kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
		}},
		{key: 51, needs: []right{clusterRight(acl.OpAlter)}, want: cluster, req: func(_ *testServer, name string) kmsg.Request {
			req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
			u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
			u.Name, u.Mechanism, u.Iterations, u.Salt, u.SaltedPassword = name, 1, 4096, []byte("salt"), []byte("salted")
			req.Upsertions = append(req.Upsertions, u)
			return req
		}},
	}
}
