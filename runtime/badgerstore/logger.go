package badgerstore

import (
	"fmt"
	"log/slog"

	"github.com/dgraph-io/badger/v4"
)

// logger hands Badger's messages to slog. Its chatter about every open and
// flush goes to debug.
type logger struct{ l *slog.Logger }

func newLogger(l *slog.Logger) badger.Logger {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	return logger{l.With("component", "badger")}
}

func (l logger) Errorf(f string, a ...any)   { l.l.Error(oneLine(fmt.Sprintf(f, a...))) }
func (l logger) Warningf(f string, a ...any) { l.l.Warn(oneLine(fmt.Sprintf(f, a...))) }
func (l logger) Infof(f string, a ...any)    { l.l.Debug(oneLine(fmt.Sprintf(f, a...))) }
func (l logger) Debugf(string, ...any)       {}
