import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Driver carries out what a Go test asks of Apache Kafka's own clients: one JSON object a line on
 * standard input, its answer on standard output. Its one argument is the broker's address. The
 * operations are those of the interface `client` in log/wire/clients.
 */
public final class Driver {
    static final ObjectMapper JSON = new ObjectMapper();
    static final Duration PATIENCE = Duration.ofSeconds(90);
    static String bootstrap;
    final Map<String, Member> members = new TreeMap<>();
    final AdminOps admin = new AdminOps();

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        PrintStream out = System.out;
        System.setOut(System.err); // what libraries print is no answer
        Driver driver = new Driver();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line; (line = in.readLine()) != null; ) {
            ObjectNode answer = JSON.createObjectNode();
            try {
                JsonNode request = JSON.readTree(line);
                answer.set("result", driver.answer(request.get("op").asText(), request.get("args")));
            } catch (Throwable e) {
                Throwable cause = e instanceof java.util.concurrent.ExecutionException ? e.getCause() : e;
                answer.put("error", cause.getClass().getSimpleName() + ": " + cause.getMessage());
                e.printStackTrace();
            }
            out.println(JSON.writeValueAsString(answer));
            out.flush();
        }
        Runtime.getRuntime().halt(0); // members that a failed test left behind do not hold it
    }

    JsonNode answer(String op, JsonNode a) throws Exception {
        switch (op) {
            case "produce": return produce(a);
            case "read": return read(a);
            case "join": return join(a);
            case "members": return memberStates();
            case "leave": return members.remove(a.get("member").asText()).leave();
            case "transact": return transact(a);
            case "fence": return fence(a);
            case "relay": return relay(a);
            case "tool": return Tools.run(a);
            default: return admin.answer(op, a);
        }
    }

    static Properties properties(Object... pairs) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        for (int i = 0; i < pairs.length; i += 2) {
            p.put(pairs[i], String.valueOf(pairs[i + 1]));
        }
        return p;
    }

    static KafkaProducer<byte[], byte[]> producer(Object... pairs) {
        Properties p = properties(pairs);
        p.put("linger.ms", "5");
        return new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer(Object... pairs) {
        return new KafkaConsumer<>(properties(pairs), new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static byte[] bytes(JsonNode n) {
        return n == null || n.isNull() ? null : Base64.getDecoder().decode(n.asText());
    }

    static ProducerRecord<byte[], byte[]> decode(String topic, JsonNode r) {
        ProducerRecord<byte[], byte[]> record =
            new ProducerRecord<>(topic, r.get("p").asInt(), r.get("t").asLong(), bytes(r.get("k")), bytes(r.get("v")));
        for (JsonNode h : r.withArray("h")) {
            record.headers().add(h.get("k").asText(), bytes(h.get("v")));
        }
        return record;
    }

    static ObjectNode encode(ConsumerRecord<byte[], byte[]> r) {
        ObjectNode n = JSON.createObjectNode();
        n.put("p", r.partition()).put("o", r.offset()).put("t", r.timestamp());
        n.put("k", r.key()).put("v", r.value()); // Jackson writes base64
        ArrayNode headers = n.putArray("h");
        for (Header h : r.headers()) {
            headers.addObject().put("k", h.key()).put("v", h.value());
        }
        return n;
    }

    static void send(KafkaProducer<byte[], byte[]> p, String topic, JsonNode records, ArrayNode offsets) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (JsonNode r : records) {
            sent.add(p.send(decode(topic, r)));
        }
        p.flush();
        for (Future<RecordMetadata> f : sent) {
            offsets.add(f.get().offset());
        }
    }

    JsonNode produce(JsonNode a) throws Exception {
        ArrayNode offsets = JSON.createArrayNode();
        try (KafkaProducer<byte[], byte[]> p = producer("acks", a.get("acks").asText(),
            "compression.type", a.get("codec").asText(), "enable.idempotence", a.get("idempotent").asBoolean())) {
            send(p, a.get("topic").asText(), a.get("records"), offsets);
        }
        return offsets;
    }

    JsonNode read(JsonNode a) {
        ArrayNode all = JSON.createArrayNode();
        try (KafkaConsumer<byte[], byte[]> c = consumer("isolation.level", a.get("isolation").asText())) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (PartitionInfo p : c.partitionsFor(a.get("topic").asText())) {
                partitions.add(new TopicPartition(p.topic(), p.partition()));
            }
            Map<TopicPartition, Long> ends = c.endOffsets(partitions);
            c.assign(partitions);
            c.seekToBeginning(partitions);
            long deadline = System.nanoTime() + PATIENCE.toNanos();
            while (ends.entrySet().stream().anyMatch(e -> c.position(e.getKey()) < e.getValue())) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("not at " + ends + " in time, read " + all.size());
                }
                for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofMillis(200))) {
                    all.add(encode(r));
                }
            }
        }
        return all;
    }

    JsonNode join(JsonNode a) {
        Member m = new Member(a);
        members.put(a.get("member").asText(), m);
        m.start();
        return null;
    }

    JsonNode memberStates() throws Exception {
        ObjectNode all = JSON.createObjectNode();
        for (Map.Entry<String, Member> m : members.entrySet()) {
            all.set(m.getKey(), m.getValue().state());
        }
        return all;
    }

    JsonNode transact(JsonNode a) throws Exception {
        ArrayNode offsets = JSON.createArrayNode();
        try (KafkaProducer<byte[], byte[]> p = producer("transactional.id", a.get("txid").asText())) {
            p.initTransactions();
            for (JsonNode step : a.get("steps")) {
                p.beginTransaction();
                send(p, a.get("topic").asText(), step.get("records"), offsets);
                if (step.get("commit").asBoolean()) {
                    p.commitTransaction();
                } else {
                    p.abortTransaction();
                }
            }
        }
        return offsets;
    }

    /** Two producers with one transactional id; what the older hears when it commits after the younger has. */
    JsonNode fence(JsonNode a) throws Exception {
        String topic = a.get("topic").asText(), id = a.get("txid").asText();
        ArrayNode offsets = JSON.createArrayNode();
        try (KafkaProducer<byte[], byte[]> old = producer("transactional.id", id);
             KafkaProducer<byte[], byte[]> young = producer("transactional.id", id)) {
            old.initTransactions();
            old.beginTransaction();
            send(old, topic, a.get("steps").get(0).get("records"), offsets);
            young.initTransactions();
            young.beginTransaction();
            send(young, topic, a.get("steps").get(1).get("records"), offsets);
            young.commitTransaction();
            try {
                old.commitTransaction();
            } catch (KafkaException e) {
                return JSON.getNodeFactory().textNode(e.getClass().getSimpleName());
            }
        }
        return JSON.getNodeFactory().textNode("");
    }

    /** Copies a topic, exactly once: outputs and input offsets in one transaction; some are aborted and done again. */
    JsonNode relay(JsonNode a) throws Exception {
        int until = a.get("until").asInt(), abortEvery = a.get("abortEvery").asInt(), copied = 0, aborted = 0, n = 0;
        try (KafkaProducer<byte[], byte[]> p = producer("transactional.id", a.get("txid").asText());
             KafkaConsumer<byte[], byte[]> c = consumer("group.id", a.get("group").asText(), "isolation.level", "read_committed",
                 "enable.auto.commit", false, "auto.offset.reset", "earliest", "max.poll.records", a.get("batch").asInt())) {
            p.initTransactions();
            c.subscribe(List.of(a.get("from").asText()));
            long deadline = System.nanoTime() + PATIENCE.toNanos();
            while (copied < until && System.nanoTime() < deadline) {
                ConsumerRecords<byte[], byte[]> records = c.poll(Duration.ofMillis(200));
                if (records.isEmpty()) {
                    continue;
                }
                p.beginTransaction();
                for (ConsumerRecord<byte[], byte[]> r : records) {
                    p.send(new ProducerRecord<>(a.get("to").asText(), r.partition(), r.timestamp(), r.key(), r.value(), r.headers()));
                }
                p.sendOffsetsToTransaction(records.nextOffsets(), c.groupMetadata());
                if (++n % abortEvery == 0) {
                    p.abortTransaction();
                    aborted++;
                    for (TopicPartition tp : records.partitions()) {
                        c.seek(tp, records.records(tp).get(0).offset());
                    }
                } else {
                    p.commitTransaction();
                    copied += records.count();
                }
            }
        }
        return JSON.createObjectNode().put("copied", copied).put("aborted", aborted);
    }
}
