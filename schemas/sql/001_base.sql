-- The schema, for ClickHouse 24.8 and later. Facts are in ninezero_data, the views for analysts in ninezero. A view reads with the
-- rights of the account that created it, so its readers need no right on the tables.
CREATE DATABASE IF NOT EXISTS ninezero_data;
CREATE DATABASE IF NOT EXISTS ninezero;

-- Sites, policies, dead letters and progress of recording -----------------------------------------------------------------

-- The sites and policies of the topics `register` and `policies` (agents/recording/mirrors.py).
CREATE TABLE IF NOT EXISTS ninezero_data.site_register (
    site_id String, kind String, division String, capacity UInt32, version UInt64
) ENGINE = ReplacingMergeTree(version) ORDER BY site_id COMMENT 'kept by erase';

CREATE VIEW IF NOT EXISTS ninezero.sites DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT site_id, kind, division, capacity FROM ninezero_data.site_register FINAL;

-- One row for each use of a policy, in the order in which they were written (`use` counts from 1), or one for a policy without a
-- use. The times are Unix times in ms, within the range of DateTime.
CREATE TABLE IF NOT EXISTS ninezero_data.policy_uses (
    policy String, policy_version UInt32, use UInt32, status String, effective_from_ms Nullable(Int64),
    effective_to_ms Nullable(Int64), author String, approved_by String, version UInt64
) ENGINE = ReplacingMergeTree(version) ORDER BY (policy, policy_version, use) COMMENT 'kept by erase';

CREATE VIEW IF NOT EXISTS ninezero.policies DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT policy, policy_version AS version, status, toDateTime(intDiv(effective_from_ms, 1000), 'UTC') AS effective_from, author,
    approved_by, toDateTime(intDiv(effective_to_ms, 1000), 'UTC') AS effective_to
FROM (SELECT * EXCEPT version FROM ninezero_data.policy_uses FINAL);

-- The hash of a record is cleared after seven days; what remains is counted.
CREATE TABLE IF NOT EXISTS ninezero_data.dead_letter_facts (
    hour DateTime('UTC'), topic LowCardinality(String), partition UInt32, offset UInt64, reason LowCardinality(String),
    at_ms UInt64, sha256 String TTL hour + INTERVAL 7 DAY
) ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(hour) ORDER BY (hour, topic, partition, offset, at_ms) COMMENT 'kept by erase';

CREATE VIEW IF NOT EXISTS ninezero.dead_letters_by_hour DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT hour, topic, reason, count() AS records FROM ninezero_data.dead_letter_facts FINAL GROUP BY hour, topic, reason;

-- How far each partition is recorded (streams/clickhouse/progress.py). A topic that was deleted and created again has another id.
CREATE TABLE IF NOT EXISTS ninezero_data.recorder_progress (
    topic String, topic_id String, partition UInt32, rebuild UInt64, next_offset UInt64, recorded_until_ms UInt64, lag UInt64,
    marks String
) ENGINE = ReplacingMergeTree(next_offset) ORDER BY (topic, topic_id, partition, rebuild);

-- The Kafka timestamp up to which each partition is recorded. One that is recorded to its end is confirmed every few seconds. Until a
-- rebuild has recorded its first record, the time is that of the epoch.
CREATE VIEW IF NOT EXISTS ninezero.recording_freshness DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT topic, partition, toDateTime(intDiv(max(until_ms), 1000), 'UTC') AS recorded_until, argMax(events, until_ms) AS lag_events
FROM (
    SELECT topic, partition, argMax(recorded_until_ms, rebuild) AS until_ms, argMax(lag, rebuild) AS events
    FROM ninezero_data.recorder_progress FINAL GROUP BY topic, partition, topic_id
) GROUP BY topic, partition;

-- The number of rows of each table and day when they were last counted, and the epochs in which counts can be compared
-- (streams/clickhouse/tallies.py).
CREATE TABLE IF NOT EXISTS ninezero_data.recorder_tallies (
    table_name String, epoch UInt64, day Date, counted_to_ms UInt64, rows UInt64, expected UInt64
) ENGINE = ReplacingMergeTree(counted_to_ms) ORDER BY (table_name, epoch, day);

CREATE TABLE IF NOT EXISTS ninezero_data.recorder_epochs (
    table_name String, epoch UInt64, cause String
) ENGINE = ReplacingMergeTree ORDER BY (table_name, epoch);

-- Screening ---------------------------------------------------------------------------------------------------------------

-- One row for each screened event, with its first decision: version = 2^43 - decided_at in ms, so the earliest decision
-- survives whatever the order of inserts. `policy` decided it, and each of the shadow policies would have given the outcome at its
-- place in shadow_outcomes; a policy is NAME@VERSION. ZSTD(3) stores the sizes of equal arrays in a fortieth of what ZSTD(1) needs.
-- LowCardinality within an array would take half of the CPU time of an insert.
-- The rows of a device within an hour lie together: this is compact, and the primary key finds the last hours. A day without
-- inserts for six hours is merged into one part, where FINAL costs nothing.
CREATE TABLE IF NOT EXISTS ninezero_data.screening_facts (
    day Date CODEC(ZSTD), minute DateTime('UTC') CODEC(T64, ZSTD), site_id LowCardinality(String) CODEC(ZSTD),
    device_id LowCardinality(String) CODEC(ZSTD), seq UInt64 CODEC(DoubleDelta, ZSTD), kind LowCardinality(String) CODEC(ZSTD),
    direction LowCardinality(String) CODEC(ZSTD), stage LowCardinality(String) CODEC(ZSTD), people UInt16 CODEC(ZSTD),
    outcome LowCardinality(String) CODEC(ZSTD), late UInt8 CODEC(ZSTD), reasons Array(String) CODEC(ZSTD),
    policy LowCardinality(String) CODEC(ZSTD), shadow_policies Array(String) CODEC(ZSTD(3)),
    shadow_outcomes Array(String) CODEC(ZSTD(3)), version UInt64 CODEC(T64, ZSTD)
) ENGINE = ReplacingMergeTree(version) PARTITION BY day
PRIMARY KEY (toStartOfHour(minute), site_id) ORDER BY (toStartOfHour(minute), site_id, device_id, seq, minute)
SETTINGS min_age_to_force_merge_seconds = 21600, min_age_to_force_merge_on_partition_only = 1;

