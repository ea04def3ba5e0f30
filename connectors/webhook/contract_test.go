package webhook_test

import (
	"encoding/json"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/connectortest"
	"github.com/millstream-io/millstream/connectors/webhook"
	"github.com/millstream-io/millstream/log/record"
)

func TestTheContractOfASink(t *testing.T) {
	connectortest.SinkSuite{
		Target: func(t testing.TB) connectortest.SinkTarget {
			var down atomic.Bool
			r := connectortest.NewReceiver(func(_ int, p *connectortest.Post) connectortest.Answer {
				switch {
				case p.Header.Get("Authorization") != "Bearer s3cr3t":
					return connectortest.Answer{Status: 401}
				case down.Load():
					return connectortest.Answer{Status: 500, Body: "your header was Bearer s3cr3t"}
				}
				return connectortest.Answer{}
			})
			srv := httptest.NewServer(r)
			t.Cleanup(srv.Close)
			return connectortest.SinkTarget{
				Sink: func(t testing.TB) connectors.Sink {
					s, err := webhook.New(webhook.Config{
						URL: connectors.NewSecret(srv.URL + "/hooks/T0KEN"), Timeout: 5 * time.Second,
						Headers: map[string]connectors.Secret{"Authorization": connectors.NewSecret("Bearer s3cr3t")},
					})
					if err != nil {
						t.Fatal(err)
					}
					return s
				},
				Written: func(t testing.TB) (names []string) {
					for _, p := range r.Posts() {
						var body struct{ Key string }
						if err := json.Unmarshal(p.Body, &body); err != nil {
							t.Fatal(err)
						}
						if p.Answer.OK() {
							names = append(names, p.ID+" "+body.Key)
						}
					}
					return names
				},
				SetDown: down.Store,
			}
		},
		Record: func(n int) (connectors.Record, string) {
			key := string(rune('a' + n%5))
			text, id := value(key, n)
			return connectors.Record{View: record.View{Key: []byte(key), Value: []byte(text), Headers: []record.Header{{Key: "h", Value: []byte("v")}}}},
				"suite" + id[len("app"):] + " " + key
		},
		Poison: func(int) connectors.Record {
			return connectors.Record{View: record.View{Key: []byte("a"), Value: []byte(`{"broken`)}}
		},
		Secrets: []string{"s3cr3t", "T0KEN"},
	}.Run(t)
}
