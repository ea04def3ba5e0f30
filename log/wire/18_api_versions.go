package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ApiVersions (KIP-35, KIP-511, KIP-584): versions 0 to 4.

// feature is one that KIP-584 lists: what the server could do, and what is in force.
type feature struct {
	name           string
	min, max, used int16
}

// features as ApiVersions shows them. Java's producer speaks the second
// transaction protocol only where transaction.version is finalized at 2 or above.
var features = []feature{
	{"group.version", 0, 1, 1},
	{"metadata.version", 7, 29, 29},
	{"transaction.version", 0, 2, 2},
}

func handleApiVersions(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.ApiVersionsRequest)
	resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
	resp.ApiKeys = s.apiVersions()
	if req.Version < 3 {
		return resp, nil
	}
	resp.FinalizedFeaturesEpoch = 0
	for _, f := range features {
		sf := kmsg.NewApiVersionsResponseSupportedFeature()
		sf.Name, sf.MinVersion, sf.MaxVersion = f.name, f.min, f.max
		if req.Version < 4 {
			sf.MinVersion = max(sf.MinVersion, 1) // before KIP-1022 a minimum of 0 could not be said
		}
		resp.SupportedFeatures = append(resp.SupportedFeatures, sf)
		ff := kmsg.NewApiVersionsResponseFinalizedFeature()
		ff.Name, ff.MinVersionLevel, ff.MaxVersionLevel = f.name, f.used, f.used
		resp.FinalizedFeatures = append(resp.FinalizedFeatures, ff)
	}
	return resp, nil
}

// apiVersions lists the table.
func (s *Server) apiVersions() []kmsg.ApiVersionsResponseApiKey {
	out := make([]kmsg.ApiVersionsResponseApiKey, 0, len(s.table))
	for i := range s.table {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = s.table[i].key, s.table[i].advertised(), s.table[i].max
		out = append(out, k)
	}
	return out
}

// unsupportedApiVersions answers a version that is not served: as version 0,
// which every client can read (KIP-511).
func unsupportedApiVersions(s *Server) kmsg.Response {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.Version = 0
	resp.ErrorCode = codeUnsupportedVersion
	resp.ApiKeys = s.apiVersions()
	return resp
}
