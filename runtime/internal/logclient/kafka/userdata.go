package kafka

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"slices"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

// The members of a group tell the one that leads it about themselves in the user
// data of the consumer protocol's subscription, and it tells them who runs what
// in that of their assignments:
//
//	version (1 byte) | deflate(JSON)
//
// JSON may get more fields, which older programs pass over. A change that they
// must not pass over raises the version.
const userDataVersion = 1

// maxUserData bounds what is unpacked from a few bytes of somebody else.
const maxUserData = 64 << 20

// aboutMember is what a member tells of itself.
type aboutMember struct {
	Name     string           `json:"name,omitempty"` // its instance id; empty if dynamic
	Endpoint string           `json:"endpoint,omitempty"`
	Capacity int              `json:"capacity,omitempty"`
	Lag      map[string]int64 `json:"lag,omitempty"`
	Layout   uint64           `json:"layout"`          // of its units
	Asked    int              `json:"asked,omitempty"` // how often it wanted a new dealing: a broker deals anew only when this data changes
}

// aboutGroup is what the leader tells each member.
type aboutGroup struct {
	Self      int                  `json:"self"` // index in Instances
	Instances []logclient.Instance `json:"instances"`
	Layout    uint64               `json:"layout"`            // of the units that were dealt
	Pending   bool                 `json:"pending,omitempty"` // some unit was given to nobody yet: its owner has to let go and join once more
}

// newerVersionError says that another instance speaks a newer version.
type newerVersionError struct {
	what    string
	version byte
}

func (e *newerVersionError) Error() string {
	return fmt.Sprintf("%s has version %d, this program knows up to %d: another instance runs a newer version of millstream, update this one", e.what, e.version, userDataVersion)
}

// self is the member that was told, in Instances; nil if it is not there.
func (a *aboutGroup) self() *logclient.Instance {
	if a.Self < 0 || a.Self >= len(a.Instances) {
		return nil
	}
	return &a.Instances[a.Self]
}

func packUserData(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("kafka log: user data that has no JSON: " + err.Error()) // of plain types
	}
	var out bytes.Buffer
	out.WriteByte(userDataVersion)
	w, _ := flate.NewWriter(&out, flate.BestSpeed)
	w.Write(text)
	w.Close()
	return out.Bytes()
}

// unpackUserData fills v; no data leaves it as it is.
func unpackUserData(what string, data []byte, v any) error {
	if len(data) == 0 {
		return nil
	}
	if data[0] > userDataVersion {
		return &newerVersionError{what, data[0]}
	}
	r := flate.NewReader(bytes.NewReader(data[1:]))
	text, err := io.ReadAll(io.LimitReader(r, maxUserData+1))
	if err == nil && len(text) > maxUserData {
		err = fmt.Errorf("more than %d bytes", maxUserData)
	}
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		return fmt.Errorf("%s is not what millstream writes: %w", what, err)
	}
	return nil
}

// layoutOf identifies how inputs are cut into units: instances of one program
// agree on it.
func layoutOf(units []logclient.Unit) uint64 {
	if len(units) == 0 {
		return 0
	}
	lines := make([]string, 0, len(units))
	for _, u := range units {
		tps := slices.Clone(u.Partitions)
		slices.SortFunc(tps, compare)
		lines = append(lines, fmt.Sprint(u.ID, u.Stateful, tps))
	}
	slices.Sort(lines)
	h := fnv.New64a()
	for _, line := range lines {
		io.WriteString(h, line+"\n")
	}
	return h.Sum64()
}

func compare(a, b record.TopicPartition) int {
	if a.Topic != b.Topic {
		if a.Topic < b.Topic {
			return -1
		}
		return 1
	}
	return int(a.Partition) - int(b.Partition)
}
