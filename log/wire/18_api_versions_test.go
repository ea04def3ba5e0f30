package wire

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestApiVersionsListsTheTableAtEveryVersion(t *testing.T) {
	ts := newTestServer(t)
	versions(t, keyApiVersions, func(t *testing.T, v int16) {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = v, "test", "1"
		resp := ts.dial().do(req).(*kmsg.ApiVersionsResponse)
		if resp.ErrorCode != 0 || len(resp.ApiKeys) != len(apis) {
			t.Errorf("version %d: error %d and %d keys, expected 0 and %d", v, resp.ErrorCode, len(resp.ApiKeys), len(apis))
		}
		if got := len(resp.FinalizedFeatures); (v >= 3) != (got == len(features)) {
			t.Errorf("version %d: %d finalized features", v, got)
		}
	})
}
