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

func TestIntegrationAKafkaBrokerAnswersAndComesBack(t *testing.T) {
	b := peers.NeedKafkaBroker(t)
	if err := b.Restart(); err != nil {
		t.Fatal(err)
	}
}
