package broker

import "maps"

// Kinds of resources whose configurations stand in the metadata beside the
// topics', as the file names them.
const (
	kindBroker        = "broker" // by node id; "" is the default of all brokers
	kindClientMetrics = "client-metrics"
	kindGroup         = "group"
)

// resourceConfigs are configurations by kind, resource and name: only what was set.
type resourceConfigs map[string]map[string]map[string]string

func (r resourceConfigs) get(kind, resource string) map[string]string { return r[kind][resource] }

// with gives a copy in which one resource has the configurations set; none: it is forgotten.
func (r resourceConfigs) with(kind, resource string, set map[string]string) resourceConfigs {
	out := maps.Clone(r)
	if out == nil {
		out = resourceConfigs{}
	}
	out[kind] = maps.Clone(out[kind])
	if out[kind] == nil {
		out[kind] = map[string]map[string]string{}
	}
	if len(set) > 0 {
		out[kind][resource] = set
	} else if delete(out[kind], resource); len(out[kind]) == 0 {
		delete(out, kind)
	}
	return out
}
