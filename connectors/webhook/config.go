package webhook

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	"golang.org/x/time/rate"

	"github.com/millstream-io/millstream/connectors"
)

// Config says where and how a Sink posts. The zero value of a field is its
// documented default.
type Config struct {
	// URL of the endpoint, http or https. Chats put a token into its path, so it
	// is a secret: nothing but its scheme and host is ever shown.
	URL connectors.Secret
	// Template makes the body of a record's *Alert: Generic (default), Slack,
	// Alertmanager, or one's own with the functions of docs/connectors/webhook.md.
	Template string
	// ContentType of the body. Default application/json; of other types the body
	// is not checked.
	ContentType string
	// ID names an alert; default DefaultID. The same record must give the same id.
	ID func(*Alert) (string, error)
	// Headers are added to every post: Authorization, say.
	Headers map[string]connectors.Secret
	// Secret signs every post: see Sign. Default: no signature.
	Secret connectors.Secret

	// Timeout of one post, from the dial to the end of the answer's headers. Default 10 s.
	Timeout time.Duration
	// MaxRetryAfter bounds what an answer's Retry-After can ask for. Default 1 h.
	MaxRetryAfter time.Duration
	// MaxUncommitted is how many records are posted before their offsets are
	// committed, and so what a kill can repeat at most. Default 16.
	MaxUncommitted int
	// Concurrency is how many posts are on their way at a time. Default 4.
	Concurrency int
	// Rate bounds the posts per second, Burst how many may go at once after a
	// pause (default 1). Default 0: not bounded.
	Rate  float64
	Burst int

	TLS TLS
	// Transport replaces the HTTP transport, and with it TLS. For tests.
	Transport http.RoundTripper
}

// TLS says whom a Sink trusts and who it is.
type TLS struct {
	CAFile            string // certificates to trust, PEM; default: the system's
	CertFile, KeyFile string // the client's certificate and key, PEM
	ServerName        string // expected in the server's certificate; default: the URL's host
}

func (c Config) withDefaults() Config {
	def(&c.Template, Generic)
	def(&c.ContentType, "application/json")
	def(&c.Timeout, 10*time.Second)
	def(&c.MaxRetryAfter, time.Hour)
	def(&c.MaxUncommitted, 16)
	def(&c.Concurrency, 4)
	def(&c.Burst, 1)
	if c.ID == nil {
		c.ID = DefaultID
	}
	return c
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// New checks the configuration, reporting every problem at once, and makes a
// sink. Nothing is connected yet: an endpoint that is down now is no error.
func New(cfg Config) (*Sink, error) {
	cfg = cfg.withDefaults()
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	s := &Sink{cfg: cfg, now: time.Now, json: strings.Contains(cfg.ContentType, "json")}
	cfg.validate(add)
	var err error
	if s.url, err = endpoint(cfg.URL); err != nil {
		errs = append(errs, err)
	}
	if s.template, err = template.New("body").Funcs(functions).Option("missingkey=error").Parse(cfg.Template); err != nil {
		add("Template: %w", err)
	}
	if _, err := s.reveal(); err != nil {
		errs = append(errs, err)
	}
	if s.client, err = cfg.client(); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("webhook: %w", errors.Join(errs...))
	}
	if cfg.Rate > 0 {
		s.limiter = rate.NewLimiter(rate.Limit(cfg.Rate), cfg.Burst)
	}
	return s, nil
}

// validate reports the problems of plain values.
func (c *Config) validate(add func(string, ...any)) {
	if c.Timeout < 0 || c.MaxRetryAfter < 0 {
		add("Timeout and MaxRetryAfter are %v and %v, expected more than 0", c.Timeout, c.MaxRetryAfter)
	}
	if c.MaxUncommitted < 1 || c.Concurrency < 1 || c.Burst < 1 {
		add("MaxUncommitted, Concurrency and Burst are %d, %d and %d, expected 1 or more", c.MaxUncommitted, c.Concurrency, c.Burst)
	}
	if c.Rate < 0 {
		add("Rate is %v posts per second, expected 0 (not bounded) or more", c.Rate)
	}
	if !headerValue(c.ContentType) {
		add("ContentType %q is no header value", c.ContentType)
	}
	for name := range c.Headers {
		switch canonical := http.CanonicalHeaderKey(name); {
		case !headerName.MatchString(name):
			add("Headers: %q is no header name", name)
		case slices.Contains(ownHeaders, canonical):
			add("Headers: %s is set by the sink itself", canonical)
		}
	}
}

// ownHeaders are those that Config.Headers cannot replace.
var ownHeaders = []string{"Content-Length", "Content-Type", "Host", "Transfer-Encoding", IdempotencyHeader, http.CanonicalHeaderKey(SignatureHeader)}

var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") // token of RFC 9110, section 5.6.2

// headerValue reports whether a text can be the value of a header.
func headerValue(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// endpoint reveals and checks the URL. Its errors show no more than scheme and host.
func endpoint(secret connectors.Secret) (*url.URL, error) {
	if secret.IsZero() {
		return nil, errors.New("URL is missing")
	}
	text, err := secret.Reveal()
	if err != nil {
		return nil, fmt.Errorf("URL: %w", err)
	}
	u, err := url.Parse(strings.TrimSpace(text))
	switch {
	case err != nil:
		return nil, errors.New("URL cannot be parsed, expected http://HOST/PATH or https://HOST/PATH")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("URL has the scheme %q, expected http or https", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("URL has no host, expected http://HOST/PATH or https://HOST/PATH")
	}
	return u, nil
}

// client makes the HTTP client.
func (c *Config) client() (*http.Client, error) {
	client := &http.Client{
		Transport: c.Transport,
		// A redirect may lead anywhere, and would take body and secrets there.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if c.Transport != nil {
		return client, nil
	}
	conf, err := c.TLS.config()
	if err != nil {
		return nil, err
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = conf
	t.MaxIdleConnsPerHost, t.MaxConnsPerHost = c.Concurrency, c.Concurrency
	t.IdleConnTimeout = 30 * time.Second // before proxies and balancers give up on it
	client.Transport = t
	return client, nil
}

func (t *TLS) config() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("TLS.CAFile: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("TLS.CAFile: %s has no certificate, expected PEM", t.CAFile)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("TLS.CertFile and TLS.KeyFile belong together: one of them is missing")
	}
	if t.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("TLS.CertFile: %w", err)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return conf, nil
}
