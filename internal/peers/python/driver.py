"""Carries out what a Go test asks of librdkafka, by confluent-kafka: one JSON
object a line on standard input, its answer on standard output. Its one argument
is the broker's address. The operations are those of the interface `client` in
log/wire/clients.
"""
import base64
import json
import sys
import threading
import time
import traceback

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, IsolationLevel, KafkaException, Producer, TopicPartition
from confluent_kafka import KafkaError
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ConfigSource, NewPartitions,
                                   NewTopic, OffsetSpec)

PATIENCE = 90.0
BOOTSTRAP = sys.argv[1]


def config(**more):
    c = {"bootstrap.servers": BOOTSTRAP, "log_level": 3}
    c.update({k.replace("_", "."): v for k, v in more.items()})
    return c


def unbytes(s):
    return None if s is None else base64.b64decode(s)


def tobytes(b):
    return None if b is None else base64.b64encode(b).decode()


def encode(m):
    return {"p": m.partition(), "o": m.offset(), "t": m.timestamp()[1], "k": tobytes(m.key()), "v": tobytes(m.value()),
            "h": [{"k": k, "v": tobytes(v)} for k, v in (m.headers() or [])]}


def send(p, topic, records):
    """Produces the records and gives their offsets."""
    offsets, faults = [None] * len(records), []

    def delivered(i):
        def report(err, msg):
            if err is not None:
                faults.append(err)
            else:
                offsets[i] = msg.offset()
        return report

    for i, r in enumerate(records):
        args = dict(key=unbytes(r["k"]), value=unbytes(r["v"]), partition=r["p"], timestamp=r["t"],
                    headers=[(h["k"], unbytes(h["v"])) for h in r["h"] or []] or None, on_delivery=delivered(i))
        while True:
            try:
                p.produce(topic, **args)
                break
            except BufferError:
                p.poll(0.1)
    if p.flush(PATIENCE) > 0:
        raise RuntimeError("not all was delivered in time")
    if faults:
        raise KafkaException(faults[0])
    return offsets


def produce(a):
    p = Producer(config(acks=a["acks"], compression_type=a["codec"], enable_idempotence=a["idempotent"], linger_ms=5))
    return send(p, a["topic"], a["records"])


def read(a):
    c = Consumer(config(group_id="not-committed", enable_auto_commit=False, isolation_level=a["isolation"],
                        auto_offset_reset="earliest", enable_partition_eof=True))
    topic = a["topic"]
    partitions = c.list_topics(topic, 30).topics[topic].partitions
    waiting = set()
    for p in partitions:
        low, high = c.get_watermark_offsets(TopicPartition(topic, p), 30)
        if high > low:
            waiting.add(p)
    c.assign([TopicPartition(topic, p, -2) for p in waiting])
    records, deadline = [], time.monotonic() + PATIENCE
    while waiting:
        if time.monotonic() > deadline:
            raise RuntimeError("no end of partitions %s in time, read %d" % (waiting, len(records)))
        m = c.poll(0.5)
        if m is None:
            continue
        if m.error() is None:
            records.append(encode(m))
        elif m.error().code() == KafkaError._PARTITION_EOF:
            waiting.discard(m.partition())
        else:
            raise KafkaException(m.error())
    c.close()
    return records


class Member(threading.Thread):
    """A consumer in a group that commits what it has seen after each poll."""

    def __init__(self, a):
        super().__init__(daemon=True)
        more = {}
        if a["protocol"] == "consumer":
            more["group.protocol"] = "consumer"
        else:
            more["partition.assignment.strategy"] = {"eager": "range", "cooperative": "cooperative-sticky"}[a["protocol"]]
            more["session.timeout.ms"], more["heartbeat.interval.ms"] = 10000, 300
        if a["instance"]:
            more["group.instance.id"] = a["instance"]
        self.consumer = Consumer(config(group_id=a["group"], client_id=a["member"], auto_offset_reset="earliest",
                                        enable_auto_commit=False, **more))
        self.topics, self.mu = a["topics"], threading.Lock()
        self.assigned, self.seen, self.revoked, self.fault, self.leaving = set(), [], 0, None, False

    def run(self):
        try:
            self.consumer.subscribe(self.topics, on_assign=self.on_assign, on_revoke=self.on_revoke, on_lost=self.on_revoke)
            while not self.leaving:
                batch = self.consumer.consume(500, 0.1)
                following = {}
                for m in batch:
                    if m.error() is not None:
                        raise KafkaException(m.error())
                    following[m.topic(), m.partition()] = m.offset() + 1
                with self.mu:
                    self.seen += [encode(m) for m in batch]
                if batch:
                    self.consumer.commit(offsets=[TopicPartition(t, p, o) for (t, p), o in following.items()], asynchronous=False)
        except Exception as e:
            traceback.print_exc()
            self.fault = repr(e)
        finally:
            self.consumer.close()

    def on_assign(self, consumer, partitions):
        with self.mu:
            self.assigned.update("%s-%d" % (p.topic, p.partition) for p in partitions)

    def on_revoke(self, consumer, partitions):
        with self.mu:
            self.assigned.difference_update("%s-%d" % (p.topic, p.partition) for p in partitions)
            self.revoked += len(partitions)

    def state(self):
        with self.mu:
            return {"assigned": sorted(self.assigned), "seen": len(self.seen), "revoked": self.revoked, "fault": self.fault}

    def leave(self):
        self.leaving = True
        self.join(PATIENCE)
        if self.is_alive() or self.fault:
            raise RuntimeError(self.fault or "the member did not end")
        return self.seen


