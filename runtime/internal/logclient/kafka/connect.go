package kafka

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// connect learns the cluster's id and what it can do.
func (l *Log) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, l.cfg.ConnectTimeout, fmt.Errorf("no answer within %v", l.cfg.ConnectTimeout))
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	meta, err := req.RequestWith(ctx, l.cl)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w (%w)", cause, err)
		}
		return as(logclient.ErrUnavailable, fmt.Sprintf("connect to %v: %s", l.cfg.Seeds, l.advice(err)), err)
	}
	if meta.ClusterID != nil {
		l.cluster = *meta.ClusterID
	}
	l.silence.heardOf(len(meta.Brokers))
	versions, err := l.reach(ctx, meta.Brokers)
	if err != nil {
		return err
	}
	return l.check(versions)
}

// reach asks the brokers at the addresses that they tell clients, which need not be
// those that this client was given; the first answer counts. One that is down is no
// mistake.
func (l *Log) reach(ctx context.Context, brokers []kmsg.MetadataResponseBroker) (*kmsg.ApiVersionsResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	var asked sync.WaitGroup
	defer asked.Wait()
	defer cancel()
	type answer struct {
		versions *kmsg.ApiVersionsResponse
		err      error
	}
	answers := make(chan answer, len(brokers))
	var addrs []string
	for _, b := range brokers {
		addrs = append(addrs, fmt.Sprintf("%s:%d", b.Host, b.Port))
		asked.Go(func() {
			req := kmsg.NewPtrApiVersionsRequest()
			req.ClientSoftwareName, req.ClientSoftwareVersion = "millstream", "1" // Kafka refuses empty ones (KIP-511)
			resp, err := req.RequestWith(ctx, l.cl.Broker(int(b.NodeID)))
			if err == nil {
				err = kerr.ErrorForCode(resp.ErrorCode)
			}
			answers <- answer{resp, err}
		})
	}
	err := errors.New("it names no broker")
	for range brokers {
		a := <-answers
		if a.err == nil {
			return a.versions, nil
		}
		err = a.err
	}
	if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w (%w)", cause, err)
	}
	return nil, as(logclient.ErrUnavailable, fmt.Sprintf("connect to %v: the cluster answers there, and tells clients to go on at %v (advertised.listeners of the brokers), where it does not: set that to addresses that this machine can reach",
		l.cfg.Seeds, addrs), err)
}

// advice says what is likely wrong where a connection does not come about, and what
// to do.
func (l *Log) advice(err error) string {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var dns *net.DNSError
	var eof *kgo.ErrFirstReadEOF
	closed := errors.As(err, &eof) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrUnexpectedEOF)
	switch {
	case errors.As(err, &authority):
		return "the broker's certificate is of an authority that this program does not know: put the authority's certificate into Cluster.TLS.RootCAs"
	case errors.As(err, &host):
		return "the broker's certificate is not for this address: connect by a name that the certificate has, or set Cluster.TLS.ServerName to one"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the broker's certificate is not valid at this time: renew it, or set this machine's clock"
	case errors.As(err, &invalid):
		return "the broker's certificate is not valid: give the broker another"
	case strings.Contains(err.Error(), "remote error: tls:") && strings.Contains(err.Error(), "certificate"):
		return "the listener does not accept this program's certificate, or wants one: set Cluster.TLS.Certificates to one that is valid and of an authority that the broker knows"
	case strings.Contains(err.Error(), "remote error: tls:"):
		return "the broker refuses this program's TLS settings: see Cluster.TLS"
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return "the broker does not accept the user or the password: see Cluster.SASL"
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return "the listener does not know this mechanism: set Cluster.SASL.Mechanism to one that it has"
	case errors.Is(err, kerr.IllegalSaslState):
		return "the listener asks for no password: leave Cluster.SASL empty, or take the port of another listener"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens there: is a Kafka broker there?"
	case errors.As(err, &dns):
		return "there is no host of that name: is a Kafka broker there?"
	case strings.Contains(err.Error(), "does not look like a TLS handshake"), closed && l.cfg.TLS != nil && strings.Contains(err.Error(), "unable to dial"):
		return "the listener does not speak TLS: leave Cluster.TLS empty, or take the port of a listener that does"
	case closed && l.cfg.TLS != nil && l.cfg.SASL == nil:
		return "the listener ends the connection: it may want a user and a password (Cluster.SASL)"
	case closed && l.cfg.TLS == nil && l.cfg.SASL == nil:
		return "the listener does not speak plainly to strangers: it may want TLS (Cluster.TLS), or a user and a password (Cluster.SASL)"
	}
	return "is a Kafka broker there, and do the TLS and SASL settings (Cluster.TLS, Cluster.SASL) fit its listener?"
}
