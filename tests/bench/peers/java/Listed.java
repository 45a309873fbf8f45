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

/** A watchlist in a map: token to line number. */
final class Listed {
    private final Map<String, Integer> lines = new HashMap<>(2_000_000);
    private final Set<String> keys = new HashSet<>();
    private final String authority, list, batch, category, validTo;
    private final long from, to;

    Listed(Path path) throws Exception {
        try (BufferedReader file = Files.newBufferedReader(path)) {
            JsonNode about = new ObjectMapper().readTree(file.readLine());
            authority = about.get("authority").asText();
            list = about.get("list").asText();
            batch = about.get("batch").asText();
            category = about.get("category").asText();
            from = about.get("from_us").asLong();
            to = about.get("to_us").asLong();
            about.get("keys").forEach(key -> keys.add(key.asText()));
            validTo = Instant.ofEpochSecond(to / 1_000_000).toString();
            for (String line = file.readLine(); line != null; line = file.readLine()) {
                lines.put(line, lines.size());
            }
        }
    }

    /** Returns whether the watchlist has tokens of the key of this token; an absent token has no key to check. */
    boolean knows(String token) {
        return token == null || keys.contains(token.substring(0, token.indexOf('.')));
    }

    Events.MatchedEntry match(String kind, String token, long at) {
        Integer line = token == null ? null : lines.get(token);
        if (line == null || !kind.equals("id") || at < from || at >= to) {
            return null;
        }
        return new Events.MatchedEntry(kind, category, authority, list, batch, batch + ":" + line, validTo);
    }
}
