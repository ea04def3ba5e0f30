package peers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// cassandraYAML: data directory, storage port, native port, authenticator.
const cassandraYAML = `cluster_name: millstream
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
commitlog_sync: batch
commitlog_segment_size: 32MiB
commitlog_disk_access_mode: legacy
data_file_directories: [%[1]s/data]
commitlog_directory: %[1]s/commitlog
saved_caches_directory: %[1]s/saved_caches
hints_directory: %[1]s/hints
cdc_raw_directory: %[1]s/cdc_raw
endpoint_snitch: SimpleSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{seeds: "127.0.0.1:%[2]d"}]
listen_address: 127.0.0.1
rpc_address: 127.0.0.1
storage_port: %[2]d
native_transport_port: %[3]d
start_native_transport: true
authenticator: %[4]s
authorizer: AllowAllAuthorizer
auto_bootstrap: false
auto_snapshot: false
concurrent_reads: 16
concurrent_writes: 16
memtable_heap_space: 256MiB
memtable_offheap_space: 256MiB
file_cache_size: 128MiB
disk_optimization_strategy: ssd
materialized_views_enabled: true
`

// cassandraTLS: the node's PEM file (key and certificate), the CA's.
const cassandraTLS = `client_encryption_options:
  enabled: true
  optional: false
  ssl_context_factory:
    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory
  keystore: %s
  truststore: %s
  require_client_auth: %v
`

const cassandraLogback = `<configuration><appender name="O" class="ch.qos.logback.core.ConsoleAppender"><encoder>
<pattern>%d %-5level %logger{20} %msg%n</pattern></encoder></appender>
<root level="INFO"><appender-ref ref="O"/></root></configuration>
`

func (c *Cassandra) writeConfig() error {
	conf := filepath.Join(c.dir, "conf")
	if err := os.MkdirAll(conf, 0o755); err != nil {
		return err
	}
	authenticator := "AllowAllAuthenticator"
	if c.cfg.PasswordAuth {
		authenticator = "PasswordAuthenticator"
	}
	yaml := fmt.Sprintf(cassandraYAML, c.dir, c.storage, c.port, authenticator)
	if c.cfg.Cert != "" {
		pem, trusted, err := c.pemFiles(conf)
		if err != nil {
			return err
		}
		yaml += fmt.Sprintf(cassandraTLS, pem, trusted, c.cfg.CA != "")
	}
	yaml += c.cfg.Settings
	if err := os.WriteFile(filepath.Join(conf, "cassandra.yaml"), []byte(yaml), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(conf, "logback.xml"), []byte(cassandraLogback), 0o644)
}

// pemFiles puts key and certificate into the one file that Cassandra wants.
func (c *Cassandra) pemFiles(conf string) (pem, trusted string, err error) {
	var all []byte
	for _, name := range []string{c.cfg.Key, c.cfg.Cert} {
		b, err := os.ReadFile(name)
		if err != nil {
			return "", "", err
		}
		all = append(append(all, b...), '\n')
	}
	pem, trusted = filepath.Join(conf, "node.pem"), c.cfg.CA
	if trusted == "" {
		trusted = c.cfg.Cert
	}
	return pem, trusted, os.WriteFile(pem, all, 0o600)
}

// What Cassandra 5 wants opened on Java 17, as its own jvm17-server.options has it.
const (
	cassandraExports = `java.base/jdk.internal.misc java.base/jdk.internal.ref java.base/sun.nio.ch
		java.management.rmi/com.sun.jmx.remote.internal.rmi java.rmi/sun.rmi.registry java.rmi/sun.rmi.server
		java.rmi/sun.rmi.transport.tcp java.sql/java.sql java.base/java.lang.ref java.base/java.lang.reflect
		java.base/jdk.internal.util jdk.unsupported/sun.misc jdk.compiler/com.sun.tools.javac.file jdk.attach/sun.tools.attach`
	cassandraOpens = `java.base/java.lang java.base/java.lang.module java.base/java.lang.reflect java.base/java.lang.ref
		java.base/java.io java.base/java.nio java.base/java.nio.charset java.base/java.net java.base/java.util
		java.base/java.util.concurrent java.base/java.util.concurrent.atomic java.base/java.util.concurrent.locks
		java.base/jdk.internal.loader java.base/jdk.internal.ref java.base/jdk.internal.reflect java.base/jdk.internal.math
		java.base/jdk.internal.module java.base/jdk.internal.util.jar java.base/sun.nio.ch
		jdk.management/com.sun.management.internal jdk.management.jfr/jdk.management.jfr jdk.compiler/com.sun.tools.javac
		jdk.attach/sun.tools.attach java.base/sun.security.util`
)

func (c *Cassandra) arguments() []string {
	conf := filepath.Join(c.dir, "conf")
	// The first compiler alone and no verification of bytecode: up in half the
	// time, which is what a node that lives for some minutes is about.
	args := []string{"-XX:TieredStopAtLevel=1", "-XX:+UnlockDiagnosticVMOptions", "-XX:-BytecodeVerificationRemote",
		"-ea", "-da:net.openhft...", "-javaagent:" + c.jamm, "-Xms1G", "-Xmx1G", "-Xss256k", "-XX:+UseG1GC",
		"-Xlog:disable", "-Xlog:all=error:stderr",
		"-Djava.net.preferIPv4Stack=true", "-Djna.nosys=true", "-Djdk.attach.allowAttachSelf=true", "-Dio.netty.tryReflectionSetAccessible=true",
		"-Dcassandra.config=file://" + filepath.Join(conf, "cassandra.yaml"), "-Dcassandra.storagedir=" + c.dir,
		"-Dlogback.configurationFile=file://" + filepath.Join(conf, "logback.xml"),
		"-Dcassandra.skip_wait_for_gossip_to_settle=0", "-Dcassandra.ring_delay_ms=0", "-Dcassandra.superuser_setup_delay_ms=-1",
		"-Dcassandra-foreground=yes", "-Dchronicle.announcer.disable=true"}
	for e := range strings.FieldsSeq(cassandraExports) {
		args = append(args, "--add-exports", e+"=ALL-UNNAMED")
	}
	for e := range strings.FieldsSeq(cassandraOpens) {
		args = append(args, "--add-opens", e+"=ALL-UNNAMED")
	}
	return append(args, "-cp", conf+":"+c.classpath, "org.apache.cassandra.service.CassandraDaemon")
}
