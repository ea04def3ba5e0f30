package wire

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/internal/acl"
)

// DescribeConfigs: versions 1 to 4. v1 sources and synonyms (KIP-226), v3 types
// and documentation (KIP-569).

func handleDescribeConfigs(_ context.Context, s *Server, r *request) (kmsg.Response, error) {
	req := r.req.(*kmsg.DescribeConfigsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	type resource struct {
		typ  kmsg.ConfigResourceType
		name string
	}
	for _, ask := range once(req.Resources, func(r kmsg.DescribeConfigsRequestResource) resource { return resource{r.ResourceType, r.ResourceName} }) {
		res := kmsg.NewDescribeConfigsResponseResource()
		res.ResourceType, res.ResourceName = ask.ResourceType, ask.ResourceName
		res.Configs = []kmsg.DescribeConfigsResponseResourceConfig{}
		of := broker.Resource{Type: broker.ResourceType(ask.ResourceType), Name: ask.ResourceName}
		if typ, ok := mayConfigure(r, acl.OpDescribeConfigs, of); !ok {
			res.ErrorCode, res.ErrorMessage = r.denied(typ)
		} else if entries, err := s.b.DescribeConfig(of); err != nil {
			res.ErrorCode, res.ErrorMessage = r.refuse(err)
		} else {
			for _, e := range entries {
				if len(ask.ConfigNames) == 0 || slices.Contains(ask.ConfigNames, e.Name) {
					res.Configs = append(res.Configs, describedConfig(req, e))
				}
			}
		}
		resp.Resources = append(resp.Resources, res)
	}
	return resp, nil
}

func describedConfig(req *kmsg.DescribeConfigsRequest, e broker.ConfigEntry) kmsg.DescribeConfigsResponseResourceConfig {
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	c.Name, c.Value, c.ReadOnly, c.IsSensitive = e.Name, configValue(e), e.ReadOnly, e.Sensitive
	c.Source, c.ConfigType = kmsg.ConfigSource(e.Source), kmsg.ConfigType(e.Type)
	c.IsDefault = e.Source == broker.DefaultConfig
	if req.IncludeDocumentation && e.Doc != "" {
		c.Documentation = &e.Doc
	}
	c.ConfigSynonyms = []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{}
	if !req.IncludeSynonyms {
		return c
	}
	for _, syn := range e.Synonyms {
		k := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
		k.Name, k.Source = syn.Name, kmsg.ConfigSource(syn.Source)
		if !e.Sensitive {
			k.Value = &syn.Value
		}
		c.ConfigSynonyms = append(c.ConfigSynonyms, k)
	}
	return c
}

// configValue is what clients are shown of a value.
func configValue(e broker.ConfigEntry) *string {
	if e.Unset {
		return nil
	}
	return &e.Value
}
