import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/** The lists of the watchlist in a map for each domain: token to entries. */
final class Listed {
    /** What the entries of a list have in common. Times are Unix time in microseconds. */
    record Batch(String authority, String list, String batch, String category, long from, long to, String validTo) {}

    /** An entry that has a token, and the next entry that has the same token. */
    record Entry(Batch of, int line, Entry next) {
        boolean valid(long at) {
            return of.from <= at && at < of.to;
        }

        boolean isPass() {
            return of.category.equals("health_pass");
        }
    }

    private final Map<String, Map<String, Entry>> domains = new HashMap<>();
    private final Set<String> keys = new HashSet<>();

    Listed(Path path) throws Exception {
        Batch batch = null;
        int number = 0;
        try (BufferedReader file = Files.newBufferedReader(path)) {
            for (String line = file.readLine(); line != null; line = file.readLine()) {
                if (line.startsWith("{")) {
                    JsonNode about = new ObjectMapper().readTree(line);
                    long to = about.get("to_us").asLong();
                    batch = new Batch(about.get("authority").asText(), about.get("list").asText(), about.get("batch").asText(),
                        about.get("category").asText(), about.get("from_us").asLong(), to, Instant.ofEpochSecond(to / 1_000_000).toString());
                    about.get("keys").forEach(key -> keys.add(key.asText()));
                    number = 0;
                    continue;
                }
                for (String pair : line.split(" ")) {
                    int colon = pair.indexOf(':');
                    Map<String, Entry> entries = domains.computeIfAbsent(pair.substring(0, colon), domain -> new HashMap<>());
                    String token = pair.substring(colon + 1);
                    entries.put(token, new Entry(batch, number, entries.get(token)));
                }
                number++;
            }
        }
    }

    /** Returns whether the watchlist has tokens of the key of this token; an absent token has no key to check. */
    boolean knows(String token) {
        return token == null || keys.contains(token.substring(0, token.indexOf('.')));
    }

    /** Returns the entries that have a token, valid or not; null if there are none. */
    Entry find(String domain, String token) {
        return token == null ? null : domains.getOrDefault(domain, Map.of()).get(token);
    }
}
