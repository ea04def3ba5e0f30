package embedded

import (
	"testing"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/vfs"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

func TestATopicThatFollowsGetsTheConfigurationsAskedForAndOthersKeepTheirs(t *testing.T) {
	log, err := Open(broker.Config{Dir: "data", FS: vfs.NewMem(), BootID: "b", MaintenanceInterval: -1, TickInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	ensure := func(retention string) {
		t.Helper()
		configs := map[string]string{"retention.ms": retention}
		_, err := log.Ensure(t.Context(), []logclient.TopicSpec{
			{Name: "follows", Configs: configs, Follow: true}, {Name: "keeps", Configs: configs},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	ensure("1000")
	ensure("2000")
	for name, want := range map[string]string{"follows": "2000", "keeps": "1000"} {
		if topic, _ := log.Broker().Topic(name); topic.Configs["retention.ms"] != want {
			t.Errorf("topic %s: retention.ms is %s, expected %s", name, topic.Configs["retention.ms"], want)
		}
	}
}
