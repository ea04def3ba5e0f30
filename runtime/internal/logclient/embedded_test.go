package logclient_test

import (
	"testing"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/vfs"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/logclient/embedded"
)

func init() {
	implementations = append(implementations,
		implementation{"embedded", func(t testing.TB) (logclient.Log, func() logclient.Log) {
			return openEmbedded(t, broker.Config{Dir: t.TempDir()})
		}},
		implementation{"embedded-mem", func(t testing.TB) (logclient.Log, func() logclient.Log) {
			return openEmbedded(t, broker.Config{Dir: "/data", FS: vfs.NewMem()})
		}},
	)
}

// openEmbedded opens a log whose broker does nothing by timers.
func openEmbedded(t testing.TB, cfg broker.Config) (logclient.Log, func() logclient.Log) {
	cfg.MaintenanceInterval, cfg.TickInterval = -1, -1
	var l *embedded.Log
	open := func() logclient.Log {
		var err error
		l, err = embedded.Open(cfg)
		noError(t, err)
		return l
	}
	open()
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, func() logclient.Log {
		noError(t, l.Close())
		return open()
	}
}
