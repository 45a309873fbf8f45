import java.time.Duration;
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
 * durable there.
 */
final class StreamsJob implements Processor<byte[], byte[], byte[], byte[]>, Job.Results {
    private final Job job;
    private final Rows rows;
    private final AtomicLong flushed;
    private ProcessorContext<byte[], byte[]> context;
    private long timestamp;

    private StreamsJob(Rules rules, Rows rows, AtomicLong flushed) {
        this.job = new Job(rules);
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
        RecordMetadata place = context.recordMetadata().orElseThrow();
        timestamp = record.timestamp();
        job.process(new Job.Received(record.value(), place.partition(), place.offset(), timestamp), this);
        if (rows.full()) {
            flush();
        }
    }

    @Override
    public void row(Rows.Row row) {
        rows.add(row);
    }

    @Override
    public void alert(byte[] key, byte[] value) {
        context.forward(new Record<>(key, value, timestamp), "alerts");
    }

    @Override
    public void letter(byte[] value) {
        context.forward(new Record<>(Job.LETTER_KEY, value, timestamp), "letters");
    }

    private void flush() {
        int count = rows.count;
        rows.flush();
        flushed.addAndGet(count);
        context.commit();
    }

    private static AutoCloseable start(Peer.Places places, Rules rules, AtomicLong flushed) {
        Properties settings = new Properties();
        settings.put("application.id", places.group());
        settings.put("bootstrap.servers", System.getenv("BENCH_KAFKA"));
        settings.put("state.dir", "state");
        settings.put("commit.interval.ms", Long.toString(Long.MAX_VALUE / 4));
        settings.put("num.stream.threads", "1");
        settings.put("statestore.cache.max.bytes", "0");
        settings.put("consumer.isolation.level", "read_committed");
        settings.put("consumer.auto.offset.reset", "earliest");
        settings.put("consumer.max.poll.records", "10000");
        settings.put("producer.acks", "all");
        settings.put("producer.linger.ms", "20");
        Rows rows = new Rows(System.getenv("BENCH_CLICKHOUSE_HTTP"), places.table());
        Topology topology = new Topology();
        topology.addSource("scans", Serdes.ByteArray().deserializer(), Serdes.ByteArray().deserializer(), places.in());
        topology.addProcessor("screening", () -> new StreamsJob(rules, rows, flushed), "scans");
        topology.addSink("alerts", places.alerts(), Serdes.ByteArray().serializer(), Serdes.ByteArray().serializer(), "screening");
        topology.addSink("letters", places.letters(), Serdes.ByteArray().serializer(), Serdes.ByteArray().serializer(), "screening");
        KafkaStreams streams = new KafkaStreams(topology, settings);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            System.exit(1);
            return null;
        });
        streams.start();
        return () -> streams.close(Duration.ofSeconds(5));
    }

    public static void main(String[] arguments) throws Exception {
        Peer.run(StreamsJob::start);
    }
}
