import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** Decision table, version 1, for scans. */
final class Rules {
    static final List<String> OUTCOMES = List.of("refer", "quarantine", "turn_back", "hold", "clear");

    private static final Map<String, Integer> SEVERITY = Map.ofEntries(
        Map.entry("no_identity", 3), Map.entry("unknown_key", 3), Map.entry("list_stale", 3), Map.entry("confirmed_case", 0),
        Map.entry("suspected_case", 0), Map.entry("quarantine_order", 0), Map.entry("close_contact", 1),
        Map.entry("risk_region_arrival", 1), Map.entry("weak_match", 3), Map.entry("health_code_red", 0),
        Map.entry("health_code_yellow", 1), Map.entry("no_temperature", 3), Map.entry("temperature_implausible", 3),
        Map.entry("fever", 0), Map.entry("fever_unconfirmed", 3), Map.entry("outside_province_without_pass", 1),
        Map.entry("outside_district_without_pass", 2));

    private static final Comparator<Events.Reason> ORDER =
        Comparator.comparing((Events.Reason why) -> why.person() == null ? Integer.MAX_VALUE : why.person())
            .thenComparing(Events.Reason::rule);

    private static final Comparator<Events.MatchedEntry> ENTRY_ORDER = Comparator.comparing(Events.MatchedEntry::authority)
        .thenComparing(Events.MatchedEntry::list).thenComparing(Events.MatchedEntry::entry_id);

    private final Listed listed;
    private final String home;

    Rules(Listed listed, String home) {
        this.listed = listed;
        this.home = home;
    }

    /** Returns the reasons in order; no reason means clear. */
    List<Events.Reason> decide(Events.Scan scan, long at) {
        List<Events.Reason> reasons = new ArrayList<>(0);
        boolean inbound = scan.way().equals("in");
        for (int n = 0; n < scan.people().size(); n++) {
            judge(reasons, n, scan.people().get(n), at, inbound);
        }
        if (scan.plate() != null) {
            if (!listed.knows(scan.plate())) {
                reasons.add(new Events.Reason(null, "unknown_key", List.of()));
            }
            List<Events.MatchedEntry> weak = concerning(null, "plate", scan.plate(), at);
            if (weak != null) {
                reasons.add(new Events.Reason(null, "weak_match", sorted(weak)));
            }
        }
        if (reasons.size() > 1) {
            reasons.sort(ORDER);
        }
        return reasons;
    }

    static String outcome(List<Events.Reason> reasons) {
        int worst = 4;
        for (Events.Reason why : reasons) {
            worst = Math.min(worst, SEVERITY.get(why.rule()));
        }
        return OUTCOMES.get(worst);
    }

    static String alertId(Events.Scan scan, List<Events.Reason> reasons) throws Exception {
        StringBuilder text = new StringBuilder(scan.device_id()).append('\n').append(scan.seq());
        for (Events.Reason why : reasons) {
            text.append('\n').append(why.person() == null ? "None" : why.person().toString()).append(' ').append(why.rule());
        }
        return sha256(text.toString().getBytes(StandardCharsets.UTF_8)).substring(0, 32);
    }

    static String sha256(byte[] bytes) throws Exception {
        return java.util.HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    }

    private void judge(List<Events.Reason> reasons, int index, Events.Person person, long at, boolean inbound) {
        Events.Tokens tokens = person.tokens();
        if (tokens.id() == null && tokens.passport() == null) {
            add(reasons, index, "no_identity");
        }
        if (!listed.knows(tokens.id()) || !listed.knows(tokens.passport()) || !listed.knows(tokens.phone())
            || !listed.knows(tokens.pass())) {
            add(reasons, index, "unknown_key");
        }
        List<Events.MatchedEntry> strong = concerning(null, "id", tokens.id(), at);
        strong = concerning(strong, "passport", tokens.passport(), at);
        if (strong != null) {
            Map<String, List<Events.MatchedEntry>> byCategory = new TreeMap<>();
            strong.forEach(entry -> byCategory.computeIfAbsent(entry.category(), category -> new ArrayList<>(1)).add(entry));
            byCategory.forEach((category, entries) -> reasons.add(new Events.Reason(index, category, sorted(entries))));
        } else {
            List<Events.MatchedEntry> weak = concerning(null, "phone", tokens.phone(), at);
            if (weak != null) {
                reasons.add(new Events.Reason(index, "weak_match", sorted(weak)));
            }
        }
        if ("red".equals(person.health_code())) {
            add(reasons, index, "health_code_red");
        } else if ("yellow".equals(person.health_code())) {
            add(reasons, index, "health_code_yellow");
        }
        judgeTemperature(reasons, index, person);
        String origin = person.origin();
        if (inbound && origin != null && !origin.equals("CN") && !origin.equals(home)
            && !hasPass("pass", tokens.pass(), at) && !hasPass("id", tokens.id(), at)) {
            add(reasons, index, origin.startsWith(home.substring(0, 2))
                ? "outside_district_without_pass" : "outside_province_without_pass");
        }
    }

    private boolean hasPass(String domain, String token, long at) {
        for (Listed.Entry entry = listed.find(domain, token); entry != null; entry = entry.next()) {
            if (entry.isPass() && entry.valid(at)) {
                return true;
            }
        }
        return false;
    }

    /** Returns `found`, null for none, with the valid entries that have a token, are no passes, and are not in it yet. */
    private List<Events.MatchedEntry> concerning(List<Events.MatchedEntry> found, String domain, String token, long at) {
        for (Listed.Entry entry = listed.find(domain, token); entry != null; entry = entry.next()) {
            if (entry.isPass() || !entry.valid(at)) {
                continue;
            }
            Listed.Batch of = entry.of();
            Events.MatchedEntry match = new Events.MatchedEntry(domain, of.category(), of.authority(), of.list(), of.batch(),
                of.batch() + ":" + entry.line(), of.validTo());
            if (found == null) {
                found = new ArrayList<>(1);
            }
            if (found.stream().noneMatch(other -> ENTRY_ORDER.compare(match, other) == 0)) {
                found.add(match);
            }
        }
        return found;
    }

    private static List<Events.MatchedEntry> sorted(List<Events.MatchedEntry> entries) {
        if (entries.size() > 1) {
            entries.sort(ENTRY_ORDER);
        }
        return entries;
    }

    private static void judgeTemperature(List<Events.Reason> reasons, int index, Events.Person person) {
        Double first = person.temperature_c();
        Double confirmed = person.temperature_confirmed_c();
        if (first == null && confirmed == null) {
            add(reasons, index, "no_temperature");
        }
        boolean strange = false;
        if (first != null && (first < 30.0 || first > 45.0)) {
            first = null;
            strange = true;
        }
        if (confirmed != null && (confirmed < 30.0 || confirmed > 45.0)) {
            confirmed = null;
            strange = true;
        }
        if (strange) {
            add(reasons, index, "temperature_implausible");
        }
        if (confirmed != null) {
            if (confirmed >= 37.3) {
                add(reasons, index, "fever");
            }
        } else if (first != null && first >= 37.3) {
            add(reasons, index, "fever_unconfirmed");
        }
    }

    private static void add(List<Events.Reason> reasons, int index, String rule) {
        reasons.add(new Events.Reason(index, rule, List.of()));
    }
}
