package main

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What a broker says of topics that were made, or deleted, tells whether it has heard.
func TestABrokerHasHeardOfTopics(t *testing.T) {
	const known = int16(0)
	unknown, unled, denied := kerr.UnknownTopicOrPartition.Code, kerr.LeaderNotAvailable.Code, kerr.TopicAuthorizationFailed.Code
	for name, c := range map[string]struct {
		codes      []int16
		made, gone bool
	}{
		"known":                {[]int16{known, known}, true, false},
		"unknown":              {[]int16{unknown, unknown}, false, true},
		"one of two":           {[]int16{known, unknown}, false, false},
		"made, without leader": {[]int16{known, unled}, false, false},
		"without leader":       {[]int16{unled}, false, false},
		"may not tell":         {[]int16{denied}, true, true},
	} {
		var topics []kmsg.MetadataResponseTopic
		for _, code := range c.codes {
			top := kmsg.NewMetadataResponseTopic()
			top.ErrorCode = code
			topics = append(topics, top)
		}
		if made, gone := allHeard(topics, true), allHeard(topics, false); made != c.made || gone != c.gone {
			t.Errorf("%s: made %v, gone %v; expected %v and %v", name, made, gone, c.made, c.gone)
		}
	}
}
