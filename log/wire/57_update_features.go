package wire

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/internal/acl"
)

// UpdateFeatures (KIP-584): versions 0 to 2. v1 kinds of upgrade and validation
// only (KIP-778), v2 no results. One error is that of all. What is in force is what the program
// speaks: it can be asked for, and nothing else.

func handleUpdateFeatures(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.UpdateFeaturesRequest)
	resp := req.ResponseKind().(*kmsg.UpdateFeaturesResponse)
	resp.Results = []kmsg.UpdateFeaturesResponseResult{}
	if !r.mayCluster(acl.OpAlter) {
		resp.ErrorCode, resp.ErrorMessage = r.denied(acl.TypeCluster)
		return resp, nil
	}
	names := make([]string, len(req.FeatureUpdates))
	for i := range req.FeatureUpdates {
		names[i] = req.FeatureUpdates[i].Feature
	}
	twice := repeated(names)
	for _, u := range req.FeatureUpdates {
		res := kmsg.NewUpdateFeaturesResponseResult()
		res.Feature = u.Feature
		if twice[u.Feature] {
			res.ErrorCode, res.ErrorMessage = r.deny(codeInvalidRequest, "Feature ", u.Feature, " is named more than once.")
		} else if wrong := updateFeature(u); wrong != "" {
			res.ErrorCode, res.ErrorMessage = r.deny(codeInvalidUpdateVersion, wrong)
		}
		if res.ErrorCode != codeNone {
			text := "The update failed for all features since the following feature had an error: " + *res.ErrorMessage
			resp.ErrorCode, resp.ErrorMessage, resp.Results = res.ErrorCode, &text, []kmsg.UpdateFeaturesResponseResult{}
			return resp, nil
		}
		resp.Results = append(resp.Results, res)
	}
	return resp, nil
}

// updateFeature says why a feature cannot have the level asked for; nothing if it has it.
func updateFeature(u kmsg.UpdateFeaturesRequestFeatureUpdate) string {
	for _, f := range features {
		if f.name != u.Feature {
			continue
		}
		if u.MaxVersionLevel == f.used {
			return ""
		}
		return fmt.Sprintf("Invalid update version %d for feature %s. It is %d, which is what this program speaks, and does not change while it runs.",
			u.MaxVersionLevel, u.Feature, f.used)
	}
	return fmt.Sprintf("Invalid update version %d for feature %s. The broker does not support this feature.", u.MaxVersionLevel, u.Feature)
}
