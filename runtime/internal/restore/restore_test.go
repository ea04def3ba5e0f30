package restore_test

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/logclient/memlog"
	"github.com/millstream-io/millstream/runtime/internal/restore"
	"github.com/millstream-io/millstream/runtime/memstore"
	"github.com/millstream-io/millstream/streams/state"
)

func some() *restore.Checkpoint {
	return &restore.Checkpoint{Cluster: "c", AtMS: 5, Changelogs: []restore.Changelog{{
		Partition: record.TopicPartition{Topic: "t", Partition: 2}, TopicID: [16]byte{1, 2},
		End: logclient.OffsetEpoch{Offset: 77, Epoch: -1}, Firsts: map[int64]record.Offset{-5: 3, 9: 70},
	}}, Position: []byte("where")}
}

func TestCheckpointRecordsComeBackAsTheyWere(t *testing.T) {
	b := some().Append(nil)
	got, err := restore.DecodeCheckpoint(b)
	if err != nil || !reflect.DeepEqual(got, some()) {
		t.Errorf("%+v, %v\nwant %+v", got, err, some())
	}
	for n := range b {
		if _, err := restore.DecodeCheckpoint(b[:n]); err == nil {
			t.Errorf("the first %d of %d bytes decode", n, len(b))
		}
	}
}

func FuzzDecodeCheckpoint(f *testing.F) {
	f.Add(some().Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := restore.DecodeCheckpoint(b)
		if err != nil {
			return
		}
		again, err := restore.DecodeCheckpoint(c.Append(nil))
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%+v came back as %+v, %v", c, again, err)
		}
	})
}

// scene is a changelog of ten records, and a checkpoint of the first four.
type scene struct {
	log  *memlog.Log
	db   *memstore.DB
	tp   record.TopicPartition
	cfg  restore.Config
	seen []string
}

