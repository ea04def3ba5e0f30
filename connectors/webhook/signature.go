package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Headers of every post.
const (
	IdempotencyHeader = "Idempotency-Key"        // the alert's id: the same for every repeat
	SignatureHeader   = "X-Millstream-Signature" // "t=<Unix seconds>,v1=<hex>"; only with Config.Secret
)

// ErrSignature: a post does not come from who has the secret, or not from now.
var ErrSignature = errors.New("the signature does not fit")

// Sign is the value of SignatureHeader: the time of the post, and the
// HMAC-SHA-256 of "<that time>.<body>" under the secret.
func Sign(secret string, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac(secret, t, body))
}

func mac(secret, t string, body []byte) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(t + "."))
	h.Write(body)
	return h.Sum(nil)
}

// Verify is for receivers in Go: it checks the value of SignatureHeader, which
// may be at most tolerance away from now.
func Verify(secret, signature string, body []byte, now time.Time, tolerance time.Duration) error {
	t, sum, ok := strings.Cut(strings.TrimPrefix(signature, "t="), ",v1=")
	seconds, err := strconv.ParseInt(t, 10, 64)
	if !ok || err != nil || !strings.HasPrefix(signature, "t=") {
		return fmt.Errorf("%w: %q, expected t=<seconds>,v1=<hex>", ErrSignature, signature)
	}
	if away := now.Sub(time.Unix(seconds, 0)).Abs(); away > tolerance {
		return fmt.Errorf("%w: its time is %v away, more than %v", ErrSignature, away, tolerance)
	}
	have, err := hex.DecodeString(sum)
	if err != nil || !hmac.Equal(have, mac(secret, t, body)) {
		return ErrSignature
	}
	return nil
}
