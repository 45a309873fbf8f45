-- Retention (agents/recording/retention.py): a day is sealed (attempt 0: nothing of it is recorded any more), then its counts
-- are frozen under the number of an attempt, then its facts are dropped, after every query that began earlier has ended.
-- Of several attempts the first one counts: it read the facts before they were dropped.
CREATE TABLE IF NOT EXISTS ninezero_data.sealed_days (
    day Date, attempt UInt64, at UInt64
) ENGINE = MergeTree ORDER BY day;

CREATE VIEW IF NOT EXISTS ninezero_data.frozen_days AS
SELECT day, held AS attempt FROM (
    SELECT day, argMin(attempt, at) AS held FROM ninezero_data.sealed_days WHERE attempt > 0 GROUP BY day
);

-- Dispositions ------------------------------------------------------------------------------------------------------------

-- The kinds of scans whose facts are dropped, for dispositions of later days; `day` is the day of the disposition.
CREATE TABLE IF NOT EXISTS ninezero_data.sealed_kinds (
    day Date, device_id String, seq UInt64, kind String, version UInt64
) ENGINE = MergeTree PARTITION BY day ORDER BY (device_id, seq);

CREATE TABLE IF NOT EXISTS ninezero_data.disposition_days (
    day Date, attempt UInt64, site_id String, kind String, action String, overrides UInt64, count UInt64
) ENGINE = MergeTree PARTITION BY toYYYYMM(day) ORDER BY (day, site_id, kind, action);

CREATE VIEW IF NOT EXISTS ninezero_data.dispositions_live AS
SELECT day, site_id, kind, action, countIf(override != '') AS overrides, count() AS count
FROM (
    SELECT tupleElement(first, 1) AS day, tupleElement(first, 2) AS site_id, tupleElement(first, 3) AS action,
        tupleElement(first, 4) AS override, tupleElement(first, 5) AS of_device, tupleElement(first, 6) AS of_seq
    FROM (
        SELECT device_id, seq, argMax((day, site_id, action, override, of_device, of_seq), version) AS first
        FROM ninezero_data.disposition_facts GROUP BY device_id, seq
    )
) AS dispositions ANY LEFT JOIN (
    SELECT device_id AS of_device, seq AS of_seq, argMax(kind, version) AS kind
    FROM (
        SELECT device_id, seq, kind, version FROM ninezero_data.screening_facts
        WHERE (device_id, seq) IN (SELECT of_device, of_seq FROM ninezero_data.disposition_facts)
        UNION ALL
        SELECT device_id, seq, kind, version FROM ninezero_data.sealed_kinds
    ) GROUP BY of_device, of_seq
) AS scanned USING (of_device, of_seq)
GROUP BY day, site_id, kind, action;

-- A frozen day keeps its counts, whether its facts still exist, exist in part, or were dropped.
CREATE VIEW IF NOT EXISTS ninezero.dispositions_by_day AS
SELECT day, site_id, kind, action, argMax(overrides, attempt) AS overrides, argMax(count, attempt) AS count
FROM (
    SELECT day, toUInt64(0) AS attempt, site_id, kind, action, overrides, count FROM ninezero_data.dispositions_live
    UNION ALL
    SELECT day, attempt, site_id, kind, action, overrides, count FROM ninezero_data.disposition_days
    WHERE (day, attempt) IN (SELECT day, attempt FROM ninezero_data.frozen_days)
)
GROUP BY day, site_id, kind, action;

-- Completeness ------------------------------------------------------------------------------------------------------------

-- The events of a device on a day at a site, as runs of consecutive sequence numbers. The runs are enough to find the gaps of
-- every later day.
CREATE TABLE IF NOT EXISTS ninezero_data.device_days (
    day Date, attempt UInt64, device_id String, site_id String, conflicts UInt64, late UInt64, starts Array(UInt64),
    ends Array(UInt64)
) ENGINE = MergeTree PARTITION BY toYYYYMM(day) ORDER BY (device_id, day, site_id);

-- The runs of days that still have their facts, so that a query about devices reads the facts of the latest days only
-- (agents/recording/completeness.py). `print` identifies the facts of the day that a row was computed from; the row may also
-- contain later ones.
CREATE TABLE IF NOT EXISTS ninezero_data.device_rolled (
    day Date, print UInt64, made DateTime, device_id String, site_id String, late UInt64, starts Array(UInt64), ends Array(UInt64)
) ENGINE = ReplacingMergeTree(print) PARTITION BY day ORDER BY (device_id, site_id);

