package quota

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
)

// Kind is what a quota bounds.
type Kind uint8

// The kinds of quotas.
const (
	ProducerBytes      Kind = iota // bytes per second
	ConsumerBytes                  // bytes per second
	RequestTime                    // percent of one processor
	ControllerMutation             // partitions made and removed per second
	ConnectionRate                 // connections per second, of an IP address
	kinds
)

// Key is the configuration that sets the quota.
func (k Kind) Key() string { return keys[k] }

var keys = [kinds]string{"producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate", "connection_creation_rate"}

// Types of entities.
const (
	User     = "user"
	ClientID = "client-id"
	IP       = "ip"
)

// ErrInvalid: an entity, key or value that Kafka refuses (INVALID_REQUEST).
var ErrInvalid = errors.New("quota: invalid")

// ErrUnknownType: an entity type that is none of user, client-id and ip.
var ErrUnknownType = errors.New("unsupported entity type")

// Part is one of an entity's names; the nil Name is the type's default.
type Part struct {
	Type string  `json:"type"`
	Name *string `json:"name"`
}

// Entity is what a quota is set for: a user, a client id, both, or an IP address.
// At most one of each type.
type Entity []Part

// key is an Entity in a form that can be compared. Absent, default and named
// differ.
type key struct{ user, client, ip name }

type name struct {
	kind uint8 // absent, isDefault, named
	text string
}

const (
	absent = iota
	isDefault
	named
)

func (n *name) set(p Part) error {
	if n.kind != absent {
		return fmt.Errorf("%w entity: %s is there twice", ErrInvalid, p.Type)
	}
	if p.Name == nil {
		n.kind = isDefault
		return nil
	}
	if *p.Name == "" {
		return fmt.Errorf("%w entity: empty %s", ErrInvalid, p.Type)
	}
	n.kind, n.text = named, *p.Name
	return nil
}

// key checks the entity and gives its comparable form.
func (e Entity) key() (key, error) {
	var k key
	for _, p := range e {
		var err error
		switch p.Type {
		case User:
			err = k.user.set(p)
		case ClientID:
			err = k.client.set(p)
		case IP:
			if err = k.ip.set(p); err == nil && p.Name != nil {
				var a netip.Addr
				if a, err = netip.ParseAddr(*p.Name); err != nil {
					err = fmt.Errorf("%w entity: %q is no IP address", ErrInvalid, *p.Name)
				} else {
					k.ip.text = a.Unmap().WithZone("").String()
				}
			}
		default:
			err = fmt.Errorf("%w entity: type %q, expected user, client-id or ip", ErrInvalid, p.Type)
		}
		if err != nil {
			return k, err
		}
	}
	switch {
	case len(e) == 0:
		return k, fmt.Errorf("%w entity: it is empty", ErrInvalid)
	case k.ip.kind != absent && len(e) > 1:
		return k, fmt.Errorf("%w entity: an IP address cannot be combined with a user or client id", ErrInvalid)
	}
	return k, nil
}

// entity is the inverse of Entity.key.
func (k key) entity() Entity {
	var e Entity
	for _, p := range []struct {
		typ string
		name
	}{{User, k.user}, {ClientID, k.client}, {IP, k.ip}} {
		switch p.kind {
		case isDefault:
			e = append(e, Part{Type: p.typ})
		case named:
			text := p.text
			e = append(e, Part{p.typ, &text})
		}
	}
	return e
}

func compareKeys(a, b key) int {
	return cmp.Or(compareNames(a.user, b.user), compareNames(a.client, b.client), compareNames(a.ip, b.ip))
}

func compareNames(a, b name) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.text, b.text))
}

// check says whether the configuration key can be set for the entity to the value.
func (k key) check(config string, value float64) (Kind, error) {
	kind := Kind(slices.Index(keys[:], config))
	if i := slices.Index(keys[:], config); i < 0 || (k.ip.kind != absent) != (kind == ConnectionRate) {
		return 0, fmt.Errorf("%w configuration key %s for this entity", ErrInvalid, config)
	}
	switch {
	case math.IsNaN(value) || value <= 0:
		return 0, fmt.Errorf("%w value %v of %s: must be greater than 0", ErrInvalid, value, config)
	case kind == RequestTime || kind == ControllerMutation:
		return kind, nil
	case kind == ConnectionRate && value > math.MaxInt32, value > math.MaxInt64:
		return 0, fmt.Errorf("%w value %v of %s: too large", ErrInvalid, value, config)
	case math.Abs(math.Mod(value, 1)) > 1e-6:
		return 0, fmt.Errorf("%w value %v of %s: cannot be a fraction", ErrInvalid, value, config)
	}
	return kind, nil
}