func newScene(t *testing.T) *scene {
	s := &scene{log: memlog.New(memlog.Config{}), db: memstore.New(0), tp: record.TopicPartition{Topic: "app-s-changelog"}}
	infos, err := s.log.Ensure(t.Context(), []logclient.TopicSpec{{Name: s.tp.Topic, Partitions: 1}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		s.log.Produce(s.tp, record.View{Key: []byte{byte('a' + i)}, Value: []byte("v")})
	}
	s.cfg = restore.Config{
		DB: s.db, Task: 1, Changelogs: []record.TopicPartition{s.tp}, TopicIDs: map[string][16]byte{s.tp.Topic: infos[0].ID},
		Now: time.UnixMilli(1_000_000), MaxAge: time.Hour,
		Apply: func(_ int, key, _ []byte, _ record.Offset) { s.seen = append(s.seen, string(key)) },
	}
	return s
}

// checkpoint writes one at offset 4 that change may spoil.
func (s *scene) checkpoint(t *testing.T, change func(*restore.Checkpoint)) {
	t.Helper()
	at, err := s.log.Offsets(t.Context(), []record.TopicPartition{s.tp}, logclient.At{Kind: logclient.AtEnd})
	if err != nil {
		t.Fatal(err)
	}
	c := &restore.Checkpoint{Cluster: s.log.ClusterID(), AtMS: s.cfg.Now.UnixMilli(), Changelogs: []restore.Changelog{{
		Partition: s.tp, TopicID: s.cfg.TopicIDs[s.tp.Topic], End: logclient.OffsetEpoch{Offset: 4, Epoch: at[0].Epoch}, Firsts: map[int64]record.Offset{},
	}}}
	change(c)
	err = s.db.Checkpoint(1, c.Append(nil), func(b state.Batch) error { return b.Put(0, []byte("a"), []byte("v")) })
	if err != nil {
		t.Fatal(err)
	}
}

func (s *scene) run(t *testing.T) *restore.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s.cfg.Log = s.log
	res, err := restore.Run(ctx, s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestOnlyWhatFollowsTheCheckpointIsReplayed(t *testing.T) {
	s := newScene(t)
	s.checkpoint(t, func(*restore.Checkpoint) {})
	res := s.run(t)
	if got := strings.Join(s.seen, ""); got != "efghij" || res.Rebuilt != "" || res.Replayed[0] != 6 || res.Bytes[0] != 12 || res.At[0].End.Offset != 10 {
		t.Errorf("replayed %q, %+v: want e to j, up to offset 10", got, res)
	}
}

func TestNoCheckpointIsNoLoss(t *testing.T) {
	s := newScene(t)
	if res := s.run(t); len(s.seen) != 10 || res.Rebuilt != "" {
		t.Errorf("replayed %q, rebuilt %q: want all ten, and nothing given up", s.seen, res.Rebuilt)
	}
}

func TestACheckpointThatCannotBeRightIsGivenUp(t *testing.T) {
	for name, spoil := range map[string]func(*scene, *restore.Checkpoint){
		"another log":           func(_ *scene, c *restore.Checkpoint) { c.Cluster = "other" },
		"deleted and made anew": func(_ *scene, c *restore.Checkpoint) { c.Changelogs[0].TopicID[0]++ },
		"too old":               func(_ *scene, c *restore.Checkpoint) { c.AtMS -= 2 * time.Hour.Milliseconds() },
		"another store":         func(_ *scene, c *restore.Checkpoint) { c.Changelogs[0].Partition.Topic = "x" },
		"beyond the end":        func(_ *scene, c *restore.Checkpoint) { c.Changelogs[0].End.Offset = 11 },
		"unknown epoch":         func(_ *scene, c *restore.Checkpoint) { c.Changelogs[0].End.Epoch = 9 },
		"discarded (I4)":        func(s *scene, _ *restore.Checkpoint) { s.cfg.Discard = true },
		"no changelog": func(s *scene, _ *restore.Checkpoint) {
			s.cfg.Changelogs = append(s.cfg.Changelogs, record.TopicPartition{})
			s.cfg.Position = []byte("later")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.checkpoint(t, func(c *restore.Checkpoint) { spoil(s, c) })
			res := s.run(t)
			if res.Rebuilt == "" || len(s.seen) != 10 {
				t.Errorf("rebuilt %q, replayed %q: want a reason and all ten", res.Rebuilt, s.seen)
			}
			if _, ok, err := s.db.CheckpointRecord(1); ok || err != nil {
				t.Errorf("the checkpoint is still there: %v", err)
			}
		})
	}
}

// A store without a changelog is as the last commit left it, or empty.
func TestACheckpointOfTheLastCommitNeedsNoChangelog(t *testing.T) {
	s := newScene(t)
	s.cfg.Changelogs = append(s.cfg.Changelogs, record.TopicPartition{})
	s.cfg.Position = []byte("here")
	s.checkpoint(t, func(c *restore.Checkpoint) { c.Position = []byte("here") })
	if res := s.run(t); res.Rebuilt != "" || res.Replayed[0] != 6 {
		t.Errorf("rebuilt %q, %d replayed: the checkpoint is of the last commit", res.Rebuilt, res.Replayed[0])
	}
}

func TestACheckpointOfVersion1IsRead(t *testing.T) {
	want := some()
	want.Position = nil
	b := want.Append(nil)
	b[0] = 1
	got, err := restore.DecodeCheckpoint(b[:len(b)-1])
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
}

func TestACutChangelogGivesTheCheckpointUp(t *testing.T) {
	s := newScene(t)
	s.checkpoint(t, func(c *restore.Checkpoint) { c.Changelogs[0].End.Offset = 8 })
	s.log = s.log.Crash(map[record.TopicPartition]record.Offset{s.tp: 6})
	for range 4 { // the log has grown past the checkpoint's offset again, with other records
		s.log.Produce(s.tp, record.View{Key: []byte("z"), Value: []byte("v")})
	}
	if res := s.run(t); !strings.Contains(res.Rebuilt, "cut") || strings.Join(s.seen, "") != "abcdefzzzz" {
		t.Errorf("rebuilt %q, replayed %q: the epoch shows the cut", res.Rebuilt, s.seen)
	}
}

func TestATrimmedChangelogGivesAnOlderCheckpointUp(t *testing.T) {
	s := newScene(t)
	s.checkpoint(t, func(*restore.Checkpoint) {})
	if err := s.log.DeleteBefore(t.Context(), map[record.TopicPartition]record.Offset{s.tp: 6}); err != nil {
		t.Fatal(err)
	}
	if res := s.run(t); !strings.Contains(res.Rebuilt, "begins at 6") || strings.Join(s.seen, "") != "ghij" {
		t.Errorf("rebuilt %q, replayed %q", res.Rebuilt, s.seen)
	}
}