-- The highest block number of a day's parts. It grows with each insert of that day, and with nothing else.
CREATE VIEW IF NOT EXISTS ninezero_data.device_prints AS
SELECT toDate(partition) AS day, toUInt64(max(max_block_number)) AS print
FROM system.parts WHERE database = 'ninezero_data' AND table = 'device_events' AND active = 1 AND rows > 0 GROUP BY partition;

-- A query reads its tables one after the other, while facts arrive and days are rolled up. Therefore it reads both: the facts of
-- every day, except days that were rolled up with all their facts at least a minute ago, and all rolled-up rows. Of two rows
-- for the same cell, the one computed from more facts counts. A day that the query skips in the facts is found rolled up,
-- because it was rolled up before the query began.
CREATE VIEW IF NOT EXISTS ninezero_data.device_rolled_days AS
SELECT DISTINCT day FROM ninezero_data.device_rolled
WHERE made < now() - 60 AND (day, print) IN (SELECT day, print FROM ninezero_data.device_prints);

CREATE VIEW IF NOT EXISTS ninezero_data.device_fresh AS
SELECT day, device_id, site_id, sum(late) AS late,
    arrayFilter((s, before) -> s != before + 1, arraySort(groupArray(seq)) AS seqs, arrayPushFront(arrayPopBack(seqs), seqs[1])) AS starts,
    arrayFilter((e, after) -> e + 1 != after, seqs, arrayPushBack(arrayPopFront(seqs), seqs[1])) AS ends
FROM ninezero_data.device_events FINAL
PREWHERE day NOT IN (SELECT day FROM ninezero_data.device_rolled_days)
GROUP BY day, device_id, site_id;

CREATE VIEW IF NOT EXISTS ninezero_data.device_cells AS
SELECT day, device_id, site_id, argMax(late, print) AS late, argMax(starts, print) AS starts, argMax(ends, print) AS ends
FROM (
    SELECT day, toUInt64(18446744073709551615) AS print, device_id, site_id, late, starts, ends FROM ninezero_data.device_fresh
    UNION ALL
    SELECT day, print, device_id, site_id, late, starts, ends FROM ninezero_data.device_rolled
)
GROUP BY day, device_id, site_id;

-- Devices whose runs overlap, because a sequence number arrived with two contents ("tangled" devices).
CREATE VIEW IF NOT EXISTS ninezero_data.devices_tangled AS
SELECT device_id FROM ninezero_data.device_cells GROUP BY device_id
HAVING arrayExists((s, e) -> s <= e, arrayPopFront(arraySort(groupArrayArray(starts))), arrayPopBack(arraySort(groupArrayArray(ends))));

-- Tangled devices are counted from all their events instead of their runs. The first content of a number determines its row;
-- of two contents in the same millisecond, the one with the higher digest. (`concat` prevents 18.16 from using the set for the
-- index, for which it would compute the set several times.)
CREATE VIEW IF NOT EXISTS ninezero_data.devices_live AS
SELECT tupleElement(run, 1) AS day, device_id, tupleElement(run, 2) AS site_id, tupleElement(run, 3) AS conflicts,
    tupleElement(run, 4) AS late, tupleElement(run, 5) AS starts, tupleElement(run, 6) AS ends
FROM (
    SELECT device_id, arrayJoin(argMax(runs, events)) AS run
    FROM (
        SELECT device_id, events, groupArray((day, site_id, conflicts, late, starts, ends)) AS runs
        FROM (
            SELECT toUInt8(0) AS events, day, device_id, site_id, toUInt64(0) AS conflicts, late, starts, ends FROM ninezero_data.device_cells
            UNION ALL
            SELECT toUInt8(1) AS events, first_day AS day, device_id, first_site AS site_id, sum(several) AS conflicts, sum(first_late) AS late,
                arrayFilter((s, before) -> s != before + 1, arraySort(groupArray(seq)) AS seqs, arrayPushFront(arrayPopBack(seqs), seqs[1])) AS starts,
                arrayFilter((e, after) -> e + 1 != after, seqs, arrayPushBack(arrayPopFront(seqs), seqs[1])) AS ends
            FROM (
                SELECT device_id, seq, argMax(day, rank) AS first_day, argMax(site_id, rank) AS first_site,
                    argMax(late, rank) AS first_late, min(digest) != max(digest) AS several
                FROM (
                    SELECT device_id, seq, day, site_id, late, digest, version * 2097152 + digest % 2097152 AS rank
                    FROM ninezero_data.device_events
                    WHERE concat(device_id, '') IN (SELECT device_id FROM ninezero_data.devices_tangled)
                )
                GROUP BY device_id, seq
            )
            GROUP BY first_day, device_id, first_site
        )
        GROUP BY device_id, events
    )
    GROUP BY device_id
);

