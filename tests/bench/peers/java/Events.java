import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;
import java.util.Set;

/** The wire types, and the checks of an event beyond its JSON. */
final class Events {
    record Tokens(String id, String passport, String phone, String pass) {}

    record Person(
        @JsonProperty(required = true) String role,
        @JsonProperty(required = true) Tokens tokens,
        @JsonProperty(required = true) Double temperature_c,
        Double temperature_confirmed_c,
        String health_code,
        String origin,
        List<String> quality) {}

    record Scan(
        @JsonProperty(required = true) String device_id,
        @JsonProperty(required = true) long seq,
        @JsonProperty(required = true) String site_id,
        @JsonProperty(required = true) String observed_at,
        @JsonProperty(required = true) String kind,
        @JsonProperty(required = true) List<Person> people,
        String direction,
        String plate) {
        String way() {
            return direction == null ? "in" : direction;
        }
    }

    record MatchedEntry(
        String matched, String category, String authority, String list, String batch_id, String entry_id, String valid_to) {}

    record Reason(Integer person, String rule, List<MatchedEntry> entries) {}

    record Alert(
        String alert_id, String policy, String site_id, String device_id, long seq, String observed_at, String decided_at,
        String outcome, boolean late, long watchlist_version, List<Reason> reasons) {}

    record DeadLetter(
        String topic, int partition, long offset, String reason, String path, int size, String sha256, String at) {}

    private static final Set<String> KINDS = Set.of("vehicle", "pedestrian");
    private static final Set<String> ROLES = Set.of("driver", "passenger", "pedestrian", "traveller");
    private static final Set<String> CODES = Set.of("green", "yellow", "red", "none");
    private static final Set<String> WAYS = Set.of("in", "out");
    private static final Set<String> FLAGS = Set.of(
        "empty", "bad_character", "bad_length", "checksum_failed", "bad_date", "birth_in_future", "unknown_division",
        "fifteen_digit", "mrz_number_failed", "mrz_birth_failed", "mrz_expiry_failed", "mrz_optional_failed",
        "mrz_composite_failed", "mrz_format", "document_expired", "no_issuing_state", "phone_invalid", "plate_unrecognised");

    static boolean valid(Scan scan) {
        if (!identifier(scan.device_id) || !identifier(scan.site_id) || scan.seq < 0 || !KINDS.contains(scan.kind)
            || !WAYS.contains(scan.way()) || (scan.plate != null && !token(scan.plate)) || scan.people == null
            || scan.people.isEmpty() || scan.people.size() > 80) {
            return false;
        }
        for (Person person : scan.people) {
            Tokens tokens = person.tokens;
            if (!ROLES.contains(person.role) || tokens == null || !absentOrToken(tokens.id) || !absentOrToken(tokens.passport)
                || !absentOrToken(tokens.phone) || !absentOrToken(tokens.pass)
                || (person.health_code != null && !CODES.contains(person.health_code))
                || (person.origin != null && !origin(person.origin))
                || (person.quality != null && !FLAGS.containsAll(person.quality))) {
                return false;
            }
        }
        return true;
    }

    private static boolean absentOrToken(String text) {
        return text == null || token(text);
    }

    private static boolean alphanumeric(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    }

    private static boolean identifier(String text) {
        if (text == null || text.isEmpty() || text.length() > 64 || !alphanumeric(text.charAt(0))) {
            return false;
        }
        int digits = 0;
        for (int n = 0; n < text.length(); n++) {
            char c = text.charAt(n);
            if (!alphanumeric(c) && c != '.' && c != '_' && c != '-') {
                return false;
            }
            digits = c >= '0' && c <= '9' ? digits + 1 : 0;
            if (digits == 11) {
                return false;
            }
        }
        return true;
    }

    private static boolean token(String text) {
        int dot = text.indexOf('.');
        if (dot < 1 || dot > 16 || text.length() != dot + 33) {
            return false;
        }
        for (int n = 0; n < text.length(); n++) {
            char c = text.charAt(n);
            if (n < dot ? !alphanumeric(c) : n > dot && !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
                return false;
            }
        }
        return true;
    }

    private static boolean origin(String text) {
        return text.length() == 6 ? text.chars().allMatch(c -> c >= '0' && c <= '9')
            : text.length() == 2 && text.chars().allMatch(c -> c >= 'A' && c <= 'Z');
    }

    private Events() {}
}