-- Retention (agents/recording/retention.py) seals a day: nothing of it is recorded any more. Then it freezes the day's counts
-- (each table `…_days` gets the rows of its view `…_live`), and later drops the day's facts. A query reads both, and a frozen row
-- replaces the live one. If a day is frozen twice, the rows of the earlier time count (version = 2^43 - time in ms).
CREATE TABLE IF NOT EXISTS ninezero_data.sealed_days (
    day Date, frozen UInt8, at DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = MergeTree ORDER BY (day, frozen, at) COMMENT 'kept by erase';

CREATE TABLE IF NOT EXISTS ninezero_data.screening_days (
    day Date, site_id LowCardinality(String), kind LowCardinality(String), direction LowCardinality(String), passages UInt64,
    people UInt64, clear UInt64, refer UInt64, quarantine UInt64, turn_back UInt64, hold UInt64, fevers UInt64, version UInt64
) ENGINE = ReplacingMergeTree(version) PARTITION BY toYYYYMM(day) ORDER BY (day, site_id, kind, direction) COMMENT 'kept by erase';

-- What each passage adds to the counts.
CREATE VIEW IF NOT EXISTS ninezero_data.passages AS
SELECT day, minute, site_id, kind, direction, 1 AS passages, people, if(outcome = 'clear', 1, 0) AS clear,
    if(outcome = 'refer', 1, 0) AS refer, if(outcome = 'quarantine', 1, 0) AS quarantine, if(outcome = 'turn_back', 1, 0) AS turn_back,
    if(outcome = 'hold', 1, 0) AS hold, countEqual(reasons, 'fever') AS fevers
FROM ninezero_data.screening_facts FINAL WHERE stage = '';

CREATE VIEW IF NOT EXISTS ninezero_data.screening_live AS
SELECT day, site_id, kind, direction, sum(passages) AS passages, sum(people) AS people, sum(clear) AS clear, sum(refer) AS refer,
    sum(quarantine) AS quarantine, sum(turn_back) AS turn_back, sum(hold) AS hold, sum(fevers) AS fevers
FROM ninezero_data.passages GROUP BY day, site_id, kind, direction;

CREATE VIEW IF NOT EXISTS ninezero.screening_by_day DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT day, site_id, kind, direction, argMax(passages, frozen) AS passages, argMax(people, frozen) AS people,
    argMax(clear, frozen) AS clear, argMax(refer, frozen) AS refer, argMax(quarantine, frozen) AS quarantine,
    argMax(turn_back, frozen) AS turn_back, argMax(hold, frozen) AS hold, argMax(fevers, frozen) AS fevers
FROM (
    SELECT *, 0 AS frozen FROM ninezero_data.screening_live
    UNION ALL
    SELECT * EXCEPT version, 1 AS frozen FROM ninezero_data.screening_days FINAL
) GROUP BY day, site_id, kind, direction;

CREATE VIEW IF NOT EXISTS ninezero.screening_by_minute DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT minute, site_id, sum(passages) AS passages, sum(people) AS people, sum(clear) AS clear, sum(refer) AS refer,
    sum(quarantine) AS quarantine, sum(turn_back) AS turn_back, sum(hold) AS hold, sum(fevers) AS fevers
FROM ninezero_data.passages WHERE day NOT IN (SELECT day FROM ninezero_data.sealed_days) GROUP BY minute, site_id;

CREATE TABLE IF NOT EXISTS ninezero_data.reason_days (
    day Date, site_id LowCardinality(String), rule String, count UInt64, version UInt64
) ENGINE = ReplacingMergeTree(version) PARTITION BY toYYYYMM(day) ORDER BY (day, site_id, rule) COMMENT 'kept by erase';

CREATE VIEW IF NOT EXISTS ninezero_data.reasons_live AS
SELECT day, site_id, rule, sum(events) AS count
FROM (
    SELECT day, site_id, reasons, count() AS events
    FROM ninezero_data.screening_facts FINAL WHERE notEmpty(reasons) GROUP BY day, site_id, reasons
) ARRAY JOIN reasons AS rule GROUP BY day, site_id, rule;

CREATE VIEW IF NOT EXISTS ninezero.reasons_by_day DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT day, site_id, rule, argMax(count, frozen) AS count
FROM (
    SELECT *, 0 AS frozen FROM ninezero_data.reasons_live
    UNION ALL
    SELECT * EXCEPT version, 1 AS frozen FROM ninezero_data.reason_days FINAL
) GROUP BY day, site_id, rule;

-- For the board: how often each rule applied in a minute over all sites, and at how many sites. Rule and site together are shown
-- by day only (reasons_by_day), because with the minute they could identify a person.
CREATE VIEW IF NOT EXISTS ninezero.reasons_by_minute DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT minute, rule, sum(events) AS count, uniqExact(site_id) AS sites
FROM (
    SELECT minute, site_id, reasons, count() AS events
    FROM ninezero_data.screening_facts FINAL WHERE notEmpty(reasons) GROUP BY minute, site_id, reasons
) ARRAY JOIN reasons AS rule GROUP BY minute, rule;

CREATE TABLE IF NOT EXISTS ninezero_data.shadow_days (
    day Date, shadow String, active_outcome LowCardinality(String), shadow_outcome String, events UInt64, version UInt64
) ENGINE = ReplacingMergeTree(version) PARTITION BY toYYYYMM(day) ORDER BY (day, shadow, active_outcome, shadow_outcome)
COMMENT 'kept by erase';

CREATE VIEW IF NOT EXISTS ninezero_data.shadows_live AS
SELECT day, shadow, active_outcome, shadow_outcome, sum(decided) AS events
FROM (
    SELECT day, outcome AS active_outcome, shadow_policies, shadow_outcomes, count() AS decided
    FROM ninezero_data.screening_facts FINAL WHERE notEmpty(shadow_policies)
    GROUP BY day, outcome, shadow_policies, shadow_outcomes
) ARRAY JOIN shadow_policies AS shadow, shadow_outcomes AS shadow_outcome GROUP BY day, shadow, active_outcome, shadow_outcome;

-- What shadow policies would have decided about passages and arrivals, beside what the policy in force decided.
CREATE VIEW IF NOT EXISTS ninezero.policy_shadow_by_day DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT day, splitByChar('@', shadow)[1] AS policy, toUInt32(splitByChar('@', shadow)[2]) AS version, active_outcome,
    shadow_outcome, events
FROM (
    SELECT day, shadow, active_outcome, shadow_outcome, argMax(events, frozen) AS events
    FROM (
        SELECT *, 0 AS frozen FROM ninezero_data.shadows_live
        UNION ALL
        SELECT * EXCEPT version, 1 AS frozen FROM ninezero_data.shadow_days FINAL
    ) GROUP BY day, shadow, active_outcome, shadow_outcome
);

CREATE TABLE IF NOT EXISTS ninezero_data.arrival_days (
    day Date, site_id LowCardinality(String), mode LowCardinality(String), stage LowCardinality(String), people UInt64,
    version UInt64
) ENGINE = ReplacingMergeTree(version) PARTITION BY toYYYYMM(day) ORDER BY (day, site_id, mode, stage) COMMENT 'kept by erase';

CREATE VIEW IF NOT EXISTS ninezero_data.arrivals_live AS
SELECT day, site_id, kind AS mode, stage, sum(people) AS people
FROM ninezero_data.screening_facts FINAL WHERE stage != '' GROUP BY day, site_id, mode, stage;

CREATE VIEW IF NOT EXISTS ninezero.arrivals_by_day DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT day, site_id, mode, stage, argMax(people, frozen) AS people
FROM (
    SELECT *, 0 AS frozen FROM ninezero_data.arrivals_live
    UNION ALL
    SELECT * EXCEPT version, 1 AS frozen FROM ninezero_data.arrival_days FINAL
) GROUP BY day, site_id, mode, stage;

-- Transfers ---------------------------------------------------------------------------------------------------------------

-- One row for each person who boarded a transfer or was delivered by it. Of several contents under one number of a device, the one
-- that Kafka received first counts. The number of a transfer is dropped with the facts of the day.
CREATE TABLE IF NOT EXISTS ninezero_data.transfer_facts (
    day Date, transfer_id String, device_id LowCardinality(String), seq UInt64, site_id LowCardinality(String),
    stage LowCardinality(String), observed_us Int64, version UInt64
) ENGINE = ReplacingMergeTree(version) PARTITION BY day ORDER BY (transfer_id, device_id, seq);

-- The transfers that frozen days count, on each later day `day` of which they have facts: they count on no other day.
CREATE TABLE IF NOT EXISTS ninezero_data.sealed_transfers (
    day Date, transfer_id String
) ENGINE = MergeTree PARTITION BY day ORDER BY transfer_id;

CREATE TABLE IF NOT EXISTS ninezero_data.transfer_days (
    day Date, site_id String, transfers UInt64, boarded UInt64, delivered UInt64, missing UInt64, version UInt64
) ENGINE = ReplacingMergeTree(version) PARTITION BY toYYYYMM(day) ORDER BY (day, site_id) COMMENT 'kept by erase';

-- Each transfer with the day and the site of its first boarding, and its people on all days and at all sites.
CREATE VIEW IF NOT EXISTS ninezero_data.transfers AS
SELECT transfer_id, first.1 AS day, first.2 AS site_id, toUInt64(up) AS boarded, toUInt64(off) AS delivered,
    toUInt64(if(up > off, up - off, 0)) AS missing
FROM (
    SELECT transfer_id, argMinIf((content.2, content.3), (content.1, device_id, seq), content.4 = 'boarded') AS first,
        countIf(content.4 = 'boarded') AS up, countIf(content.4 = 'delivered') AS off
    FROM (
        SELECT transfer_id, device_id, seq, argMax((observed_us, day, site_id, stage), (version, observed_us)) AS content
        FROM ninezero_data.transfer_facts
        WHERE transfer_id NOT IN (SELECT transfer_id FROM ninezero_data.sealed_transfers)
        GROUP BY transfer_id, device_id, seq
    ) GROUP BY transfer_id
) WHERE up > 0;

CREATE VIEW IF NOT EXISTS ninezero_data.transfers_live AS
SELECT day, site_id, count() AS transfers, sum(boarded) AS boarded, sum(delivered) AS delivered, sum(missing) AS missing
FROM ninezero_data.transfers GROUP BY day, site_id;

-- A transfer counts at the site and on the day of its first boarding, with everyone who boarded or was delivered anywhere. `missing`
-- includes the people who are on the way. Transfers of which only deliveries are known are in no row.
CREATE VIEW IF NOT EXISTS ninezero.transfers_by_day DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT day, site_id, argMax(transfers, frozen) AS transfers, argMax(boarded, frozen) AS boarded,
    argMax(delivered, frozen) AS delivered, argMax(missing, frozen) AS missing
FROM (
    SELECT *, 0 AS frozen FROM ninezero_data.transfers_live
    WHERE day NOT IN (SELECT day FROM ninezero_data.sealed_days WHERE frozen = 1)
    UNION ALL
    SELECT * EXCEPT version, 1 AS frozen FROM ninezero_data.transfer_days FINAL
) GROUP BY day, site_id;

-- Dispositions ------------------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS ninezero_data.disposition_facts (
    day Date, device_id LowCardinality(String), seq UInt64, site_id LowCardinality(String), of_device LowCardinality(String),
    of_seq UInt64, action LowCardinality(String), override LowCardinality(String), version UInt64
) ENGINE = ReplacingMergeTree(version) PARTITION BY day ORDER BY (day, device_id, seq);

-- The kinds of scans whose facts are dropped, for dispositions of later days; `day` is the day of the disposition.
CREATE TABLE IF NOT EXISTS ninezero_data.sealed_kinds (
    day Date, device_id LowCardinality(String), seq UInt64, kind LowCardinality(String), version UInt64
) ENGINE = MergeTree PARTITION BY day ORDER BY (device_id, seq);

-- A day is one row, so that a frozen day replaces all live rows of the day: their kind depends on facts of several days, which
-- are dropped one after the other.
CREATE TABLE IF NOT EXISTS ninezero_data.disposition_days (
    day Date, cells Array(Tuple(String, String, String, UInt64, UInt64)) CODEC(ZSTD), version UInt64
) ENGINE = ReplacingMergeTree(version) ORDER BY day COMMENT 'kept by erase';

-- The hashes only narrow down the scans: comparing them takes a quarter of the time.
CREATE VIEW IF NOT EXISTS ninezero_data.dispositions_live AS
SELECT day, groupArray((site_id, kind, action, overrides, dispositions)) AS cells
FROM (
    SELECT day, toString(site_id) AS site_id, toString(scan.kind) AS kind, toString(action) AS action,
        countIf(override != '') AS overrides, count() AS dispositions
    FROM (
        SELECT day, site_id, action, override, of_device, of_seq FROM ninezero_data.disposition_facts FINAL
    ) AS disposition ANY LEFT JOIN (
        SELECT device_id, seq, argMax(kind, version) AS kind
        FROM (
            SELECT device_id, seq, kind, version FROM ninezero_data.screening_facts
            WHERE cityHash64(device_id, seq) IN (SELECT cityHash64(of_device, of_seq) FROM ninezero_data.disposition_facts)
            UNION ALL
            SELECT device_id, seq, kind, version FROM ninezero_data.sealed_kinds
        ) GROUP BY device_id, seq
    ) AS scan ON disposition.of_device = scan.device_id AND disposition.of_seq = scan.seq
    GROUP BY day, site_id, kind, action
) GROUP BY day;

CREATE VIEW IF NOT EXISTS ninezero.dispositions_by_day DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT day, cell.1 AS site_id, cell.2 AS kind, cell.3 AS action, cell.4 AS overrides, cell.5 AS count
FROM (
    SELECT day, argMax(cells, frozen) AS cells
    FROM (
        SELECT *, 0 AS frozen FROM ninezero_data.dispositions_live
        UNION ALL
        SELECT * EXCEPT version, 1 AS frozen FROM ninezero_data.disposition_days FINAL
    ) GROUP BY day
) ARRAY JOIN cells AS cell;

-- Devices -----------------------------------------------------------------------------------------------------------------

-- Every event of every device, from all topics, by sequence number: completeness is computed from these rows. Two contents
-- under one number are two rows. Of rows with the same content, the earliest survives. A day without inserts for six hours is
-- merged into one part.
CREATE TABLE IF NOT EXISTS ninezero_data.device_events (
    day Date CODEC(ZSTD), device_id LowCardinality(String) CODEC(ZSTD), seq UInt64 CODEC(Delta, ZSTD),
    site_id LowCardinality(String) CODEC(ZSTD), digest UInt32 CODEC(NONE), late UInt8 CODEC(ZSTD), version UInt64 CODEC(T64, ZSTD)
) ENGINE = ReplacingMergeTree(version) PARTITION BY day ORDER BY (device_id, seq, digest)
SETTINGS min_age_to_force_merge_seconds = 21600, min_age_to_force_merge_on_partition_only = 1;

-- The events of a device on a frozen day at a site, as runs of consecutive sequence numbers: the first and last number of each.
CREATE TABLE IF NOT EXISTS ninezero_data.device_days (
    day Date, device_id LowCardinality(String), site_id LowCardinality(String), conflicts UInt64, late UInt64,
    starts Array(UInt64) CODEC(ZSTD), ends Array(UInt64) CODEC(ZSTD), version UInt64
) ENGINE = ReplacingMergeTree(version) PARTITION BY toYYYYMM(day) ORDER BY (device_id, day, site_id) COMMENT 'kept by erase';

-- A frozen day is not read any more, so that the drop of its facts changes nothing. It is read for five more seconds after the freeze:
-- by then every query finds the rows that the freeze wrote.
CREATE VIEW IF NOT EXISTS ninezero_data.device_frozen_days AS
SELECT day FROM ninezero_data.sealed_days WHERE frozen = 1 AND at < now64(3) - 5;

-- What later days need of a frozen day: the contents, on the day `of_day`, of numbers that have another content on the day `day`,
-- which was not frozen yet.
CREATE TABLE IF NOT EXISTS ninezero_data.sealed_contents (
    day Date, of_day Date, device_id LowCardinality(String), seq UInt64, site_id LowCardinality(String), digest UInt32, late UInt8,
    version UInt64
) ENGINE = MergeTree PARTITION BY day ORDER BY (device_id, seq);

-- The runs of finished days that are not frozen, so that views need not read the events again (agents/recording/completeness.py).
-- `events` is the number of distinct events of the day when the runs were computed.
CREATE TABLE IF NOT EXISTS ninezero_data.device_rolled (
    day Date, events UInt64, made DateTime, device_id LowCardinality(String), site_id LowCardinality(String), late UInt64,
    starts Array(UInt64) CODEC(ZSTD), ends Array(UInt64) CODEC(ZSTD)
) ENGINE = ReplacingMergeTree(events) PARTITION BY day ORDER BY (device_id, site_id);

-- The days whose runs are up to date: the events of a day are never fewer than they were, so an equal number means the same
-- events. Runs count a minute after they were computed, when every query finds them that does not read the day's events.
CREATE VIEW IF NOT EXISTS ninezero_data.device_rolled_days AS
SELECT DISTINCT day FROM ninezero_data.device_rolled
WHERE made < now() - 60 AND (day, events) IN (SELECT day, count() FROM ninezero_data.device_events GROUP BY day);

-- The runs of the other days.
CREATE VIEW IF NOT EXISTS ninezero_data.device_fresh AS
SELECT day, device_id, site_id, late,
    arrayFilter((seq, before) -> seq != before + 1, seqs, arrayPushFront(arrayPopBack(seqs), seqs[1])) AS starts,
    arrayFilter((seq, after) -> seq + 1 != after, seqs, arrayPushBack(arrayPopFront(seqs), seqs[1])) AS ends
FROM (
    SELECT day, device_id, site_id, sum(late) AS late, arraySort(groupArray(seq)) AS seqs
    FROM ninezero_data.device_events FINAL
    WHERE day NOT IN (SELECT day FROM ninezero_data.device_rolled_days UNION ALL SELECT day FROM ninezero_data.device_frozen_days)
    GROUP BY day, device_id, site_id
);

CREATE VIEW IF NOT EXISTS ninezero_data.device_cells AS
SELECT day, device_id, site_id, argMax(late, events) AS late, argMax(starts, events) AS starts, argMax(ends, events) AS ends
FROM (
    SELECT day, device_id, site_id, late, starts, ends, toUInt64(18446744073709551615) AS events FROM ninezero_data.device_fresh
    UNION ALL
    SELECT day, device_id, site_id, late, starts, ends, events FROM ninezero_data.device_rolled
    WHERE day NOT IN (SELECT day FROM ninezero_data.device_frozen_days)
) GROUP BY day, device_id, site_id;

-- Devices whose runs overlap, because a sequence number arrived with two contents, or would overlap with those of a frozen day.
CREATE VIEW IF NOT EXISTS ninezero_data.devices_overlapping AS
SELECT device_id FROM (
    SELECT device_id, arraySort(groupArrayArray(starts)) AS starts, arraySort(groupArrayArray(ends)) AS ends
    FROM ninezero_data.device_cells GROUP BY device_id
) WHERE arrayExists((start, end_before) -> start <= end_before, arrayPopFront(starts), arrayPopBack(ends))
UNION ALL
SELECT device_id FROM ninezero_data.sealed_contents;

CREATE VIEW IF NOT EXISTS ninezero_data.overlapping_events AS
SELECT day, device_id, seq, site_id, digest, late, version FROM ninezero_data.device_events
WHERE device_id IN (SELECT device_id FROM ninezero_data.devices_overlapping)
    AND day NOT IN (SELECT day FROM ninezero_data.device_frozen_days)
UNION ALL
SELECT of_day AS day, device_id, seq, site_id, digest, late, version FROM (
    SELECT * FROM ninezero_data.sealed_contents WHERE day NOT IN (SELECT day FROM ninezero_data.device_frozen_days)
);

-- These are counted from all their events: the first content of a number determines its row; of two contents in the same
-- millisecond, the one with the higher digest.
CREATE VIEW IF NOT EXISTS ninezero_data.device_exact AS
SELECT day, device_id, site_id, conflicts, late,
    arrayFilter((seq, before) -> seq != before + 1, seqs, arrayPushFront(arrayPopBack(seqs), seqs[1])) AS starts,
    arrayFilter((seq, after) -> seq + 1 != after, seqs, arrayPushBack(arrayPopFront(seqs), seqs[1])) AS ends
FROM (
    SELECT first.1 AS day, device_id, first.2 AS site_id, sum(several) AS conflicts, sum(first.3) AS late,
        arraySort(groupArray(seq)) AS seqs
    FROM (
        SELECT device_id, seq, argMax((day, site_id, late), (version, digest)) AS first, min(digest) != max(digest) AS several
        FROM ninezero_data.overlapping_events GROUP BY device_id, seq
    ) GROUP BY day, device_id, site_id
);

CREATE VIEW IF NOT EXISTS ninezero_data.devices_live AS
SELECT run.1 AS day, device_id, run.2 AS site_id, run.3 AS conflicts, run.4 AS late, run.5 AS starts, run.6 AS ends
FROM (
    SELECT device_id, argMax(runs, exact) AS runs
    FROM (
        SELECT device_id, groupArray((day, site_id, toUInt64(0), late, starts, ends)) AS runs, 0 AS exact
        FROM ninezero_data.device_cells GROUP BY device_id
        UNION ALL
        SELECT device_id, groupArray((day, site_id, conflicts, late, starts, ends)) AS runs, 1 AS exact
        FROM ninezero_data.device_exact GROUP BY device_id
    ) GROUP BY device_id
) ARRAY JOIN runs AS run;

CREATE VIEW IF NOT EXISTS ninezero_data.device_runs AS
SELECT day, device_id, site_id, argMax(conflicts, frozen) AS conflicts, argMax(late, frozen) AS late,
    argMax(starts, frozen) AS starts, argMax(ends, frozen) AS ends
FROM (
    SELECT *, 0 AS frozen FROM ninezero_data.devices_live
    UNION ALL
    SELECT * EXCEPT version, 1 AS frozen FROM ninezero_data.device_days FINAL
) GROUP BY day, device_id, site_id;

-- A number that no run covers is missing; it is counted in the row of the next run. The gap before the n-th run, in the order
-- of the starts, begins after the end at position n - 1 in the order of the ends. A number whose second content was recorded
-- after the day of the first was frozen counts on both days, without a conflict: it is in two runs, and it is no gap.
CREATE VIEW IF NOT EXISTS ninezero.device_completeness DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT device_id, run.3 AS day, run.4 AS site_id, min(run.1) AS first_seq, max(run.2) AS last_seq,
    sum(run.2 - run.1 + 1) AS received, sum(gap) AS missing, any(run.5) AS conflicts, any(run.6) AS late
FROM (
    SELECT device_id, run, gap
    FROM (
        SELECT device_id, arraySort(runs) AS runs,
            arrayMap((start, expected) -> if(start > expected, toUInt64(start - expected), 0), arraySort(firsts),
                arrayPushFront(arrayPopBack(arraySort(arrayMap(last -> last + 1, lasts))), 0)) AS gaps
        FROM (
            SELECT device_id, groupArray((start, last, day, site_id, conflicts, late)) AS runs, groupArray(start) AS firsts,
                groupArray(last) AS lasts
            FROM ninezero_data.device_runs ARRAY JOIN starts AS start, ends AS last GROUP BY device_id
        )
    ) ARRAY JOIN runs AS run, gaps AS gap
) GROUP BY device_id, day, site_id;

-- Devices that sent an event in the last 24 hours, but none in the last 30 minutes. version = 2^43 - Kafka timestamp in ms.
CREATE VIEW IF NOT EXISTS ninezero.devices_silent DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT device_id, site_id, toDateTime(heard, 'UTC') AS last_heard, intDiv(toUInt32(now()) - heard, 60) AS minutes
FROM (
    SELECT device_id, argMin(site_id, version) AS site_id, intDiv(8796093022208 - min(version), 1000) AS heard
    FROM ninezero_data.device_events WHERE day >= toDate(now()) - 2 GROUP BY device_id
)
WHERE heard > toUInt32(now()) - 86400 AND heard <= toUInt32(now()) - 1800;

-- Lists -------------------------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS ninezero_data.push_receipts (
    batch_id String, authority String, list String, category String, mode String, status String, code String,
    lines_declared UInt32, accepted UInt32, duplicate UInt32, rejected UInt32, withdrawn UInt32,
    issued_at DateTime('UTC'), version UInt64
) ENGINE = ReplacingMergeTree(version) ORDER BY (authority, batch_id) COMMENT 'kept by erase';

-- Who pushed, withdrew or confirmed a batch. A receipt that is recorded twice gives the same row.
CREATE TABLE IF NOT EXISTS ninezero_data.push_audit (
    at DateTime('UTC'), who String, action String, batch_id String, authority String, list String, lines UInt32
) ENGINE = ReplacingMergeTree ORDER BY (authority, batch_id, action, at, who) COMMENT 'kept by erase';

CREATE VIEW IF NOT EXISTS ninezero.push_batches DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT batch_id, authority, list, category, mode, status, code, lines_declared, accepted, duplicate, rejected, withdrawn,
    issued_at
FROM ninezero_data.push_receipts FINAL;

CREATE VIEW IF NOT EXISTS ninezero.watchlist_audit DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT at, who, action, batch_id, authority, list, lines FROM ninezero_data.push_audit FINAL;

-- Cases -------------------------------------------------------------------------------------------------------------------

-- One row for each case, replaced as a whole when it has new events (agents/recording/case_tables.py): its events as JSON, its
-- counts for each (day, place) up to its last event, and where an open case is from the day `since` on. version = sum of the
-- versions of its events, which only grows. An open case has closed_on = 2099-12-31; nothing is due after `last_day`, where its term
-- ends.
CREATE TABLE IF NOT EXISTS ninezero_data.quarantine_cases (
    case_id String, version UInt64, closed_on Date, site_id String, since Date, last_day Date, facts String CODEC(ZSTD),
    days Array(Date), sites Array(String), admitted Array(UInt32), released Array(UInt32), transferred_in Array(UInt32),
    transferred_out Array(UInt32), present Array(UInt32), due_am Array(UInt32), due_pm Array(UInt32), done_am Array(UInt32),
    done_pm Array(UInt32), misplaced Array(UInt32), anomalies Array(UInt32), release_due Array(UInt32),
    term_exceeded Array(UInt32)
) ENGINE = ReplacingMergeTree(version) ORDER BY case_id;

CREATE TABLE IF NOT EXISTS ninezero_data.followup_cases (
    case_id String, version UInt64, closed_on Date, district String, since Date, last_day Date, opened_on Date,
    batch_id String, first_visit Int64, closed_as String, facts String CODEC(ZSTD),
    days Array(Date), districts Array(String), opened Array(UInt32), visits Array(UInt32), reached Array(UInt32),
    closed Array(UInt32), overdue Array(UInt32), open_at_end Array(UInt32), anomalies Array(UInt32), release_due Array(UInt32),
    term_exceeded Array(UInt32)
) ENGINE = ReplacingMergeTree(version) ORDER BY case_id;

-- The counts of deleted cases, without case numbers (agents/recording/case_deletion.py): one row for the cases that closed from
-- `begins` on, before `ends`. A case that closed before the last `ends` counts only here, so one row switches from its own row
-- to the kept counts. Of two rows that begin on the same day one survives. The row that ends in 2100 includes open cases.
CREATE TABLE IF NOT EXISTS ninezero_data.quarantine_kept (
    begins Date, ends Date, days Array(Date), sites Array(String), admitted Array(UInt32), released Array(UInt32),
    transferred_in Array(UInt32), transferred_out Array(UInt32), present Array(UInt32), due_am Array(UInt32), due_pm Array(UInt32),
    done_am Array(UInt32), done_pm Array(UInt32), misplaced Array(UInt32), anomalies Array(UInt32), release_due Array(UInt32),
    term_exceeded Array(UInt32)
) ENGINE = ReplacingMergeTree(ends) ORDER BY begins COMMENT 'kept by erase';

CREATE TABLE IF NOT EXISTS ninezero_data.followup_kept (
    begins Date, ends Date, days Array(Date), districts Array(String), opened Array(UInt32), visits Array(UInt32),
    reached Array(UInt32), closed Array(UInt32), overdue Array(UInt32), open_at_end Array(UInt32), anomalies Array(UInt32),
    release_due Array(UInt32), term_exceeded Array(UInt32), closing_days Array(Date), closing_districts Array(String),
    closing_ways Array(String), closings Array(UInt32), delay_days Array(Date),
    delay_districts Array(String), delays Array(Int64)
) ENGINE = ReplacingMergeTree(ends) ORDER BY begins COMMENT 'kept by erase';

CREATE VIEW IF NOT EXISTS ninezero_data.quarantine_live AS
SELECT * FROM ninezero_data.quarantine_cases FINAL WHERE closed_on >= (SELECT max(ends) FROM ninezero_data.quarantine_kept);

CREATE VIEW IF NOT EXISTS ninezero_data.followup_live AS
SELECT * FROM ninezero_data.followup_cases FINAL WHERE closed_on >= (SELECT max(ends) FROM ninezero_data.followup_kept);

-- The events in the rows of the cases, without case numbers.
CREATE VIEW IF NOT EXISTS ninezero_data.quarantine_facts AS
SELECT fact.device_id AS device_id, fact.seq AS seq, fact.version AS version
FROM (
    SELECT JSONExtract(facts, 'Array(Tuple(device_id String, seq UInt64, version UInt64))') AS all_facts
    FROM ninezero_data.quarantine_cases FINAL
) ARRAY JOIN all_facts AS fact;

CREATE VIEW IF NOT EXISTS ninezero_data.followup_facts AS
SELECT fact.device_id AS device_id, fact.seq AS seq, fact.version AS version
FROM (
    SELECT JSONExtract(facts, 'Array(Tuple(device_id String, seq UInt64, version UInt64))') AS all_facts
    FROM ninezero_data.followup_cases FINAL
) ARRAY JOIN all_facts AS fact;

-- The counts of every (day, site): of cases, of deleted cases, and of open cases on each day since their last event.
CREATE VIEW IF NOT EXISTS ninezero_data.quarantine_days AS
SELECT day, site_id,
    sum(a) AS n_admitted, sum(b) AS n_released, sum(c) AS n_in, sum(d) AS n_out, sum(e) AS n_present, sum(f) AS n_due_am,
    sum(g) AS n_due_pm, sum(h) AS n_done_am, sum(i) AS n_done_pm, sum(j) AS n_misplaced, sum(k) AS n_anomalies,
    sum(l) AS n_release_due, sum(m) AS n_exceeded
FROM (
    SELECT day, site AS site_id, a, b, c, d, e, f, g, h, i, j, k, l, m
    FROM (
        SELECT days, sites, admitted, released, transferred_in, transferred_out, present, due_am, due_pm, done_am, done_pm,
            misplaced, anomalies, release_due, term_exceeded
        FROM ninezero_data.quarantine_live
        UNION ALL
        SELECT days, sites, admitted, released, transferred_in, transferred_out, present, due_am, due_pm, done_am, done_pm,
            misplaced, anomalies, release_due, term_exceeded
        FROM ninezero_data.quarantine_kept FINAL
    )
    ARRAY JOIN days AS day, sites AS site, admitted AS a, released AS b, transferred_in AS c, transferred_out AS d, present AS e,
        due_am AS f, due_pm AS g, done_am AS h, done_pm AS i, misplaced AS j, anomalies AS k, release_due AS l, term_exceeded AS m
    UNION ALL
    SELECT since + n AS day, site_id, 0, 0, 0, 0, 1, day <= last_day, day <= last_day, 0, 0, 0, 0, day = last_day, day > last_day
    FROM (SELECT since, last_day, site_id FROM ninezero_data.quarantine_live WHERE closed_on = toDate('2099-12-31'))
    ARRAY JOIN range(toUInt32(greatest(0, dateDiff('day', since, toDate(now(), '{timezone}')) + 1))) AS n
) GROUP BY day, site_id;

CREATE VIEW IF NOT EXISTS ninezero_data.followup_days AS
SELECT day, district,
    sum(a) AS n_opened, sum(b) AS n_visits, sum(c) AS n_reached, sum(d) AS n_closed, sum(e) AS n_overdue, sum(f) AS n_open,
    sum(g) AS n_anomalies, sum(h) AS n_release_due, sum(i) AS n_exceeded
FROM (
    SELECT day, place AS district, a, b, c, d, e, f, g, h, i
    FROM (
        SELECT days, districts, opened, visits, reached, closed, overdue, open_at_end, anomalies, release_due, term_exceeded
        FROM ninezero_data.followup_live
        UNION ALL
        SELECT days, districts, opened, visits, reached, closed, overdue, open_at_end, anomalies, release_due, term_exceeded
        FROM ninezero_data.followup_kept FINAL
    )
    ARRAY JOIN days AS day, districts AS place, opened AS a, visits AS b, reached AS c, closed AS d, overdue AS e,
        open_at_end AS f, anomalies AS g, release_due AS h, term_exceeded AS i
    UNION ALL
    SELECT since + n AS day, district, 0, 0, 0, 0, day <= last_day, 1, 0, day = last_day, day > last_day
    FROM (SELECT since, last_day, district FROM ninezero_data.followup_live WHERE closed_on = toDate('2099-12-31'))
    ARRAY JOIN range(toUInt32(greatest(0, dateDiff('day', since, toDate(now(), '{timezone}')) + 1))) AS n
) GROUP BY day, district;

-- A slot that has not ended yet is due, and is never missed.
CREATE VIEW IF NOT EXISTS ninezero.quarantine_by_day DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT day, site_id, n_admitted AS admitted, n_released AS released, n_in AS transferred_in, n_out AS transferred_out,
    n_present AS present, n_due_am + n_due_pm AS readings_due, n_done_am + n_done_pm AS readings_done,
    if(toDateTime(concat(toString(day), ' 12:00:00'), '{timezone}') <= now(), n_due_am - n_done_am, 0)
        + if(day < toDate(now(), '{timezone}'), n_due_pm - n_done_pm, 0) AS readings_missed,
    n_release_due AS release_due, n_exceeded AS term_exceeded
FROM ninezero_data.quarantine_days
WHERE n_admitted + n_released + n_in + n_out + n_present + n_due_am + n_due_pm + n_release_due > 0;

-- Days on which present is not present of the day before + admitted + in - released - out. Empty if all events agree.
-- `misplaced` counts transfers and releases that name a site where the case is not; two of them can cancel each other out.
CREATE VIEW IF NOT EXISTS ninezero.quarantine_balance DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT day, site_id, is_present AS present, should_be AS expected, is_present - should_be AS difference, misplaced
FROM (
    SELECT day, site_id, sum(here) AS is_present, sum(there) AS should_be, sum(wrong) AS misplaced
    FROM (
        SELECT day, site_id, toInt64(n_present) AS here,
            toInt64(n_admitted) + toInt64(n_in) - toInt64(n_released) - toInt64(n_out) AS there, n_misplaced AS wrong
        FROM ninezero_data.quarantine_days
        UNION ALL
        SELECT day + 1 AS day, site_id, 0 AS here, toInt64(n_present) AS there, 0 AS wrong
        FROM ninezero_data.quarantine_days
    ) GROUP BY day, site_id
) WHERE (is_present != should_be OR misplaced > 0) AND day <= toDate(now(), '{timezone}');

-- Events of cases that are not open, transfers without a destination, and extensions without a valid term. They count nowhere else.
CREATE VIEW IF NOT EXISTS ninezero.quarantine_anomalies_by_day DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT day, site_id, n_anomalies AS anomalies FROM ninezero_data.quarantine_days WHERE n_anomalies > 0;

CREATE VIEW IF NOT EXISTS ninezero.quarantine_occupancy DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT site_id, toUInt64(sum(room)) AS capacity, toUInt64(sum(here)) AS present, toInt64(sum(room)) - toInt64(sum(here)) AS free
FROM (
    SELECT site_id, capacity AS room, 0 AS here FROM ninezero_data.site_register FINAL
    UNION ALL
    SELECT toString(site_id) AS site_id, 0 AS room, 1 AS here FROM ninezero_data.quarantine_live WHERE closed_on = toDate('2099-12-31')
) GROUP BY site_id HAVING capacity > 0 OR present > 0;

CREATE VIEW IF NOT EXISTS ninezero.followups_by_day DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT day, district, n_opened AS opened, n_visits AS visits, n_reached AS reached, n_closed AS closed,
    if(day < toDate(now(), '{timezone}'), n_overdue, 0) AS overdue, n_open AS open,
    n_release_due AS release_due, n_exceeded AS term_exceeded
FROM ninezero_data.followup_days WHERE n_opened + n_visits + n_closed + n_open + n_release_due > 0;

CREATE VIEW IF NOT EXISTS ninezero.followup_anomalies_by_day DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT day, district, n_anomalies AS anomalies FROM ninezero_data.followup_days WHERE n_anomalies > 0;

CREATE VIEW IF NOT EXISTS ninezero.followup_closings_by_day DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT day, district, closed, sum(n) AS count
FROM (
    SELECT closed_on AS day, district, closed_as AS closed, 1 AS n FROM ninezero_data.followup_live
    WHERE closed_on < toDate('2099-12-31') AND opened_on > toDate(0)
    UNION ALL
    SELECT day, place AS district, way AS closed, n FROM ninezero_data.followup_kept FINAL
    ARRAY JOIN closing_days AS day, closing_districts AS place, closing_ways AS way, closings AS n
) GROUP BY day, district, closed;

-- Time from a push (its issued_at) to the first visit, by the day on which the case was opened; visited cases only.
CREATE VIEW IF NOT EXISTS ninezero_data.followup_delays AS
SELECT opened_on AS day, district, closed_on, first_visit - issued AS seconds
FROM (
    SELECT opened_on, district, closed_on, batch_id, first_visit FROM ninezero_data.followup_live
    WHERE first_visit > 0 AND batch_id != ''
) AS visited INNER JOIN (
    SELECT batch_id, min(toInt64(toUInt32(issued_at))) AS issued FROM ninezero_data.push_receipts FINAL GROUP BY batch_id
) AS pushed USING (batch_id);

CREATE VIEW IF NOT EXISTS ninezero.followup_delay_by_day DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT day, district, count() AS cases, round(quantileExact(0.5)(seconds) / 3600, 2) AS median_hours,
    round(max(seconds) / 3600, 2) AS max_hours
FROM (
    SELECT day, district, seconds FROM ninezero_data.followup_delays
    UNION ALL
    SELECT day, place AS district, seconds FROM ninezero_data.followup_kept FINAL
    ARRAY JOIN delay_days AS day, delay_districts AS place, delays AS seconds
) GROUP BY day, district;

-- Case alerts -------------------------------------------------------------------------------------------------------------

-- One row for each alert about a case or a transfer that was sent: the recorder reads them from the topic of the alerts. An alert
-- that was sent again has the same alert_id, and the first one counts. The rows of a day are dropped 72 hours after its end.
CREATE TABLE IF NOT EXISTS ninezero_data.care_alert_facts (
    day Date, rule LowCardinality(String), site_id LowCardinality(String), district LowCardinality(String), alert_id String,
    version UInt64
) ENGINE = ReplacingMergeTree(version) PARTITION BY day ORDER BY (day, rule, alert_id);

-- The days whose alerts are frozen, as `sealed_days` for the other facts.
CREATE TABLE IF NOT EXISTS ninezero_data.sealed_alert_days (
    day Date, frozen UInt8, at DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = MergeTree ORDER BY (day, frozen, at) COMMENT 'kept by erase';

CREATE TABLE IF NOT EXISTS ninezero_data.care_alert_days (
    day Date, site_id LowCardinality(String), district LowCardinality(String), rule LowCardinality(String), alerts UInt64,
    version UInt64
) ENGINE = ReplacingMergeTree(version) PARTITION BY toYYYYMM(day) ORDER BY (day, site_id, district, rule) COMMENT 'kept by erase';

CREATE VIEW IF NOT EXISTS ninezero_data.care_alerts_live AS
SELECT day, site_id, district, rule, count() AS alerts FROM ninezero_data.care_alert_facts FINAL
GROUP BY day, site_id, district, rule;

-- No case number, nothing finer than the day. A frozen day is never counted again.
CREATE VIEW IF NOT EXISTS ninezero.care_alerts_by_day DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT day, site_id, district, rule, argMax(alerts, frozen) AS alerts
FROM (
    SELECT *, 0 AS frozen FROM ninezero_data.care_alerts_live
    WHERE day NOT IN (SELECT day FROM ninezero_data.sealed_alert_days WHERE frozen = 1)
    UNION ALL
    SELECT * EXCEPT version, 1 AS frozen FROM ninezero_data.care_alert_days FINAL
) GROUP BY day, site_id, district, rule;

-- Publishing --------------------------------------------------------------------------------------------------------------

CREATE DATABASE IF NOT EXISTS ninezero_published;

-- Everything that is published of a day, stored in one row before it is published: an interrupted run is finished with the same
-- numbers (agents/recording/publishing.py).
CREATE TABLE IF NOT EXISTS ninezero_data.publications (
    day Date, at UInt64, k UInt32, screening String, arrivals String
) ENGINE = MergeTree ORDER BY day COMMENT 'kept by erase';

CREATE TABLE IF NOT EXISTS ninezero_published.screening_by_day (
    day Date, division String, passages Nullable(UInt64), people Nullable(UInt64), clear Nullable(UInt64),
    refer Nullable(UInt64), quarantine Nullable(UInt64), turn_back Nullable(UInt64), hold Nullable(UInt64),
    fevers Nullable(UInt64)
) ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(day) ORDER BY (day, division);

CREATE TABLE IF NOT EXISTS ninezero_published.arrivals_by_day (
    day Date, division String, mode String, stage String, people Nullable(UInt64)
) ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(day) ORDER BY (day, division, mode, stage);
