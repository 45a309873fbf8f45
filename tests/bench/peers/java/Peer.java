import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicLong;

/** Runs a peer: first some times on other scans, so that the compiler has compiled it, then on those that are measured. */
final class Peer {
    private static final int WARM_UPS = 4;

    /** Where a run reads and writes. */
    record Places(String group, String in, String alerts, String letters, String table) {}

    /** Starts the job and returns how it is stopped. The job adds to `flushed` the number of rows that ClickHouse has acknowledged. */
    interface Start {
        AutoCloseable at(Places places, Rules rules, AtomicLong flushed) throws Exception;
    }

    static void run(Start start) throws Exception {
        String group = System.getenv("BENCH_GROUP"), prefix = System.getenv("BENCH_PREFIX");
        String warm = System.getenv("BENCH_WARM"), results = System.getenv("BENCH_WARM_ALERTS");
        Rules rules = new Rules(new Listed(Path.of(System.getenv("BENCH_LIST"))), "370115");
        for (int n = 0; n < WARM_UPS; n++) {
            AtomicLong flushed = new AtomicLong();
            AutoCloseable job = start.at(new Places(group + "-warm-" + n, warm, results, results, "bench.warm_up"), rules, flushed);
            long before;
            do {
                before = flushed.get();
                Thread.sleep(1500);
            } while (flushed.get() == 0 || flushed.get() > before);
            job.close();
        }
        System.gc();
        start.at(new Places(group, prefix + "checkpoint-scans", prefix + "screening-alerts", prefix + "dead-letters", "bench.passages"),
            rules, new AtomicLong());
        System.out.println("ready");
    }

    private Peer() {}
}
