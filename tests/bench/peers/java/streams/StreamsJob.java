import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.module.blackbird.BlackbirdModule;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.ZoneId;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;

/**
 * The job on Kafka Streams: one processor, alerts and dead letters to topics, rows to ClickHouse once per second.
 *
 * Offsets are committed only when a flush requests it (the commit interval is set to its maximum), and a thread punctuates before it
 * commits, so rows are durable before the commit. Kafka Streams has no hook before the commit of a rebalance, so rows may not be
 * durable there. Before the measurement the job runs on other scans, so that the compiler has compiled it.
 */
final class Screening implements Processor<byte[], byte[], byte[], byte[]> {
    private static final ObjectMapper MAPPER = JsonMapper.builder().disable(MapperFeature.ALLOW_COERCION_OF_SCALARS)
        .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).addModule(new BlackbirdModule()).build();
    private static final ObjectReader READER = MAPPER.readerFor(Events.Scan.class);
    private static final ZoneId ZONE = ZoneId.of("Asia/Shanghai");
    private static final byte[] LETTER_KEY = "checkpoint-scans".getBytes(StandardCharsets.UTF_8);
    private static final int WARM_UPS = 4;

    private final Rules rules;
    private final Rows rows;
    private final AtomicLong flushed;
    private final Map<Long, Long> days = new HashMap<>();  // the local day of a minute
    private ProcessorContext<byte[], byte[]> context;

    private Screening(Rules rules, Rows rows, AtomicLong flushed) {
        this.rules = rules;
        this.rows = rows;
        this.flushed = flushed;
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
        this.context = context;
        context.schedule(Duration.ofSeconds(1), PunctuationType.WALL_CLOCK_TIME, now -> flush());
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        String path = "";
        try {
            Events.Scan scan = READER.readValue(record.value());
            path = "/observed_at";
            OffsetDateTime observed = OffsetDateTime.parse(scan.observed_at());
            long at = observed.toEpochSecond() * 1_000_000 + observed.getNano() / 1000;
            long ahead = at - record.timestamp() * 1000;
            if (ahead > 600_000_000L || ahead < -13 * 86_400_000_000L) {
                reject(record, "clock_out_of_range", path);
            } else if (Events.valid(scan)) {
                judge(scan, at, record);
            } else {
                reject(record, "schema_invalid", "");
            }
        } catch (com.fasterxml.jackson.core.JsonParseException error) {
            reject(record, "not_json", "");
        } catch (JsonProcessingException | java.time.format.DateTimeParseException error) {
            reject(record, "schema_invalid", path);
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
        if (rows.full()) {
            flush();
        }
    }

    private void judge(Events.Scan scan, long at, Record<byte[], byte[]> record) throws IOException {
        List<Events.Reason> reasons = rules.decide(scan, at);
        String outcome = Rules.outcome(reasons);
        boolean late = record.timestamp() * 1000 - at > 600_000_000L;
        long now = System.currentTimeMillis();
        long minute = Math.floorDiv(at, 60_000_000L) * 60;
        long day = days.computeIfAbsent(minute, start -> Instant.ofEpochSecond(start).atZone(ZONE).toLocalDate().toEpochDay());
        rows.add(day, minute, scan, outcome, late, reasons, (1L << 43) - now);
        if (!reasons.isEmpty()) {
            Events.Alert alert = new Events.Alert(id(scan, reasons), 1, scan.site_id(), scan.device_id(), scan.seq(), scan.observed_at(),
                Instant.ofEpochMilli(now).toString(), outcome, late, 1, reasons);
            context.forward(new Record<>(scan.site_id().getBytes(StandardCharsets.UTF_8), MAPPER.writeValueAsBytes(alert),
                record.timestamp()), "alerts");
        }
    }

    private void reject(Record<byte[], byte[]> record, String reason, String path) {
        RecordMetadata place = context.recordMetadata().orElseThrow();
        try {
            Events.DeadLetter letter = new Events.DeadLetter("checkpoint-scans", place.partition(), place.offset(), reason, path,
                record.value().length, Rules.sha256(record.value()), Instant.ofEpochMilli(record.timestamp()).toString());
            context.forward(new Record<>(LETTER_KEY, MAPPER.writeValueAsBytes(letter), record.timestamp()), "letters");
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

    private void flush() {
        flushed.addAndGet(rows.count);
        rows.flush();
        context.commit();
    }

    private static KafkaStreams start(String group, String in, String out, String letters, Rules rules, Rows rows, AtomicLong flushed) {
        Map<String, String> environment = System.getenv();
        Properties settings = new Properties();
        settings.put("application.id", group);
        settings.put("bootstrap.servers", environment.get("BENCH_KAFKA"));
        settings.put("state.dir", "state");
        settings.put("commit.interval.ms", Long.toString(Long.MAX_VALUE / 4));
        settings.put("num.stream.threads", "1");
        settings.put("statestore.cache.max.bytes", "0");
        settings.put("consumer.isolation.level", "read_committed");
        settings.put("consumer.auto.offset.reset", "earliest");
        settings.put("consumer.max.poll.records", "10000");
        settings.put("producer.acks", "all");
        settings.put("producer.linger.ms", "20");
        Topology topology = new Topology();
        topology.addSource("scans", Serdes.ByteArray().deserializer(), Serdes.ByteArray().deserializer(), in);
        topology.addProcessor("screening", () -> new Screening(rules, rows, flushed), "scans");
        topology.addSink("alerts", out, Serdes.ByteArray().serializer(), Serdes.ByteArray().serializer(), "screening");
        topology.addSink("letters", letters, Serdes.ByteArray().serializer(), Serdes.ByteArray().serializer(), "screening");
        KafkaStreams streams = new KafkaStreams(topology, settings);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            System.exit(1);
            return null;
        });
        streams.start();
        return streams;
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, String> environment = System.getenv();
        String group = environment.get("BENCH_GROUP"), prefix = environment.get("BENCH_PREFIX");
        String clickhouse = environment.get("BENCH_CLICKHOUSE_HTTP"), warm = environment.get("BENCH_WARM");
        Rules rules = new Rules(new Listed(Path.of(environment.get("BENCH_LIST"))), "370115");
        for (int n = 0; n < WARM_UPS; n++) {
            AtomicLong flushed = new AtomicLong();
            KafkaStreams streams = start(group + "-warm-" + n, warm, warm + "-alerts", warm + "-alerts", rules,
                new Rows(clickhouse, "bench.warm_up"), flushed);
            long before;
            do {
                before = flushed.get();
                Thread.sleep(1500);
            } while (flushed.get() == 0 || flushed.get() > before);
            streams.close(Duration.ofSeconds(5));
        }
        System.gc();
        start(group, prefix + "checkpoint-scans", prefix + "screening-alerts", prefix + "dead-letters", rules,
            new Rows(clickhouse, "bench.passages"), new AtomicLong());
        System.out.println("ready");
    }
}
