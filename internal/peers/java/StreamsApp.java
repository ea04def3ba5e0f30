import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;

/**
 * StreamsApp sums orders per region and minute, exactly once: orders ("user,amount" by order id) are
 * repartitioned by user, joined with the table of users (region by user), repartitioned by region
 * and added up in windows. Each order makes one output, so that a key's counts are 1, 2, 3 and so on.
 * Arguments: broker, application id, state directory, topics orders, users, totals.
 */
public final class StreamsApp {
    public static void main(String[] args) {
        Properties p = new Properties();
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, args[1]);
        p.put(StreamsConfig.STATE_DIR_CONFIG, args[2]);
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        p.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        p.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0); // an output for each input
        p.put(StreamsConfig.consumerPrefix("session.timeout.ms"), 6000); // a killed application comes back soon
        p.put(StreamsConfig.consumerPrefix("heartbeat.interval.ms"), 500);
        p.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");

        KafkaStreams app = new KafkaStreams(topology(args[3], args[4], args[5]), p);
        app.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        app.setStateListener((now, before) -> System.err.println("state " + now));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> app.close(Duration.ofSeconds(20))));
        app.start();
    }

    private static org.apache.kafka.streams.Topology topology(String orders, String users, String totals) {
        StreamsBuilder b = new StreamsBuilder();
        KTable<String, String> regions = b.table(users, Consumed.with(Serdes.String(), Serdes.String()));
        KStream<String, String> byUser = b.stream(orders, Consumed.with(Serdes.String(), Serdes.String()))
            .map((id, order) -> KeyValue.pair(order.split(",")[0], order.split(",")[1]));
        byUser.join(regions, (amount, region) -> region + "," + amount, Joined.as("by-user"))
            .map((user, joined) -> KeyValue.pair(joined.split(",")[0], joined.split(",")[1]))
            .groupByKey(Grouped.as("by-region"))
            .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMinutes(1), Duration.ofDays(1)))
            .aggregate(() -> "0,0", (region, amount, total) -> {
                String[] t = total.split(",");
                return (Long.parseLong(t[0]) + 1) + "," + (Long.parseLong(t[1]) + Long.parseLong(amount));
            }, Materialized.as("totals"))
            .toStream((window, total) -> window.key() + "@" + window.window().start())
            .to(totals, Produced.with(Serdes.String(), Serdes.String()));
        return b.build();
    }
}
