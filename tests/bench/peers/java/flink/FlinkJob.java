import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * The job on Apache Flink: Kafka source, one function, Kafka sinks for alerts and dead letters, a sink of its own for rows.
 *
 * Everything runs in one task: parallelism 1, all operators chained, objects reused, so nothing is copied or serialised between them.
 * A checkpoint is made each second. It flushes the sinks first, so alerts and rows are durable before offsets are committed.
 */
final class FlinkJob {
    private static final OutputTag<Keyed> ALERTS = new OutputTag<>("alerts", TypeInformation.of(Keyed.class)) {};
    private static final OutputTag<Keyed> LETTERS = new OutputTag<>("letters", TypeInformation.of(Keyed.class)) {};
    private static Rules rules;  // the cluster is in this process
    private static AtomicLong flushed;

    record Keyed(byte[] key, byte[] value) {}

    private static final class Read implements KafkaRecordDeserializationSchema<Job.Received> {
        @Override
        public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Job.Received> out) {
            out.collect(new Job.Received(record.value(), record.partition(), record.offset(), record.timestamp()));
        }

        @Override
        public TypeInformation<Job.Received> getProducedType() {
            return TypeInformation.of(Job.Received.class);
        }
    }

    private static final class Screen extends ProcessFunction<Job.Received, Rows.Row> {
        private transient Job job;

        @Override
        public void processElement(Job.Received record, Context context, Collector<Rows.Row> out) {
            if (job == null) {
                job = new Job(rules);
            }
            job.process(record, new Job.Results() {
                @Override
                public void row(Rows.Row row) {
                    out.collect(row);
                }

                @Override
                public void alert(byte[] key, byte[] value) {
                    context.output(ALERTS, new Keyed(key, value));
                }

                @Override
                public void letter(byte[] value) {
                    context.output(LETTERS, new Keyed(Job.LETTER_KEY, value));
                }
            });
        }
    }

    private record ToClickHouse(String url, String table) implements Sink<Rows.Row> {
        @Override
        public SinkWriter<Rows.Row> createWriter(WriterInitContext context) {
            Rows rows = new Rows(url, table);
            AtomicLong counter = flushed;
            return new SinkWriter<>() {
                @Override
                public void write(Rows.Row row, Context context) {
                    rows.add(row);
                    if (rows.full()) {
                        flush(false);
                    }
                }

                @Override
                public void flush(boolean endOfInput) {
                    int count = rows.count;
                    rows.flush();
                    counter.addAndGet(count);
                }

                @Override
                public void close() {}
            };
        }
    }

    private static KafkaSink<Keyed> sink(String topic) {
        return KafkaSink.<Keyed>builder().setBootstrapServers(System.getenv("BENCH_KAFKA"))
            .setDeliveryGuarantee(DeliveryGuarantee.AT_LEAST_ONCE)
            .setProperty("acks", "all").setProperty("linger.ms", "20")
            .setRecordSerializer((KafkaRecordSerializationSchema<Keyed>) (record, context, timestamp) ->
                new ProducerRecord<>(topic, record.key(), record.value()))
            .build();
    }

    private static AutoCloseable start(Peer.Places places, Rules rules, AtomicLong flushed) throws Exception {
        FlinkJob.rules = rules;
        FlinkJob.flushed = flushed;
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.createLocalEnvironment(1, Configuration.fromMap(Map.of(
            "execution.checkpointing.interval", "1 s",
            "execution.checkpointing.mode", "AT_LEAST_ONCE",
            "execution.checkpointing.storage", "filesystem",
            "execution.checkpointing.dir", Path.of("checkpoints").toAbsolutePath().toUri().toString(),
            "pipeline.object-reuse", "true",
            "restart-strategy.type", "none",
            "rest.bind-address", "127.0.0.1",
            "jobmanager.bind-host", "127.0.0.1",
            "taskmanager.bind-host", "127.0.0.1",
            "taskmanager.host", "127.0.0.1")));
        KafkaSource<Job.Received> source = KafkaSource.<Job.Received>builder().setBootstrapServers(System.getenv("BENCH_KAFKA"))
            .setTopics(places.in()).setGroupId(places.group()).setDeserializer(new Read())
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setProperty("isolation.level", "read_committed").setProperty("max.poll.records", "10000").build();
        SingleOutputStreamOperator<Rows.Row> rows = environment.fromSource(source, WatermarkStrategy.noWatermarks(), "scans")
            .process(new Screen()).returns(TypeInformation.of(Rows.Row.class));
        rows.sinkTo(new ToClickHouse(System.getenv("BENCH_CLICKHOUSE_HTTP"), places.table()));
        rows.getSideOutput(ALERTS).sinkTo(sink(places.alerts()));
        rows.getSideOutput(LETTERS).sinkTo(sink(places.letters()));
        JobClient client = environment.executeAsync("screening");
        boolean[] stopping = {false};
        client.getJobExecutionResult().whenComplete((result, error) -> {
            if (!stopping[0]) {
                if (error != null) {
                    error.printStackTrace();
                }
                System.exit(1);
            }
        });
        return () -> {
            stopping[0] = true;
            client.cancel().get();
            Thread.sleep(1000);  // the embedded cluster ends after its job
        };
    }

    public static void main(String[] arguments) throws Exception {
        Peer.run(FlinkJob::start);
    }
}
