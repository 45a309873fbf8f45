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
    private static final int FLUSH_ROWS = 50_000;

    private final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    private final URI uri;
    private final ByteBuffer out = ByteBuffer.allocate(32 << 20).order(ByteOrder.LITTLE_ENDIAN);
    int count;

    Rows(String url, String table) {
        uri = URI.create(url + "/?query=" + URLEncoder.encode("INSERT INTO " + table + " (day, minute, site_id, device_id, seq, "
            + "kind, direction, stage, people, outcome, late, reasons, version) FORMAT RowBinary", StandardCharsets.UTF_8));
    }

    void add(long day, long minute, Events.Scan scan, String outcome, boolean late, List<Events.Reason> reasons, long version) {
        out.putShort((short) day);
        out.putInt((int) minute);
        text(scan.site_id());
        text(scan.device_id());
        out.putLong(scan.seq());
        text(scan.kind());
        text(scan.way());
        text("");
        out.putShort((short) scan.people().size());
        text(outcome);
        out.put((byte) (late ? 1 : 0));
        out.put((byte) reasons.size());  // a length below 128 is one byte; a scan has at most 80 people
        for (Events.Reason why : reasons) {
            text(why.rule());
        }
        out.putLong(version);
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

    private void text(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        out.put((byte) bytes.length);  // an identifier has at most 64 bytes
        out.put(bytes);
    }
}
