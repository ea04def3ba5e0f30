package group

import (
	"errors"
	"fmt"
)

// Errors that a request is answered with; log/wire maps them to Kafka's codes.
var (
	// ErrUnknownMember: the member id is not in the group; join again without one.
	ErrUnknownMember = errors.New("group: unknown member")
	// ErrMemberIDRequired: join again with the member id of the answer (KIP-394).
	ErrMemberIDRequired = errors.New("group: join again with the member id that was handed out")
	// ErrIllegalGeneration: the generation is not the group's.
	ErrIllegalGeneration = errors.New("group: illegal generation")
	// ErrRebalanceInProgress: join again.
	ErrRebalanceInProgress = errors.New("group: rebalance in progress")
	// ErrInconsistentProtocol: no protocol that all members know, or another protocol type.
	ErrInconsistentProtocol = errors.New("group: no protocol in common with the other members")
	// ErrFencedInstance: another member has this group.instance.id (KIP-345).
	ErrFencedInstance = errors.New("group: another member has the same instance id")
	// ErrUnreleasedInstance: the instance id belongs to a member that has not left (KIP-848).
	ErrUnreleasedInstance = errors.New("group: the instance id is still in use by another member")
	// ErrInvalidSessionTimeout: the session timeout is out of bounds.
	ErrInvalidSessionTimeout = errors.New("group: session timeout out of bounds")
	// ErrGroupFull: the group has as many members as it may have.
	ErrGroupFull = errors.New("group: maximum size reached")
	// ErrGroupBytes: the members of the group, or of all groups, would hold more
	// bytes than they may. It is an ErrGroupFull.
	ErrGroupBytes = fmt.Errorf("%w: too many bytes", ErrGroupFull)
	// ErrNonEmpty: the group has members.
	ErrNonEmpty = errors.New("group: not empty")
	// ErrUnknownGroup: no such group, or not one of the kind that was asked for.
	ErrUnknownGroup = errors.New("group: unknown group")
	// ErrFencedEpoch: the member's epoch is not the one that the group knows; give
	// up all partitions and join with epoch 0.
	ErrFencedEpoch = errors.New("group: fenced member epoch")
	// ErrStaleEpoch: the member's epoch is not the one that the group knows; try
	// again after the next heartbeat.
	ErrStaleEpoch = errors.New("group: stale member epoch")
	// ErrUnsupportedAssignor: no such server assignor.
	ErrUnsupportedAssignor = errors.New("group: unsupported assignor")
	// ErrUnsupportedVersion: members of a consumer group commit with OffsetCommit 9 or later.
	ErrUnsupportedVersion = errors.New("group: unsupported version of the request for a member of a consumer group")
	// ErrInvalidRegex: the subscribed expression is not one of RE2's syntax.
	ErrInvalidRegex = errors.New("group: invalid regular expression")
	// ErrInvalidRequest: a field is missing or out of range.
	ErrInvalidRequest = errors.New("group: invalid request")
	// ErrSubscribed: the group is subscribed to the topic, so its offsets stay.
	ErrSubscribed = errors.New("group: subscribed to the topic")
	// ErrMetadataTooLarge: the metadata of an offset is longer than offset.metadata.max.bytes.
	ErrMetadataTooLarge = errors.New("group: metadata of the offset is too large")
)
