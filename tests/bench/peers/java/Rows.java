import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** Collects rows as RowBinary and inserts them into ClickHouse over HTTP. */
final class Rows {
    /** A row. Days count from 1970, minutes are Unix time in seconds. */
    record Row(long day, long minute, Events.Scan scan, String outcome, boolean late, List<Events.Reason> reasons, long version) {}

    private static final int FLUSH_ROWS = 50_000;

    private final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    private final URI uri;
    private final ByteBuffer out = ByteBuffer.allocate(32 << 20).order(ByteOrder.LITTLE_ENDIAN);
    int count;

    Rows(String url, String table) {
        uri = URI.create(url + "/?query=" + URLEncoder.encode("INSERT INTO " + table + " (day, minute, site_id, device_id, seq, "
            + "kind, direction, stage, people, outcome, late, reasons, version) FORMAT RowBinary", StandardCharsets.UTF_8));
    }

    void add(Row row) {
        Events.Scan scan = row.scan();
        out.putShort((short) row.day());
        out.putInt((int) row.minute());
        text(scan.site_id());
        text(scan.device_id());
        out.putLong(scan.seq());
        text(scan.kind());
        text(scan.way());
        text("");
        out.putShort((short) scan.people().size());
        text(row.outcome());
        out.put((byte) (row.late() ? 1 : 0));
        size(row.reasons().size());
        for (Events.Reason why : row.reasons()) {
            text(why.rule());
        }
        out.putLong(row.version());
        count++;
    }

    boolean full() {
        return count >= FLUSH_ROWS || out.remaining() < 1 << 20;
    }

    /** Inserts the rows, and returns when ClickHouse has acknowledged them. */
    void flush() {
        if (count == 0) {
            return;
        }
        try {
            HttpRequest request = HttpRequest.newBuilder(uri).POST(HttpRequest.BodyPublishers.ofByteArray(out.array(), 0, out.position())).build();
            HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
            if (answer.statusCode() != 200) {
                throw new IllegalStateException(answer.body());
            }
        } catch (java.io.IOException | InterruptedException error) {
            throw new IllegalStateException(error);
        }
        out.clear();
        count = 0;
    }

    /** Writes a size: seven bits in each byte, the lowest first. */
    private void size(int size) {
        for (; size >= 128; size >>= 7) {
            out.put((byte) (size | 128));
        }
        out.put((byte) size);
    }

    private void text(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        size(bytes.length);
        out.put(bytes);
    }
}
