package broker

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/log/internal/acl"
	"github.com/millstream-io/millstream/log/internal/quota"
	"github.com/millstream-io/millstream/log/internal/scram"
	"github.com/millstream-io/millstream/log/vfs"
)

func openSecured(t *testing.T, fs vfs.FS) *Broker {
	t.Helper()
	b, err := Open(Config{Dir: "data", FS: fs, MaintenanceInterval: -1, TickInterval: -1, BootID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// readable lets alice read a topic.
func readable(topic string) acl.Binding {
	return acl.Binding{Type: acl.TypeTopic, Name: topic, Pattern: acl.PatternLiteral, Principal: "User:alice", Host: "*", Op: acl.OpRead, Permission: acl.Allow}
}

func setQuota(user string, rate float64) []quota.Alteration {
	return []quota.Alteration{{Entity: quota.Entity{{Type: quota.User, Name: &user}}, Ops: []quota.Op{{Key: "producer_byte_rate", Value: rate}}}}
}

func TestUsersBindingsAndQuotasOutliveTheProcess(t *testing.T) {
	fs := vfs.NewMem()
	b := openSecured(t, fs)
	if _, err := b.CreateTopic(TopicSpec{Name: "t", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	if err := b.CreateACLs([]acl.Binding{readable("a"), readable("b"), readable("a")}); err != nil {
		t.Fatal(err)
	}
	if added, err := b.AddFirstScramUsers(ScramUser{Name: "root", Password: "pencil"}); !added || err != nil {
		t.Fatalf("first user: %v, %v", added, err)
	}
	if _, err := b.AlterQuotas(setQuota("alice", 1000)); err != nil {
		t.Fatal(err)
	}
	acls, users, quotas := b.ACLs().All(), b.ScramUsers().Entries(), b.Quotas().Entries()
	if len(acls) != 2 || len(users) != 1 || len(quotas) != 1 {
		t.Fatalf("%v, %v, %v", acls, users, quotas)
	}
	b.Abandon()

	b = openSecured(t, fs)
	if !reflect.DeepEqual(b.ACLs().All(), acls) || !reflect.DeepEqual(b.ScramUsers().Entries(), users) || !reflect.DeepEqual(b.Quotas().Entries(), quotas) {
		t.Errorf("after a crash: %v, %v, %v", b.ACLs().All(), b.ScramUsers().Entries(), b.Quotas().Entries())
	}
	if added, err := b.AddFirstScramUsers(ScramUser{Name: "other", Password: "x"}); added || err != nil {
		t.Errorf("a second first user: %v, %v", added, err)
	}
	removed, err := b.DeleteACLs([]acl.Filter{{Type: acl.TypeAny, Pattern: acl.PatternAny, Op: acl.OpAny, Permission: acl.PermissionAny}})
	if err != nil || len(removed) != 1 || len(removed[0]) != 2 {
		t.Errorf("removed %v, %v", removed, err)
	}
	if results, err := b.AlterScramUsers([]scram.Deletion{{Name: "root", Mechanism: scram.SHA512}}, nil); err != nil || results["root"] != nil {
		t.Errorf("removing root: %v, %v", results, err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = openSecured(t, fs)
	if len(b.ACLs().All())+len(b.ScramUsers().Entries()) != 0 || len(b.Quotas().Entries()) != 1 {
		t.Errorf("after removing: %v, %v, %v", b.ACLs().All(), b.ScramUsers().Entries(), b.Quotas().Entries())
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestThePasswordIsNotOnDisk(t *testing.T) {
	fs := vfs.NewMem()
	b := openSecured(t, fs)
	if _, err := b.AddFirstScramUsers(ScramUser{Name: "root", Password: "correct horse"}); err != nil {
		t.Fatal(err)
	}
	text, err := readFile(fs, "data/"+metadataFile)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "root") || strings.Contains(string(text), "correct horse") {
		t.Errorf("the file:\n%s", text)
	}
	c, ok := b.ScramUsers().Lookup("root", scram.SHA512)
	if want, err := scram.SHA512.FromPassword("correct horse", c.Salt, c.Iterations); !ok || err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("the credential does not prove the password: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsNotOnDiskIsNotInForce(t *testing.T) {
	fs := vfs.Faulty(vfs.NewMem())
	b := openSecured(t, fs)
	if err := b.CreateACLs([]acl.Binding{readable("a")}); err != nil {
		t.Fatal(err)
	}
	fail := errors.New("no space left on device")
	fs.SetRules(vfs.Rule{Ops: vfs.OpCreate, Err: fail})
	if err := b.CreateACLs([]acl.Binding{readable("b")}); !errors.Is(err, ErrStorage) {
		t.Errorf("CreateACLs: %v", err)
	}
	if _, err := b.AlterQuotas(setQuota("alice", 1)); !errors.Is(err, ErrStorage) {
		t.Errorf("AlterQuotas: %v", err)
	}
	if removed, err := b.DeleteACLs([]acl.Filter{{Type: acl.TypeAny, Pattern: acl.PatternAny, Op: acl.OpAny, Permission: acl.PermissionAny}}); !errors.Is(err, ErrStorage) || removed != nil {
		t.Errorf("DeleteACLs: %v, %v", removed, err)
	}
	if got := b.ACLs().All(); len(got) != 1 || len(b.Quotas().Entries()) != 0 {
		t.Errorf("in force: %v, %v", got, b.Quotas().Entries())
	}
	b.Abandon()
}

func TestFirstUsersMustHaveNameAndPassword(t *testing.T) {
	b := openSecured(t, vfs.NewMem())
	for _, u := range []ScramUser{{Password: "x"}, {Name: "a"}, {Name: "a", Password: "x", Mechanism: "PLAIN"}} {
		if added, err := b.AddFirstScramUsers(u); added || err == nil {
			t.Errorf("%v: %v, %v", u.Name, added, err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}
