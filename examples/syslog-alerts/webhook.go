package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/webhook"
	"github.com/millstream-io/millstream/runtime/engine"
)

// alertBody is what -webhook-body alert posts: every member, always. The id is
// the webhook sink's own, APP/KIND/KEY/WINDOW_START.
const alertBody = `{"id":{{json .ID}},"kind":{{json (get .Value "kind")}},` +
	`"window_start":{{json (get .Value "window_start")}},"window_end":{{json (get .Value "window_end")}},` +
	`"key":{{json (get .Value "key")}},"count":{{json (get .Value "count")}},` +
	`"users":{{with get .Value "users"}}{{json .}}{{else}}[]{{end}},` +
	`"addresses":{{with get .Value "addresses"}}{{json .}}{{else}}[]{{end}}}`

// bodies are the templates of -webhook-body.
var bodies = map[string]string{"alert": alertBody, "slack": webhook.Slack, "alertmanager": webhook.Alertmanager}

// errBody is a -webhook-body that is none of these.
var errBody = errors.New("expected alert, slack, alertmanager or file:PATH of a template")

// newWebhook makes the sink of -webhook. Every error is one of usage.
func (c *config) newWebhook() (*webhook.Sink, error) {
	body, ok := bodies[c.webhookBody]
	if path, isFile := strings.CutPrefix(c.webhookBody, "file:"); isFile {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("-webhook-body: %w", err)
		}
		body, ok = string(text), true
	}
	if !ok {
		return nil, fmt.Errorf("-webhook-body %s: %w", c.webhookBody, errBody)
	}
	cfg := webhook.Config{
		URL: c.webhook, Template: body, Secret: c.webhookSecret,
		Timeout: c.webhookTimeout, MaxUncommitted: c.webhookMost, Rate: c.webhookRate, TLS: webhook.TLS{CAFile: c.webhookCA},
	}
	if !c.webhookAuth.IsZero() {
		cfg.Headers = map[string]connectors.Secret{"Authorization": c.webhookAuth}
	}
	sink, err := webhook.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("-webhook: %w", err)
	}
	return sink, nil
}

// webhookSink is what the engine runs for -webhook.
func (c *config) webhookSink() (engine.Sink, error) {
	sink, err := c.newWebhook()
	return engine.Sink{Name: webhookName, Topic: alertsTopic, Sink: sink, Retry: engine.Retry{For: c.webhookRetryFor}}, err
}
