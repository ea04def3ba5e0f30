package group

import "errors"

// Errors that a request is answered with; log/wire maps them to Kafka's codes.
var (
	// ErrUnknownMember: the member id is not in the group; join again without one.
	ErrUnknownMember = errors.New("group: unknown member")
	// ErrIllegalGeneration: the generation is not the group's.
	ErrIllegalGeneration = errors.New("group: illegal generation")
	// ErrRebalanceInProgress: join again.
	ErrRebalanceInProgress = errors.New("group: rebalance in progress")
	// ErrInconsistentProtocol: no protocol that all members know.
	ErrInconsistentProtocol = errors.New("group: no protocol in common with the other members")
	// ErrFencedInstance: another member has this group.instance.id (KIP-345).
	ErrFencedInstance = errors.New("group: another member has the same instance id")
	// ErrInvalidSessionTimeout: the session timeout is out of bounds.
	ErrInvalidSessionTimeout = errors.New("group: session timeout out of bounds")
	// ErrNonEmpty: the group has members.
	ErrNonEmpty = errors.New("group: not empty")
	// ErrUnknownGroup: no such group.
	ErrUnknownGroup = errors.New("group: unknown group")
)
