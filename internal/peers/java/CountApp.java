import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.WindowedSerdes;

/**
 * CountApp counts the marked lines of each host and minute, exactly once: what bench-streams measures
 * beside Millstream. Keys and values of its results have the same bytes as Millstream's.
 * Arguments: broker, application id, state directory, input topic, output topic, threads, commit
 * interval in ms, session timeout in ms (0: the default), instance id ("-": dynamic membership),
 * what becomes of the membership at SIGTERM: "default", "leave" or "remain".
 */
public final class CountApp {
    public static void main(String[] args) {
        Properties p = new Properties();
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, args[1]);
        p.put(StreamsConfig.STATE_DIR_CONFIG, args[2]);
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, Integer.parseInt(args[5]));
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, Integer.parseInt(args[6]));
        p.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        int session = Integer.parseInt(args[7]);
        if (session > 0) {
            p.put(StreamsConfig.consumerPrefix("session.timeout.ms"), session);
            p.put(StreamsConfig.consumerPrefix("heartbeat.interval.ms"), session / 3);
        }
        if (!args[8].equals("-")) {
            p.put(StreamsConfig.consumerPrefix("group.instance.id"), args[8]);
        }

        StreamsBuilder b = new StreamsBuilder();
        b.stream(args[3], Consumed.with(Serdes.String(), Serdes.String()))
            .filter((host, line) -> line.contains("invalid user"))
            .groupByKey()
            .windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofMinutes(1)))
            .count(Materialized.as("counts"))
            .toStream()
            .to(args[4], Produced.with(WindowedSerdes.timeWindowedSerdeFrom(String.class, 60_000), Serdes.Long()));
        KafkaStreams app = new KafkaStreams(b.build(), p);
        app.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        app.setStateListener((now, before) -> System.out.println("state " + now + " " + System.currentTimeMillis()));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> close(app, args[9])));
        System.out.println("starting " + System.currentTimeMillis());
        app.start();
    }

    private static void close(KafkaStreams app, String membership) {
        Duration patience = Duration.ofSeconds(20);
        switch (membership) {
            case "leave":
                app.close(CloseOptions.timeout(patience).withGroupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP));
                break;
            case "remain":
                app.close(CloseOptions.timeout(patience).withGroupMembershipOperation(CloseOptions.GroupMembershipOperation.REMAIN_IN_GROUP));
                break;
            default:
                app.close(patience);
        }
    }
}
