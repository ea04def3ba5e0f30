package cassandra

import (
	"context"
	"errors"
	"fmt"
	"strings"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/millstream-io/millstream/connectors"
)

// class says what to do about an error of a request.
type class uint8

const (
	// classLost: no answer, or no node to ask. Tried again, for good.
	classLost class = iota
	// classBusy: the cluster cannot take it now. Tried again, with fewer requests at a time.
	classBusy
	// classInvalid: the request is wrong, because of its values or because the
	// schema has changed. Which of them a look at the schema tells.
	classInvalid
	// classRefused: not this user, not this statement; no record is at fault, and
	// only somebody who changes something there can help. Tried again by the engine.
	classRefused
	// classEnded: the context ended.
	classEnded
)

// classify decides by what Cassandra or the driver says.
func classify(err error) class {
	var answer gocql.RequestError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return classEnded
	case errors.As(err, &answer):
		return classifyCode(answer.Code())
	case errors.Is(err, gocql.ErrFrameTooBig):
		return classInvalid // no node will ever take it
	case errors.Is(err, gocql.ErrTimeoutNoResponse), errors.Is(err, gocql.ErrNoStreams):
		return classBusy // it may have been written; the same timestamp makes a repetition harmless
	}
	return classLost
}

func classifyCode(code int) class {
	switch code {
	case gocql.ErrCodeOverloaded, gocql.ErrCodeWriteTimeout, gocql.ErrCodeUnavailable, gocql.ErrCodeWriteFailure,
		gocql.ErrCodeBootstrapping, gocql.ErrCodeTruncate, gocql.ErrCodeServer, gocql.ErrCodeCDCWriteFailure:
		return classBusy
	case gocql.ErrCodeInvalid: // also what a guardrail forbids and what is larger than a mutation can be
		return classInvalid
	case gocql.ErrCodeProtocol: // a frame that is larger than the node accepts
		return classInvalid
	}
	return classRefused // credentials, permissions, syntax, configuration
}

// opening classifies an error of Open for the engine: what may pass by itself is
// Transient, so that even a first start waits for a cluster that is not up yet.
func opening(err error, hosts []string) error {
	if errors.Is(err, ErrConfig) || errors.Is(err, ErrSchema) {
		return err
	}
	named := fmt.Errorf("cassandra at %s: %w", strings.Join(hosts, ", "), err)
	var answer gocql.RequestError
	if errors.As(err, &answer) && classifyCode(answer.Code()) != classBusy {
		return named
	}
	for _, mistake := range mistakes {
		if strings.Contains(err.Error(), mistake) {
			return named
		}
	}
	return connectors.Transient(named)
}

// mistakes are words of errors that somebody has to mend: the driver passes the
// texts of errors on, not the errors.
var mistakes = []string{"x509: ", "remote error: tls: ", "password are incorrect", "authentication required"}
