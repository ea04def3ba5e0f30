package wire

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// ListenerSpec is a listener as a setting writes it, before certificates and
// mechanisms are known.
type ListenerSpec struct {
	Name       string // what stood before ://, or the protocol
	Protocol   string // PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL
	Addr       string // host:port to bind
	Advertised string // host:port for clients; "": the bound address
}

// ErrExposed: a listener that others can reach is not encrypted.
var ErrExposed = errors.New("is not encrypted and not on loopback")

// ParseListeners reads listeners as Kafka's settings write them, separated by
// commas: [NAME://]HOST:PORT, PLAINTEXT where nothing is said. A NAME is a
// protocol, or has one in protocols (NAME:PROTOCOL,..., as
// listener.security.protocol.map). advertised is empty, or has one
// [NAME://]HOST:PORT for each, in the same order. A listener on all interfaces
// must say what to advertise. Any mistake is told, with the text that has it.
func ParseListeners(listen, advertised, protocols string) ([]ListenerSpec, error) {
	byName := map[string]string{"PLAINTEXT": "PLAINTEXT", "SSL": "SSL", "SASL_PLAINTEXT": "SASL_PLAINTEXT", "SASL_SSL": "SASL_SSL"}
	for pair := range fields(protocols) {
		name, protocol, _ := strings.Cut(strings.ToUpper(pair), ":")
		switch protocol {
		case "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL":
			byName[name] = protocol
		default:
			return nil, fmt.Errorf("protocol of listeners %q: expected NAME:PROTOCOL with PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL", pair)
		}
	}
	var specs []ListenerSpec
	for text := range fields(listen) {
		name, addr, err := parseListener(text)
		if err != nil {
			return nil, err
		}
		protocol, ok := byName[name]
		if !ok {
			return nil, fmt.Errorf("listener %q: unknown protocol %q: expected PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL", text, name)
		}
		specs = append(specs, ListenerSpec{Name: name, Protocol: protocol, Addr: addr})
	}
	if len(specs) == 0 {
		return nil, errors.New("no listener: say at least one HOST:PORT")
	}
	n := 0
	for text := range fields(advertised) {
		_, addr, err := parseListener(text)
		if err != nil {
			return nil, fmt.Errorf("advertised %w", err)
		}
		if n < len(specs) {
			specs[n].Advertised = addr
		}
		n++
	}
	if n != 0 && n != len(specs) {
		return nil, fmt.Errorf("%d advertised addresses for %d listeners: say one for each, in the same order", n, len(specs))
	}
	for i := range specs {
		if err := specs[i].check(); err != nil {
			return nil, err
		}
	}
	return specs, nil
}

// check refuses what would be found out by clients only.
func (l *ListenerSpec) check() error {
	target := l.Advertised
	if target == "" {
		target = l.Addr
	}
	host, _, _ := net.SplitHostPort(target)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return fmt.Errorf("listener %s: no client can connect to %q: say which HOST:PORT to advertise", l.Addr, target)
	}
	return nil
}

// TLS says whether the protocol is encrypted.
func (l *ListenerSpec) TLS() bool { return strings.HasSuffix(l.Protocol, "SSL") }

// SASL says whether clients must log in.
func (l *ListenerSpec) SASL() bool { return strings.HasPrefix(l.Protocol, "SASL_") }

// Exposed is ErrExposed with the address if others than this machine can reach
// the listener and it is not encrypted.
func (l *ListenerSpec) Exposed() error {
	if l.TLS() {
		return nil
	}
	addr, err := net.ResolveTCPAddr("tcp", l.Addr)
	if err != nil {
		return fmt.Errorf("listener %s: %w", l.Addr, err)
	}
	if addr.IP.IsLoopback() {
		return nil
	}
	return fmt.Errorf("listener %s %w", l.Addr, ErrExposed)
}

func parseListener(text string) (name, addr string, err error) {
	name, addr, named := strings.Cut(text, "://")
	if !named {
		name, addr = "PLAINTEXT", text
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return "", "", fmt.Errorf("listener %q: expected HOST:PORT (%w)", text, err)
	}
	return strings.ToUpper(name), addr, nil
}

// fields yields what stands between commas, without the blanks around it.
func fields(list string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for f := range strings.SplitSeq(list, ",") {
			if f = strings.TrimSpace(f); f != "" && !yield(f) {
				return
			}
		}
	}
}
