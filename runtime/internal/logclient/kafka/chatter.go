package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// chatterEvery is how often the same is said at most.
const chatterEvery = 10 * time.Second

// chatter hands the warnings of all of a log's clients on. What they say about one
// broker again and again while it is away is said once in a while, with how often
// it was not. Any goroutine may use it.
type chatter struct {
	to *slog.Logger

	mu   sync.Mutex
	said map[string]utterance // by message and broker
}

type utterance struct {
	at     time.Time
	unsaid int
}

func newChatter(to *slog.Logger) *chatter {
	return &chatter{to: to, said: map[string]utterance{}}
}

// Level implements kgo.Logger.
func (*chatter) Level() kgo.LogLevel { return kgo.LogLevelWarn }

// Log implements kgo.Logger.
func (c *chatter) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	unsaid, say := c.says(msg, keyvals, time.Now())
	if !say {
		return
	}
	to := slog.LevelWarn
	if level == kgo.LogLevelError {
		to = slog.LevelError
	}
	if unsaid > 0 {
		keyvals = append(keyvals[:len(keyvals):len(keyvals)], "again", unsaid)
	}
	c.to.Log(context.Background(), to, "kafka: "+msg, keyvals...)
}

func (c *chatter) says(msg string, keyvals []any, now time.Time) (unsaid int, say bool) {
	key := msg
	for i := 0; i+1 < len(keyvals); i += 2 {
		if keyvals[i] == "broker" {
			key += fmt.Sprint(" ", keyvals[i+1])
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	was, known := c.said[key]
	if known && now.Sub(was.at) < chatterEvery {
		was.unsaid++
		c.said[key] = was
		return 0, false
	}
	c.said[key] = utterance{at: now}
	return was.unsaid, true
}
