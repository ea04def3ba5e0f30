package wire

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/internal/scram"
)

// AlterUserScramCredentials (KIP-554): version 0. The client sends salted
// passwords; what is kept of them cannot be used to log in.

func handleAlterUserScramCredentials(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.AlterUserSCRAMCredentialsRequest)
	resp := req.ResponseKind().(*kmsg.AlterUserSCRAMCredentialsResponse)
	var deletions []scram.Deletion
	var upsertions []scram.Upsertion
	results := map[string]error{}
	for _, d := range req.Deletions {
		deletions = append(deletions, scram.Deletion{Name: d.Name, Mechanism: scram.Mechanism(d.Mechanism)})
		results[d.Name] = errForbidden
	}
	for _, u := range req.Upsertions {
		upsertions = append(upsertions, scram.Upsertion{
			Name: u.Name, Mechanism: scram.Mechanism(u.Mechanism), Iterations: u.Iterations,
			Salt: slices.Clone(u.Salt), Salted: u.SaltedPassword,
		})
		results[u.Name] = errForbidden
	}
	if r.mayCluster(acl.OpAlter) {
		altered, err := s.b.AlterScramUsers(deletions, upsertions)
		for name := range results {
			if results[name] = altered[name]; err != nil {
				results[name] = err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(results)) {
		res := kmsg.NewAlterUserSCRAMCredentialsResponseResult()
		res.User = name
		if err := results[name]; err != nil {
			res.ErrorCode, res.ErrorMessage = r.fail(err), kmsg.StringPtr(err.Error())
		} else {
			s.cfg.Logger.Info("SCRAM user altered", "user", name, "by", r.conn.principal)
		}
		resp.Results = append(resp.Results, res)
	}
	return resp, nil
}

// errForbidden: the principal may not do this to the cluster.
//
//lint:ignore ST1005 Kafka's own words
var errForbidden = errors.New("Cluster authorization failed")
