import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.module.blackbird.BlackbirdModule;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.ZoneId;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The job of the Java peers, written once: decodes and validates a scan, applies the decision table, makes a row and an alert. */
final class Job {
    static final byte[] LETTER_KEY = "checkpoint-scans".getBytes(StandardCharsets.UTF_8);

    /** What is done with the results. */
    interface Results {
        void row(Rows.Row row);

        void alert(byte[] key, byte[] value);

        void letter(byte[] value);
    }

    /** A record as it was read. */
    record Received(byte[] value, int partition, long offset, long timestamp) {}

    private static final ObjectMapper MAPPER = JsonMapper.builder().disable(MapperFeature.ALLOW_COERCION_OF_SCALARS)
        .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).addModule(new BlackbirdModule()).build();
    private static final ObjectReader READER = MAPPER.readerFor(Events.Scan.class);
    private static final ZoneId ZONE = ZoneId.of("Asia/Shanghai");

    private final Rules rules;
    private final Map<Long, Long> days = new HashMap<>();  // the local day of a minute

    Job(Rules rules) {
        this.rules = rules;
    }

    void process(Received record, Results out) {
        String path = "";
        try {
            Events.Scan scan = READER.readValue(record.value());
            path = "/observed_at";
            OffsetDateTime observed = OffsetDateTime.parse(scan.observed_at());
            long at = observed.toEpochSecond() * 1_000_000 + observed.getNano() / 1000;
            long ahead = at - record.timestamp() * 1000;
            if (ahead > 600_000_000L || ahead < -13 * 86_400_000_000L) {
                reject(record, "clock_out_of_range", path, out);
            } else if (Events.valid(scan)) {
                judge(scan, at, record, out);
            } else {
                reject(record, "schema_invalid", "", out);
            }
        } catch (com.fasterxml.jackson.core.JsonParseException error) {
            reject(record, "not_json", "", out);
        } catch (JsonProcessingException | java.time.format.DateTimeParseException error) {
            reject(record, "schema_invalid", path, out);
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    private void judge(Events.Scan scan, long at, Received record, Results out) throws IOException {
        List<Events.Reason> reasons = rules.decide(scan, at);
        String outcome = Rules.outcome(reasons);
        boolean late = record.timestamp() * 1000 - at > 600_000_000L;
        long now = System.currentTimeMillis();
        long minute = Math.floorDiv(at, 60_000_000L) * 60;
        long day = days.computeIfAbsent(minute, start -> Instant.ofEpochSecond(start).atZone(ZONE).toLocalDate().toEpochDay());
        out.row(new Rows.Row(day, minute, scan, outcome, late, reasons, (1L << 43) - now));
        if (!reasons.isEmpty()) {
            Events.Alert alert = new Events.Alert(id(scan, reasons), "default@1", scan.site_id(), scan.device_id(), scan.seq(), scan.observed_at(),
                Instant.ofEpochMilli(now).toString(), outcome, late, 1, reasons);
            out.alert(scan.site_id().getBytes(StandardCharsets.UTF_8), MAPPER.writeValueAsBytes(alert));
        }
    }

    private static void reject(Received record, String reason, String path, Results out) {
        try {
            Events.DeadLetter letter = new Events.DeadLetter("checkpoint-scans", record.partition(), record.offset(), reason, path,
                record.value().length, Rules.sha256(record.value()), Instant.ofEpochMilli(record.timestamp()).toString());
            out.letter(MAPPER.writeValueAsBytes(letter));
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    private static String id(Events.Scan scan, List<Events.Reason> reasons) {
        try {
            return Rules.alertId(scan, reasons);
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }
}
