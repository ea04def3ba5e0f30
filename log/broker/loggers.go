package broker

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/millstream-io/millstream/log/internal/config"
)

// rootLogger is the logger whose level counts where another has none of its own.
const rootLogger = "root"

// loggerLevels are levels of loggers that were set while the broker runs (the
// broker-logger resource, KIP-412). They are kept in memory, as Kafka's.
type loggerLevels struct {
	mu    sync.RWMutex      // guards what follows
	level map[string]string // by logger, Kafka's words
	known map[string]bool   // loggers that there are
}

// slogLevels are Kafka's levels for slog.
var slogLevels = map[string]slog.Level{
	"TRACE": slog.LevelDebug - 4, "DEBUG": slog.LevelDebug, "INFO": slog.LevelInfo,
	"WARN": slog.LevelWarn, "ERROR": slog.LevelError, "FATAL": slog.LevelError + 4,
}

// Logger makes a logger on l whose level follows what is set for its name with
// the broker-logger resource; until something is set, l decides as before.
func (b *Broker) Logger(name string, l *slog.Logger) *slog.Logger {
	b.levels.mu.Lock()
	defer b.levels.mu.Unlock()
	b.levels.known[name] = true
	return slog.New(&levelHandler{Handler: l.Handler(), name: name, levels: &b.levels})
}

// levelHandler asks the levels set, then the handler below.
type levelHandler struct {
	slog.Handler
	name   string
	levels *loggerLevels
}

func (h *levelHandler) Enabled(ctx context.Context, l slog.Level) bool {
	h.levels.mu.RLock()
	set, ok := h.levels.level[h.name]
	if !ok {
		set, ok = h.levels.level[rootLogger]
	}
	h.levels.mu.RUnlock()
	if ok {
		return l >= slogLevels[set]
	}
	return h.Handler.Enabled(ctx, l)
}

func (h *levelHandler) WithAttrs(a []slog.Attr) slog.Handler {
	return &levelHandler{h.Handler.WithAttrs(a), h.name, h.levels}
}

func (h *levelHandler) WithGroup(name string) slog.Handler {
	return &levelHandler{h.Handler.WithGroup(name), h.name, h.levels}
}

func (b *Broker) checkLoggerResource(name string) error {
	if id := strconv.Itoa(int(b.cfg.NodeID)); name != id {
		return fmt.Errorf("%w: unexpected broker id, expected %s, but received %q", ErrInvalidRequest, id, name)
	}
	return nil
}

func (b *Broker) describeLoggers() []ConfigEntry {
	b.levels.mu.RLock()
	defer b.levels.mu.RUnlock()
	var out []ConfigEntry
	for _, name := range slices.Sorted(maps.Keys(b.levels.known)) {
		v, ok := b.levels.level[name]
		if !ok {
			if v, ok = b.levels.level[rootLogger]; !ok {
				v = b.startLevel()
			}
		}
		out = append(out, ConfigEntry{Name: name, Value: v, Type: config.String, Source: DynamicBrokerLoggerConfig,
			Doc:      "Level of this logger.",
			Synonyms: []ConfigSynonym{{name, v, DynamicBrokerLoggerConfig}}})
	}
	return out
}

// startLevel is the least level that the logger of the configuration lets through.
func (b *Broker) startLevel() string {
	for _, l := range config.BrokerLogger {
		if b.startLogger.Enabled(context.Background(), slogLevels[l]) {
			return l
		}
	}
	return "FATAL"
}

// alterLoggers sets levels; a deleted one is the root's again.
func (b *Broker) alterLoggers(resource string, validateOnly bool, edit configEdit) error {
	if err := b.checkLoggerResource(resource); err != nil {
		return err
	}
	b.levels.mu.Lock()
	defer b.levels.mu.Unlock()
	set := maps.Clone(b.levels.level)
	if set == nil {
		set = map[string]string{}
	}
	if err := edit(set, config.ClientMetrics, func(string) string { return "" }); err != nil {
		return fmt.Errorf("%w: a logger's level is set or deleted: %v", ErrInvalidRequest, err)
	}
	for name, v := range set {
		if !b.levels.known[name] {
			return fmt.Errorf("%w: logger %s does not exist; there are %s", ErrInvalidConfig, name, strings.Join(slices.Sorted(maps.Keys(b.levels.known)), ", "))
		}
		if !slices.Contains(config.BrokerLogger, v) {
			return fmt.Errorf("%w: level %s of logger %s: expected one of %s", ErrInvalidConfig, v, name, strings.Join(config.BrokerLogger, ", "))
		}
	}
	if !validateOnly {
		b.levels.level = set
	}
	return nil
}
