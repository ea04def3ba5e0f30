package wire

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// principalRules make a principal's name of a certificate's subject, as Kafka's
// ssl.principal.mapping.rules: the first rule that fits counts.
type principalRules []principalRule

// principalRule replaces a name that matches as a whole; the zero rule is DEFAULT.
type principalRule struct {
	pattern *regexp.Regexp // nil: DEFAULT, the name as it is
	replace string         // in regexp.Expand's language
	fold    func(string) string
}

// ErrNoPrincipal: no rule fits the subject of a client's certificate.
var ErrNoPrincipal = errors.New("wire: no rule of ssl.principal.mapping.rules fits")

// ruleForm is one rule and what may follow it.
var ruleForm = regexp.MustCompile(`^\s*(?:(DEFAULT)|RULE:((?:\\.|[^\\/])*)/((?:\\.|[^\\/])*)/([LU]?))\s*(?:,|$)`)

// groupReference is $1 in Java's language of replacements.
var groupReference = regexp.MustCompile(`\$(\d+)`)

// parsePrincipalRules reads rules separated by commas: DEFAULT, or
// RULE:pattern/replacement/ with an L or U behind it for lower and upper case.
// Patterns are RE2's; $1 stands for the first group.
func parsePrincipalRules(text string) (principalRules, error) {
	if strings.TrimSpace(text) == "" {
		text = "DEFAULT"
	}
	var rules principalRules
	for rest := text; strings.TrimSpace(rest) != ""; {
		m := ruleForm.FindStringSubmatch(rest)
		if m == nil {
			return nil, fmt.Errorf("ssl.principal.mapping.rules: at %q: expected DEFAULT or RULE:pattern/replacement/[LU]", rest)
		}
		rest = rest[len(m[0]):]
		if m[1] != "" {
			rules = append(rules, principalRule{})
			continue
		}
		pattern, err := regexp.Compile(`^(?:` + m[2] + `)$`)
		if err != nil {
			return nil, fmt.Errorf("ssl.principal.mapping.rules: pattern %q: %w", m[2], err)
		}
		r := principalRule{pattern: pattern, replace: groupReference.ReplaceAllString(strings.ReplaceAll(m[3], `\/`, `/`), `$${$1}`)}
		switch m[4] {
		case "L":
			r.fold = strings.ToLower
		case "U":
			r.fold = strings.ToUpper
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// name applies the rules to a distinguished name.
func (rules principalRules) name(dn string) (string, error) {
	for _, r := range rules {
		if r.pattern == nil {
			return dn, nil
		}
		if !r.pattern.MatchString(dn) {
			continue
		}
		name := r.pattern.ReplaceAllString(dn, r.replace)
		if r.fold != nil {
			name = r.fold(name)
		}
		return name, nil
	}
	return "", fmt.Errorf("%w: subject %q", ErrNoPrincipal, dn)
}

// attributeNames are the keywords of RFC 2253; other attributes show their OID.
var attributeNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "STREET", "2.5.4.10": "O", "2.5.4.11": "OU",
	"0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.25": "DC",
}

// distinguishedName writes a subject as Java does (RFC 2253): the last
// attribute first, so that bindings made for a Kafka broker fit.
func distinguishedName(cert *x509.Certificate) (string, error) {
	var rdns []pkix.RelativeDistinguishedNameSET
	if rest, err := asn1.Unmarshal(cert.RawSubject, &rdns); err != nil || len(rest) > 0 {
		return "", fmt.Errorf("wire: the subject of a client's certificate cannot be read: %w", err)
	}
	var b strings.Builder
	for i := len(rdns) - 1; i >= 0; i-- {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		for j, a := range rdns[i] {
			if j > 0 {
				b.WriteByte('+')
			}
			if err := writeAttribute(&b, a); err != nil {
				return "", err
			}
		}
	}
	return b.String(), nil
}

func writeAttribute(b *strings.Builder, a pkix.AttributeTypeAndValue) error {
	oid := a.Type.String()
	value, isText := a.Value.(string)
	if name := attributeNames[oid]; name != "" && isText {
		b.WriteString(name + "=" + escapeValue(value))
		return nil
	}
	der, err := asn1.Marshal(a.Value)
	if err != nil {
		return fmt.Errorf("wire: attribute %s of a client's certificate: %w", oid, err)
	}
	b.WriteString(oid + "=#" + hex.EncodeToString(der))
	return nil
}

// escapeValue escapes as RFC 2253 section 2.4.
func escapeValue(v string) string {
	var b strings.Builder
	for i, r := range v {
		switch {
		case strings.ContainsRune(`,+"\<>;=`, r),
			i == 0 && (r == '#' || r == ' '),
			r == ' ' && i == len(v)-1:
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