members = {}


def join(a):
    members[a["member"]] = m = Member(a)
    m.start()


def transact(a):
    p = Producer(config(transactional_id=a["txid"], linger_ms=5))
    p.init_transactions(PATIENCE)
    offsets = []
    for step in a["steps"]:
        p.begin_transaction()
        offsets += send(p, a["topic"], step["records"])
        if step["commit"]:
            p.commit_transaction(PATIENCE)
        else:
            p.abort_transaction(PATIENCE)
    return offsets


def fence(a):
    """Two producers with one transactional id; what the older hears when it commits after the younger has."""
    old, young = (Producer(config(transactional_id=a["txid"], linger_ms=5)) for _ in range(2))
    first, second = a["steps"]
    old.init_transactions(PATIENCE)
    old.begin_transaction()
    send(old, a["topic"], first["records"])
    young.init_transactions(PATIENCE)
    young.begin_transaction()
    send(young, a["topic"], second["records"])
    young.commit_transaction(PATIENCE)
    try:
        old.commit_transaction(PATIENCE)
    except KafkaException as e:
        return e.args[0].name()
    return ""


def relay(a):
    """Copies a topic, exactly once: outputs and input offsets in one transaction; some are aborted and done again."""
    p = Producer(config(transactional_id=a["txid"], linger_ms=5))
    c = Consumer(config(group_id=a["group"], isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="earliest"))
    p.init_transactions(PATIENCE)
    c.subscribe([a["from"]])
    copied = aborted = n = 0
    deadline = time.monotonic() + PATIENCE
    while copied < a["until"] and time.monotonic() < deadline:
        batch = [m for m in c.consume(a["batch"], 0.3) if m.error() is None]
        if not batch:
            continue
        p.begin_transaction()
        first, following = {}, {}
        for m in batch:
            p.produce(a["to"], key=m.key(), value=m.value(), partition=m.partition(), timestamp=m.timestamp()[1], headers=m.headers())
            first.setdefault(m.partition(), m.offset())
            following[m.partition()] = m.offset() + 1
        p.send_offsets_to_transaction([TopicPartition(a["from"], q, o) for q, o in following.items()], c.consumer_group_metadata(), PATIENCE)
        n += 1
        if n % a["abortEvery"] == 0:
            p.abort_transaction(PATIENCE)
            aborted += 1
            for q, o in first.items():
                c.seek(TopicPartition(a["from"], q, o))
        else:
            p.commit_transaction(PATIENCE)
            copied += len(batch)
    c.close()
    return {"copied": copied, "aborted": aborted}


admin = None


def one(futures):
    """The result of a call for one thing."""
    (future,) = futures.values()
    return future.result()


def describe(topic):
    (entries,) = [f.result() for f in admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).values()]
    return {"partitions": len(admin.list_topics(topic, 30).topics[topic].partitions),
            "configs": {e.name: e.value for e in entries.values() if e.source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value}}


def alter(topic, configs):
    entries = [ConfigEntry(k, v or "", incremental_operation=AlterConfigOpType.DELETE if v is None else AlterConfigOpType.SET)
               for k, v in configs.items()]
    one(admin.incremental_alter_configs([ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)]))


def offset(topic, partition, at):
    spec = {-1: OffsetSpec.latest, -2: OffsetSpec.earliest, -3: OffsetSpec.max_timestamp}.get(at, lambda: OffsetSpec.for_timestamp(at))()
    return one(admin.list_offsets({TopicPartition(topic, partition): spec}, isolation_level=IsolationLevel.READ_UNCOMMITTED)).offset


def group(name):
    d = one(admin.describe_consumer_groups([name]))
    return {"state": d.state.name.title(), "members": len(d.members)}


def committed(name):
    found = one(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)]))
    return {"%s-%d" % (p.topic, p.partition): p.offset for p in found.topic_partitions if p.offset >= 0}


operations = {
    "produce": produce, "read": read, "join": join, "transact": transact, "fence": fence, "relay": relay,
    "members": lambda a: {k: m.state() for k, m in members.items()},
    "leave": lambda a: members.pop(a["member"]).leave(),
    "create": lambda a: one(admin.create_topics([NewTopic(a["topic"], a["partitions"], 1, config=a["configs"])])),
    "describe": lambda a: describe(a["topic"]),
    "alter": lambda a: alter(a["topic"], a["configs"]),
    "grow": lambda a: one(admin.create_partitions([NewPartitions(a["topic"], a["partitions"])])),
    "trim": lambda a: one(admin.delete_records([TopicPartition(a["topic"], a["partition"], a["offset"])])) and None,
    "drop": lambda a: one(admin.delete_topics([a["topic"]])),
    "topics": lambda a: list(admin.list_topics(timeout=30).topics),
    "offset": lambda a: offset(a["topic"], a["partition"], a["at"]),
    "groups": lambda a: [g.group_id for g in admin.list_consumer_groups().result().valid],
    "group": lambda a: group(a["group"]),
    "committed": lambda a: committed(a["group"]),
    "reset": lambda a: one(admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(
        a["group"], [TopicPartition(a["topic"], a["partition"], a["offset"])])])) and None,
    "forget": lambda a: one(admin.delete_consumer_groups([a["group"]])),
}


def main():
    global admin
    admin = AdminClient(config())
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": operations[request["op"]](request["args"])}
        except Exception as e:
            traceback.print_exc()
            answer = {"error": "%s: %s" % (type(e).__name__, e)}
        print(json.dumps(answer), flush=True)


main()