CREATE VIEW IF NOT EXISTS ninezero_data.device_runs AS
SELECT day, device_id, site_id, argMax(conflicts, attempt) AS conflicts, argMax(late, attempt) AS late, argMax(starts, attempt) AS starts,
    argMax(ends, attempt) AS ends
FROM (
    SELECT day, toUInt64(0) AS attempt, device_id, site_id, conflicts, late, starts, ends FROM ninezero_data.devices_live
    UNION ALL
    SELECT day, attempt, device_id, site_id, conflicts, late, starts, ends FROM ninezero_data.device_days
    WHERE (day, attempt) IN (SELECT day, attempt FROM ninezero_data.frozen_days)
)
GROUP BY day, device_id, site_id;

-- A number that no run covers is missing; it is counted in the row of the next run. The gap before the n-th run, in the order
-- of the starts, begins after the end at position n - 1 in the order of the ends. A number whose second content arrived after
-- the day of the first was sealed is in two runs; it is no gap.
CREATE VIEW IF NOT EXISTS ninezero.device_completeness AS
SELECT device_id, day, site_id, min(start) AS first_seq, max(end) AS last_seq, sum(end) - sum(start) + count() AS received,
    sum(gap) AS missing, any(twice) AS conflicts, any(behind) AS late
FROM (
    SELECT device_id, tupleElement(run_and_gap, 1) AS run, tupleElement(run_and_gap, 2) AS gap, tupleElement(run, 1) AS start,
        tupleElement(run, 2) AS end, tupleElement(run, 3) AS day, tupleElement(run, 4) AS site_id, tupleElement(run, 5) AS twice,
        tupleElement(run, 6) AS behind
    FROM (
        SELECT device_id, arrayJoin(arrayMap((r, s, e) -> (r, s > e ? toUInt64(s - e) : toUInt64(0)), arraySort(groupArray(run)),
            arraySort(groupArray(tupleElement(run, 1))),
            arrayPushFront(arrayPopBack(arraySort(groupArray(tupleElement(run, 2) + 1))), toUInt64(0)))) AS run_and_gap
        FROM (
            SELECT device_id, (tupleElement(ends_of, 1), tupleElement(ends_of, 2), day, site_id, conflicts, late) AS run
            FROM (
                SELECT device_id, day, site_id, conflicts, late, arrayJoin(arrayMap((s, e) -> (s, e), starts, ends)) AS ends_of
                FROM ninezero_data.device_runs
            )
        )
        GROUP BY device_id
    )
)
GROUP BY device_id, day, site_id;

-- Devices that sent an event in the last 24 hours, but none in the last 30 minutes. version = 2^43 - Kafka timestamp in ms.
CREATE VIEW IF NOT EXISTS ninezero.devices_silent AS
SELECT device_id, site_id, toDateTime(heard, 'UTC') AS last_heard, intDiv(toUInt32(now()) - heard, 60) AS minutes
FROM (
    SELECT device_id, argMin(site_id, version) AS site_id, intDiv(8796093022208 - min(version), 1000) AS heard
    FROM ninezero_data.device_events WHERE day >= toDate(now()) - 2 GROUP BY device_id
)
WHERE heard > toUInt32(now()) - 86400 AND heard <= toUInt32(now()) - 1800;

-- Publishing --------------------------------------------------------------------------------------------------------------
CREATE DATABASE IF NOT EXISTS ninezero_published;

-- Everything that is published of a day, stored in one row before it is published: an interrupted run is finished with the same
-- numbers (agents/recording/publishing.py).
CREATE TABLE IF NOT EXISTS ninezero_data.publications (
    day Date, at UInt64, k UInt32, screening String, arrivals String
) ENGINE = MergeTree ORDER BY day;

CREATE TABLE IF NOT EXISTS ninezero_published.screening_by_day (
    day Date, division String, passages Nullable(UInt64), people Nullable(UInt64), clear Nullable(UInt64),
    refer Nullable(UInt64), quarantine Nullable(UInt64), turn_back Nullable(UInt64), hold Nullable(UInt64),
    fevers Nullable(UInt64)
) ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(day) ORDER BY (day, division);

CREATE TABLE IF NOT EXISTS ninezero_published.arrivals_by_day (
    day Date, division String, mode String, stage String, people Nullable(UInt64)
) ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(day) ORDER BY (day, division, mode, stage);
