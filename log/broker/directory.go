package broker

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/millstream-io/millstream/log/vfs"
)

// Files of the data directory's root; docs/format/data-directory.md.
const (
	lockFile          = "LOCK"
	gateFile          = "GATE"
	propertiesFile    = "millstream.properties"
	kafkaMetaFile     = "meta.properties"
	recoveryPointFile = "recovery-point-offset-checkpoint"
	logStartFile      = "log-start-offset-checkpoint"
	highWatermarkFile = "replication-offset-checkpoint"
	cleanerOffsetFile = "cleaner-offset-checkpoint"
	cleanShutdownFile = ".kafka_cleanshutdown"
)

// FormatVersion is the version of the data directory that this program writes.
const FormatVersion = 1

// cleanShutdownContent as Kafka writes it.
const cleanShutdownContent = `{"version":0,"brokerEpoch":-1}`

func ownerName() string { return "pid " + strconv.Itoa(os.Getpid()) }

// readBootID identifies the boot; empty where the system does not say.
func readBootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func randomID() [16]byte {
	var id [16]byte
	rand.Read(id[:])
	id[6] = id[6]&0x0f | 0x40 // a version 4 UUID, as Kafka makes
	id[8] = id[8]&0x3f | 0x80
	return id
}

// formatID is Kafka's form of a UUID: 22 characters of unpadded URL base64.
func formatID(id [16]byte) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// properties is a Java properties file of the simple kind: name=value lines.
func parseProperties(name string, b []byte) (map[string]string, error) {
	out := map[string]string{}
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("%s: line %d: expected name=value, found %q", name, i+1, line)
		}
		out[strings.TrimSpace(k)] = strings.TrimSpace(v)
	}
	return out, nil
}

// readProperties reads a properties file; a missing one gives nil.
func readProperties(fsys vfs.FS, name string) (map[string]string, error) {
	b, err := readFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseProperties(name, b)
}

// readFormat checks millstream.properties and returns the boot id under which
// the directory was used last.
func readFormat(fsys vfs.FS, dir string) (bootID string, found bool, err error) {
	name := path.Join(dir, propertiesFile)
	p, err := readProperties(fsys, name)
	if err != nil || p == nil {
		return "", false, err
	}
	v, err := strconv.Atoi(p["version"])
	if err != nil || v < 1 {
		return "", false, fmt.Errorf("%s: version=%q: expected a number from 1: the file is damaged", name, p["version"])
	}
	if v > FormatVersion {
		return "", false, &VersionError{Path: name, Found: v, Known: FormatVersion}
	}
	return p["boot.id"], true, nil
}

func writeFormat(fsys vfs.FS, dir, bootID string) error {
	return writeFile(fsys, path.Join(dir, propertiesFile), formatText(bootID))
}

func formatText(bootID string) []byte {
	return fmt.Appendf(nil, "# Millstream data directory; docs/format/data-directory.md\nversion=%d\nboot.id=%s\n", FormatVersion, bootID)
}

// readOrMakeKafkaMeta reads Kafka's meta.properties or writes a new one.
func (b *Broker) readOrMakeKafkaMeta() error {
	name := path.Join(b.cfg.Dir, kafkaMetaFile)
	p, err := readProperties(b.fs, name)
	if err != nil {
		return err
	}
	if p != nil {
		b.clusterID = p["cluster.id"]
		if b.clusterID == "" || p["version"] != "1" {
			return fmt.Errorf("%s: expected version=1 and a cluster.id, found version=%q cluster.id=%q", name, p["version"], b.clusterID)
		}
		if id, err := base64.RawURLEncoding.DecodeString(p["directory.id"]); err == nil {
			copy(b.directoryID[:], id)
		}
		if b.cfg.ClusterID != "" && b.cfg.ClusterID != b.clusterID {
			return fmt.Errorf("%s: cluster.id is %s, but the configuration says %s: another directory is meant", name, b.clusterID, b.cfg.ClusterID)
		}
		return nil
	}
	if b.clusterID = b.cfg.ClusterID; b.clusterID == "" {
		b.clusterID = formatID(b.cfg.NewID())
	}
	b.directoryID = b.cfg.NewID()
	text := fmt.Sprintf("#\n#%s\ncluster.id=%s\ndirectory.id=%s\nnode.id=%d\nversion=1\n",
		b.cfg.Now().UTC().Format("Mon Jan 02 15:04:05 UTC 2006"), b.clusterID, formatID(b.directoryID), b.cfg.NodeID)
	return writeFile(b.fs, name, []byte(text))
}

// makeDir makes a directory with its parents, durably.
func makeDir(fsys vfs.FS, dir string) error {
	if _, err := fsys.Stat(dir); err == nil || dir == path.Dir(dir) {
		return err
	}
	parent := path.Dir(dir)
	if err := makeDir(fsys, parent); err != nil {
		return err
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	return fsys.SyncDir(parent)
}

// takeCleanMark removes the mark of a clean shutdown, durably, and says whether it was there.
func takeCleanMark(fsys vfs.FS, dir string) (bool, error) {
	err := fsys.Remove(path.Join(dir, cleanShutdownFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, fsys.SyncDir(dir)
}

func leaveCleanMark(fsys vfs.FS, dir string) error {
	return writeFile(fsys, path.Join(dir, cleanShutdownFile), []byte(cleanShutdownContent))
}
