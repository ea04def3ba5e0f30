package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// classified says what the cluster was asked for and puts its error, a
// *kerr.Error or one of the connection, into the seam's terms.
func classified(what string, err error) error {
	is := func(codes ...error) bool {
		return slices.ContainsFunc(codes, func(code error) bool { return errors.Is(err, code) })
	}
	var rights *logclient.RightsError
	switch {
	case err == nil:
		return nil
	case is(kerr.FencedInstanceID):
		return as(logclient.ErrFenced, what, err) // another process is this member now
	case is(kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.InvalidProducerIDMapping, kerr.UnknownProducerID):
		// A successor has opened the transactional id, or the coordinator has ended
		// the transaction for its timeout: what was written in it is void. This says
		// nothing of the group: whether this instance is still a member, and what it
		// runs, is what Member.Next tells.
		return as(logclient.ErrFenced, what, err)
	case is(kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.RebalanceInProgress, kerr.StaleMemberEpoch, kerr.FencedMemberEpoch):
		return as(logclient.ErrRebalanced, what, err)
	case is(kerr.UnknownTopicOrPartition, kerr.UnknownTopicID):
		return as(logclient.ErrUnknownTopic, what, err)
	case errors.As(err, &rights):
		return fmt.Errorf("kafka log: %s: %w", what, err)
	case is(context.Canceled, context.DeadlineExceeded):
		return err
	}
	var code *kerr.Error
	if errors.As(err, &code) && !code.Retriable && !is(kerr.ConcurrentTransactions, kerr.TransactionAbortable, kerr.OutOfOrderSequenceNumber, kerr.InvalidTxnState, kerr.DuplicateSequenceNumber) {
		return fmt.Errorf("kafka log: %s: %w", what, err)
	}
	// A connection that failed, a leader that moves, a transaction that only has to
	// be aborted: nothing happened that Abort does not undo.
	return as(logclient.ErrUnavailable, what, err)
}

func as(class error, what string, err error) error {
	return fmt.Errorf("kafka log: %s: %w: %w", what, class, err)
}

// moving says that an answer is of a cluster in motion: ask again.
func moving(err error) bool {
	var code *kerr.Error
	if errors.As(err, &code) {
		return errors.Is(err, kerr.ConcurrentTransactions) || // the one before is still being completed
			code.Retriable && !errors.Is(err, kerr.UnknownTopicOrPartition)
	}
	return err != nil && !errors.Is(err, kgo.ErrClientClosed) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// Pauses between tries.
const (
	firstPause = 5 * time.Millisecond
	mostPause  = 500 * time.Millisecond
)

// again calls try until it succeeds, fails for good, or ctx ends (then the last
// error comes with it).
func again(ctx context.Context, try func() error) error {
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		err := try()
		if !moving(err) {
			return err
		}
		if wait(ctx, pause) != nil {
			return errors.Join(ctx.Err(), err)
		}
	}
}

// wait is a pause that ends with ctx.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
