import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/**
 * Tools runs the main of Kafka's command-line tools in this process, one at a time, with what they
 * print caught: a JVM for each would cost a second or two. They end by Exit, which Kafka's own
 * tests replace in the same way.
 */
final class Tools {
    private static final class Ended extends Error {
        Ended() {
            super("ended", null, false, false);
        }
    }

    static JsonNode run(JsonNode a) throws Exception {
        String[] args = Driver.JSON.convertValue(a.get("args"), String[].class);
        InputStream in = System.in;
        PrintStream out = System.out, err = System.err;
        ByteArrayOutputStream said = new ByteArrayOutputStream(), complained = new ByteArrayOutputStream();
        List<Integer> codes = new ArrayList<>(); // the first is the tool's: some catch what ends them, and exit again
        Exit.Procedure end = (code, message) -> {
            codes.add(code);
            throw new Ended();
        };
        Exit.setExitProcedure(end);
        Exit.setHaltProcedure(end);
        Exit.setShutdownHookAdder((name, runnable) -> { });
        try {
            System.setIn(new ByteArrayInputStream(a.get("stdin").asText().getBytes("UTF-8")));
            System.setOut(new PrintStream(said, true, "UTF-8"));
            System.setErr(new PrintStream(complained, true, "UTF-8"));
            Class.forName(a.get("class").asText()).getMethod("main", String[].class).invoke(null, (Object) args);
        } catch (InvocationTargetException e) {
            if (!(e.getCause() instanceof Ended)) {
                throw new Exception(e.getCause() + "\n" + said + complained, e.getCause());
            }
        } finally {
            System.setIn(in);
            System.setOut(out);
            System.setErr(err);
            Exit.resetExitProcedure();
            Exit.resetHaltProcedure();
            Exit.resetShutdownHookAdder();
        }
        ObjectNode n = Driver.JSON.createObjectNode();
        return n.put("out", said.toString("UTF-8")).put("err", complained.toString("UTF-8")).put("code", codes.isEmpty() ? 0 : codes.get(0));
    }
}
