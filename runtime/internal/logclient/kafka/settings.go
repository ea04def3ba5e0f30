package kafka

import (
	"context"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// checkKept refuses topics that are there with settings under which they lose what
// was asked to be kept: state that is deleted by age, or records of which only the
// last of a key stays. Who may not see settings is not asked for them.
func (l *Log) checkKept(ctx context.Context, specs []logclient.TopicSpec, infos []logclient.TopicInfo) error {
	req := kmsg.NewPtrDescribeConfigsRequest()
	want := map[string]map[string]string{}
	for i, s := range specs {
		if infos[i].Partitions == 0 || s.Configs["cleanup.policy"] == "" {
			continue
		}
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, s.Name, []string{"cleanup.policy", "retention.ms", "retention.bytes"}
		req.Resources = append(req.Resources, r)
		want[s.Name] = s.Configs
	}
	if len(req.Resources) == 0 {
		return nil
	}
	resp, err := req.RequestWith(ctx, l.cl)
	if err != nil {
		return l.failed(ctx, "ask for the settings of internal topics", err)
	}
	for _, r := range resp.Resources {
		if kerr.ErrorForCode(r.ErrorCode) != nil {
			continue
		}
		have := map[string]string{}
		for _, c := range r.Configs {
			if c.Value != nil {
				have[c.Name] = *c.Value
			}
		}
		if err := kept(r.ResourceName, have, want[r.ResourceName]); err != nil {
			return err
		}
	}
	return nil
}

// kept compares what a topic has with what it was made for.
func kept(topic string, have, want map[string]string) error {
	policy := "," + strings.ReplaceAll(have["cleanup.policy"], " ", "") + ","
	compacts, deletes := strings.Contains(policy, ",compact,"), strings.Contains(policy, ",delete,")
	if compacts && !strings.Contains(want["cleanup.policy"], "compact") {
		return &logclient.TopicConfigError{Topic: topic, Config: "cleanup.policy", Have: have["cleanup.policy"], Expected: want["cleanup.policy"],
			Why: "of records with the same key only the last would be processed"}
	}
	for _, c := range []string{"retention.ms", "retention.bytes"} {
		if deletes && have[c] != "" && !strings.HasPrefix(have[c], "-") {
			return &logclient.TopicConfigError{Topic: topic, Config: c, Have: have[c], Expected: "-1",
				Why: "with cleanup.policy " + have["cleanup.policy"] + " records that the application still needs would be deleted"}
		}
	}
	return nil
}
