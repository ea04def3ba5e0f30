import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Properties;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Member is a consumer in a group, in a thread of its own: it commits what it has seen after each poll. */
final class Member extends Thread implements ConsumerRebalanceListener {
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final List<String> topics = new ArrayList<>();
    private final TreeSet<String> assigned = new TreeSet<>();
    private final ArrayNode seen = Driver.JSON.createArrayNode();
    private int revoked;
    private String fault;
    private volatile boolean leaving;

    Member(JsonNode a) {
        Properties p = Driver.properties("group.id", a.get("group").asText(), "client.id", a.get("member").asText(),
            "auto.offset.reset", "earliest", "enable.auto.commit", false);
        String protocol = a.get("protocol").asText();
        switch (protocol) {
            case "eager":
                p.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer.RangeAssignor");
                break;
            case "cooperative":
                p.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
                break;
            case "consumer":
                p.put("group.protocol", "consumer");
                break;
            default:
                throw new IllegalArgumentException("protocol " + protocol);
        }
        if (!protocol.equals("consumer")) {
            p.put("session.timeout.ms", "10000");
            p.put("heartbeat.interval.ms", "300");
        }
        if (!a.get("instance").asText().isEmpty()) {
            p.put("group.instance.id", a.get("instance").asText());
        }
        a.get("topics").forEach(t -> topics.add(t.asText()));
        consumer = new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        setDaemon(true);
    }

    @Override
    public void run() {
        try {
            consumer.subscribe(topics, this);
            while (!leaving) {
                ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(100));
                synchronized (this) {
                    for (ConsumerRecord<byte[], byte[]> r : records) {
                        seen.add(Driver.encode(r));
                    }
                }
                if (!records.isEmpty()) {
                    consumer.commitSync(records.nextOffsets());
                }
            }
        } catch (WakeupException e) {
            // leaving
        } catch (Throwable e) {
            e.printStackTrace();
            synchronized (this) {
                fault = e.toString();
            }
        } finally {
            consumer.close();
        }
    }

    @Override
    public synchronized void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        partitions.forEach(p -> assigned.add(p.toString()));
    }

    @Override
    public synchronized void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        partitions.forEach(p -> assigned.remove(p.toString()));
        revoked += partitions.size();
    }

    synchronized ObjectNode state() {
        ObjectNode n = Driver.JSON.createObjectNode();
        ArrayNode list = n.putArray("assigned");
        assigned.forEach(list::add);
        n.put("seen", seen.size()).put("revoked", revoked).put("fault", fault);
        return n;
    }

    /** Leaves the group (a static member does not) and tells all that it has seen. */
    JsonNode leave() throws Exception {
        leaving = true;
        join(Driver.PATIENCE.toMillis());
        if (isAlive()) {
            throw new IllegalStateException("the member did not end");
        }
        if (fault != null) {
            throw new IllegalStateException(fault);
        }
        return seen;
    }
}
