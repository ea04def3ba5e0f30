import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** AdminOps are the operations that go through Kafka's admin client. */
final class AdminOps {
    private Admin client;

    JsonNode answer(String op, JsonNode a) throws Exception {
        if (client == null) {
            client = Admin.create(Driver.properties());
        }
        String topic = a.path("topic").asText(), group = a.path("group").asText();
        switch (op) {
            case "create": return create(topic, a);
            case "describe": return describe(topic);
            case "alter": return alter(topic, a.get("configs"));
            case "grow":
                client.createPartitions(Map.of(topic, NewPartitions.increaseTo(a.get("partitions").asInt()))).all().get();
                return null;
            case "trim":
                client.deleteRecords(Map.of(new TopicPartition(topic, a.get("partition").asInt()),
                    RecordsToDelete.beforeOffset(a.get("offset").asLong()))).all().get();
                return null;
            case "drop":
                client.deleteTopics(List.of(topic)).all().get();
                return null;
            case "topics": return Driver.JSON.valueToTree(client.listTopics().names().get());
            case "offset": return offset(new TopicPartition(topic, a.get("partition").asInt()), a.get("at").asLong());
            case "groups": return groups();
            case "group": return group(group);
            case "committed": return committed(group);
            case "reset":
                client.alterConsumerGroupOffsets(group, Map.of(new TopicPartition(topic, a.get("partition").asInt()),
                    new OffsetAndMetadata(a.get("offset").asLong()))).all().get();
                return null;
            case "forget":
                client.deleteConsumerGroups(List.of(group)).all().get();
                return null;
            default: throw new IllegalArgumentException("no operation " + op);
        }
    }

    private JsonNode create(String topic, JsonNode a) throws Exception {
        Map<String, String> configs = new HashMap<>();
        a.get("configs").properties().forEach(e -> configs.put(e.getKey(), e.getValue().asText()));
        client.createTopics(List.of(new NewTopic(topic, a.get("partitions").asInt(), (short) 1).configs(configs))).all().get();
        return null;
    }

    private JsonNode describe(String topic) throws Exception {
        ObjectNode n = Driver.JSON.createObjectNode();
        n.put("partitions", client.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size());
        ObjectNode configs = n.putObject("configs");
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        for (ConfigEntry e : client.describeConfigs(List.of(resource)).all().get().get(resource).entries()) {
            if (e.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG) {
                configs.put(e.name(), e.value());
            }
        }
        return n;
    }

    private JsonNode alter(String topic, JsonNode configs) throws Exception {
        List<AlterConfigOp> ops = new ArrayList<>();
        configs.properties().forEach(e -> ops.add(new AlterConfigOp(new ConfigEntry(e.getKey(), e.getValue().asText(null)),
            e.getValue().isNull() ? AlterConfigOp.OpType.DELETE : AlterConfigOp.OpType.SET)));
        client.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.TOPIC, topic), ops)).all().get();
        return null;
    }

    private JsonNode offset(TopicPartition partition, long at) throws Exception {
        OffsetSpec spec = at == -1 ? OffsetSpec.latest() : at == -2 ? OffsetSpec.earliest()
            : at == -3 ? OffsetSpec.maxTimestamp() : OffsetSpec.forTimestamp(at);
        ListOffsetsResultInfo info = client.listOffsets(Map.of(partition, spec)).partitionResult(partition).get();
        return Driver.JSON.getNodeFactory().numberNode(info.offset());
    }

    private JsonNode groups() throws Exception {
        List<String> names = new ArrayList<>();
        for (GroupListing g : client.listGroups().all().get()) {
            names.add(g.groupId());
        }
        return Driver.JSON.valueToTree(names);
    }

    private JsonNode group(String group) throws Exception {
        ConsumerGroupDescription d = client.describeConsumerGroups(List.of(group)).all().get().get(group);
        return Driver.JSON.createObjectNode().put("state", d.groupState().toString()).put("members", d.members().size());
    }

    private JsonNode committed(String group) throws Exception {
        ObjectNode n = Driver.JSON.createObjectNode();
        client.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get()
            .forEach((p, o) -> { if (o != null) n.put(p.toString(), o.offset()); });
        return n;
    }
}
