package wire

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
)

// DescribeUserScramCredentials (KIP-554): version 0. It tells mechanisms and
// iterations, nothing that is derived from passwords.

func handleDescribeUserScramCredentials(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.DescribeUserSCRAMCredentialsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeUserSCRAMCredentialsResponse)
	resp.Results = []kmsg.DescribeUserSCRAMCredentialsResponseResult{}
	if !r.mayCluster(acl.OpDescribe) {
		resp.ErrorCode, resp.ErrorMessage = codeClusterAuthorizationFailed, kmsg.StringPtr("Cluster authorization failed")
		r.errors++
		return resp, nil
	}
	users := s.b.ScramUsers()
	var names []string
	times := map[string]int{}
	for _, u := range req.Users {
		if times[u.Name]++; times[u.Name] == 1 {
			names = append(names, u.Name)
		}
	}
	if len(names) == 0 {
		names = users.Names()
	}
	for _, name := range names {
		res := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
		res.User = name
		found := users.Mechanisms(name)
		switch {
		case times[name] > 1:
			res.ErrorCode, res.ErrorMessage = codeDuplicateResource, kmsg.StringPtr("Cannot describe SCRAM credentials for the same user twice in a single request: "+name)
			r.errors++
		case len(found) == 0:
			res.ErrorCode, res.ErrorMessage = codeResourceNotFound, kmsg.StringPtr("Attempt to describe a user credential that does not exist: "+name)
			r.errors++
		}
		for _, m := range slices.Sorted(maps.Keys(found)) {
			if res.ErrorCode != codeNone {
				break
			}
			info := kmsg.NewDescribeUserSCRAMCredentialsResponseResultCredentialInfo()
			info.Mechanism, info.Iterations = int8(m), found[m]
			res.CredentialInfos = append(res.CredentialInfos, info)
		}
		resp.Results = append(resp.Results, res)
	}
	return resp, nil
}
