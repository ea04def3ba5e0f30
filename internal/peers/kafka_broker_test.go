package peers_test

import (
	"os"
	"testing"

	"github.com/millstream-io/millstream/internal/peers"
)

func TestMain(m *testing.M) {
	code := m.Run()
	peers.StopShared()
	os.Exit(code)
}

// The restart in connectors/kafka is the one of `make integration`.
func TestTortureAKafkaBrokerAnswersAndComesBack(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	t.Setenv("INTEGRATION", "1")
	b := peers.NeedKafkaBroker(t)
	if err := b.Restart(); err != nil {
		t.Fatal(err)
	}
}
