-- Quarantine and follow-up: one row for each event, with the content that arrived first.
CREATE TABLE IF NOT EXISTS ninezero_data.quarantine_facts (
    case_id String, observed_us Int64, day Date, device_id String, seq UInt64, site_id String, type String, slot String,
    to_site_id String, fever UInt8, symptoms UInt8, reason String, version UInt64
) ENGINE = ReplacingMergeTree(version) ORDER BY (case_id, device_id, seq);

CREATE TABLE IF NOT EXISTS ninezero_data.followup_facts (
    case_id String, observed_us Int64, day Date, device_id String, seq UInt64, district String, type String,
    source String, batch_id String, visit String, closed String, version UInt64
) ENGINE = ReplacingMergeTree(version) ORDER BY (case_id, device_id, seq);

-- One row for each case, recomputed from all its facts and replaced as a whole: its counts for each (day, site) up to its last
-- event, and the site where an open case is from the day `since` on. version = sum of the facts' versions, which only grows.
CREATE TABLE IF NOT EXISTS ninezero_data.quarantine_cases (
    case_id String, version UInt64, open UInt8, closed_on Date, site_id String, since Date,
    days Array(Date), sites Array(String), admitted Array(UInt32), released Array(UInt32), transferred_in Array(UInt32),
    transferred_out Array(UInt32), present Array(UInt32), due_am Array(UInt32), due_pm Array(UInt32), done_am Array(UInt32),
    done_pm Array(UInt32), misplaced Array(UInt32), anomalies Array(UInt32)
) ENGINE = ReplacingMergeTree(version) ORDER BY case_id;

CREATE TABLE IF NOT EXISTS ninezero_data.followup_cases (
    case_id String, version UInt64, open UInt8, closed_on Date, district String, since Date, opened_on Date,
    batch_id String, first_visit Int64, closed_as String,
    days Array(Date), districts Array(String), opened Array(UInt32), visits Array(UInt32), reached Array(UInt32),
    closed Array(UInt32), overdue Array(UInt32), open_at_end Array(UInt32), anomalies Array(UInt32)
) ENGINE = ReplacingMergeTree(version) ORDER BY case_id;

-- Counts of cases that were deleted 14 days after they closed, without case numbers (agents/recording/case_deletion.py). A fold
-- adds the counts of the cases that closed in its period. Only folds in `case_folds` count, and a case that closed before the
-- end of the last fold counts only there: one row of `case_folds` changes both. A fold begins where the previous one ended; of
-- two that begin at the same day one survives. A fold that ends in 2100 is the last one and includes open cases.
CREATE TABLE IF NOT EXISTS ninezero_data.case_folds (
    cases String, begins Date, ends Date, fold UInt64
) ENGINE = ReplacingMergeTree(fold) ORDER BY (cases, begins);

CREATE TABLE IF NOT EXISTS ninezero_data.quarantine_kept (
    fold UInt64, day Date, site_id String, n_admitted UInt64, n_released UInt64, n_in UInt64, n_out UInt64, n_present UInt64,
    n_due_am UInt64, n_due_pm UInt64, n_done_am UInt64, n_done_pm UInt64, n_misplaced UInt64, n_anomalies UInt64
) ENGINE = MergeTree ORDER BY (day, site_id, fold);

CREATE TABLE IF NOT EXISTS ninezero_data.followup_kept (
    fold UInt64, day Date, district String, n_opened UInt64, n_visits UInt64, n_reached UInt64, n_closed UInt64,
    n_overdue UInt64, n_open UInt64, n_anomalies UInt64
) ENGINE = MergeTree ORDER BY (day, district, fold);

CREATE TABLE IF NOT EXISTS ninezero_data.followup_closings_kept (
    fold UInt64, day Date, district String, closed String, n UInt64
) ENGINE = MergeTree ORDER BY (day, district, fold);

CREATE TABLE IF NOT EXISTS ninezero_data.followup_delays_kept (
    fold UInt64, day Date, district String, seconds Int64
) ENGINE = MergeTree ORDER BY (day, district, fold);

-- Cases whose rows are being deleted. No view counts them; the table is emptied when the deletion is complete.
CREATE TABLE IF NOT EXISTS ninezero_data.quarantine_departing (case_id String) ENGINE = MergeTree ORDER BY case_id;

CREATE TABLE IF NOT EXISTS ninezero_data.followup_departing (case_id String) ENGINE = MergeTree ORDER BY case_id;

CREATE VIEW IF NOT EXISTS ninezero_data.quarantine_live AS
SELECT * FROM ninezero_data.quarantine_cases FINAL
WHERE (SELECT max(ends) FROM ninezero_data.case_folds FINAL WHERE cases = 'quarantine') < toDate('2100-01-01')
    AND (open = 1 OR closed_on >= (SELECT max(ends) FROM ninezero_data.case_folds FINAL WHERE cases = 'quarantine'))
    AND case_id NOT IN (SELECT case_id FROM ninezero_data.quarantine_departing);

CREATE VIEW IF NOT EXISTS ninezero_data.followup_live AS
SELECT * FROM ninezero_data.followup_cases FINAL
WHERE (SELECT max(ends) FROM ninezero_data.case_folds FINAL WHERE cases = 'followup') < toDate('2100-01-01')
    AND (open = 1 OR closed_on >= (SELECT max(ends) FROM ninezero_data.case_folds FINAL WHERE cases = 'followup'))
    AND case_id NOT IN (SELECT case_id FROM ninezero_data.followup_departing);

-- The counts of every (day, site): of the events of each case, and, for open cases, of each day since then up to today.
CREATE VIEW IF NOT EXISTS ninezero_data.quarantine_live_days AS
SELECT day, site_id,
    sum(n_admitted) AS n_admitted, sum(n_released) AS n_released, sum(n_in) AS n_in, sum(n_out) AS n_out,
    sum(n_present) AS n_present, sum(n_due_am) AS n_due_am, sum(n_due_pm) AS n_due_pm, sum(n_done_am) AS n_done_am,
    sum(n_done_pm) AS n_done_pm, sum(n_misplaced) AS n_misplaced, sum(n_anomalies) AS n_anomalies
FROM (
    SELECT day, place AS site_id,
        toUInt64(a) AS n_admitted, toUInt64(b) AS n_released, toUInt64(c) AS n_in, toUInt64(d) AS n_out,
        toUInt64(e) AS n_present, toUInt64(f) AS n_due_am, toUInt64(g) AS n_due_pm, toUInt64(h) AS n_done_am,
        toUInt64(i) AS n_done_pm, toUInt64(j) AS n_misplaced, toUInt64(k) AS n_anomalies
    FROM ninezero_data.quarantine_live
    ARRAY JOIN days AS day, sites AS place,
        admitted AS a, released AS b, transferred_in AS c, transferred_out AS d, present AS e, due_am AS f,
        due_pm AS g, done_am AS h, done_pm AS i, misplaced AS j, anomalies AS k
    UNION ALL
    SELECT arrayJoin(arrayMap(n -> since + n, range(toUInt32(greatest(0, toInt32(toDate(now(), '{timezone}')) - toInt32(since) + 1))))) AS day, site_id,
        toUInt64(0) AS n_admitted, toUInt64(0) AS n_released, toUInt64(0) AS n_in, toUInt64(0) AS n_out,
        toUInt64(count()) AS n_present, toUInt64(count()) AS n_due_am, toUInt64(count()) AS n_due_pm,
        toUInt64(0) AS n_done_am, toUInt64(0) AS n_done_pm, toUInt64(0) AS n_misplaced, toUInt64(0) AS n_anomalies
    FROM ninezero_data.quarantine_live WHERE open = 1 GROUP BY since, site_id
) GROUP BY day, site_id;

CREATE VIEW IF NOT EXISTS ninezero_data.quarantine_days AS
SELECT day, site_id,
    sum(n_admitted) AS n_admitted, sum(n_released) AS n_released, sum(n_in) AS n_in, sum(n_out) AS n_out,
    sum(n_present) AS n_present, sum(n_due_am) AS n_due_am, sum(n_due_pm) AS n_due_pm, sum(n_done_am) AS n_done_am,
    sum(n_done_pm) AS n_done_pm, sum(n_misplaced) AS n_misplaced, sum(n_anomalies) AS n_anomalies
FROM (
    SELECT day, site_id,
        n_admitted, n_released, n_in, n_out, n_present, n_due_am, n_due_pm, n_done_am, n_done_pm, n_misplaced,
        n_anomalies
    FROM ninezero_data.quarantine_live_days
    UNION ALL
    SELECT day, site_id,
        n_admitted, n_released, n_in, n_out, n_present, n_due_am, n_due_pm, n_done_am, n_done_pm, n_misplaced,
        n_anomalies
    FROM ninezero_data.quarantine_kept
    WHERE fold IN (SELECT fold FROM ninezero_data.case_folds FINAL WHERE cases = 'quarantine')
) GROUP BY day, site_id;

CREATE VIEW IF NOT EXISTS ninezero_data.followup_live_days AS
SELECT day, district,
    sum(n_opened) AS n_opened, sum(n_visits) AS n_visits, sum(n_reached) AS n_reached, sum(n_closed) AS n_closed,
    sum(n_overdue) AS n_overdue, sum(n_open) AS n_open, sum(n_anomalies) AS n_anomalies
FROM (
    SELECT day, place AS district,
        toUInt64(a) AS n_opened, toUInt64(b) AS n_visits, toUInt64(c) AS n_reached, toUInt64(d) AS n_closed,
        toUInt64(e) AS n_overdue, toUInt64(f) AS n_open, toUInt64(g) AS n_anomalies
    FROM ninezero_data.followup_live
    ARRAY JOIN days AS day, districts AS place,
        opened AS a, visits AS b, reached AS c, closed AS d, overdue AS e, open_at_end AS f, anomalies AS g
    UNION ALL
    SELECT arrayJoin(arrayMap(n -> since + n, range(toUInt32(greatest(0, toInt32(toDate(now(), '{timezone}')) - toInt32(since) + 1))))) AS day, district,
        toUInt64(0) AS n_opened, toUInt64(0) AS n_visits, toUInt64(0) AS n_reached, toUInt64(0) AS n_closed,
        toUInt64(count()) AS n_overdue, toUInt64(count()) AS n_open, toUInt64(0) AS n_anomalies
    FROM ninezero_data.followup_live WHERE open = 1 GROUP BY since, district
) GROUP BY day, district;

CREATE VIEW IF NOT EXISTS ninezero_data.followup_days AS
SELECT day, district,
    sum(n_opened) AS n_opened, sum(n_visits) AS n_visits, sum(n_reached) AS n_reached, sum(n_closed) AS n_closed,
    sum(n_overdue) AS n_overdue, sum(n_open) AS n_open, sum(n_anomalies) AS n_anomalies
FROM (
    SELECT day, district,
        n_opened, n_visits, n_reached, n_closed, n_overdue, n_open, n_anomalies
    FROM ninezero_data.followup_live_days
    UNION ALL
    SELECT day, district,
        n_opened, n_visits, n_reached, n_closed, n_overdue, n_open, n_anomalies
    FROM ninezero_data.followup_kept
    WHERE fold IN (SELECT fold FROM ninezero_data.case_folds FINAL WHERE cases = 'followup')
) GROUP BY day, district;

-- A slot that has not ended yet is due, and is never missed.
CREATE VIEW IF NOT EXISTS ninezero.quarantine_by_day AS
SELECT day, site_id, n_admitted AS admitted, n_released AS released, n_in AS transferred_in, n_out AS transferred_out,
    n_present AS present, n_due_am + n_due_pm AS readings_due, n_done_am + n_done_pm AS readings_done,
    if(toDateTime(concat(toString(day), ' 12:00:00'), '{timezone}') <= now(), n_due_am - n_done_am, 0)
        + if(day < toDate(now(), '{timezone}'), n_due_pm - n_done_pm, 0) AS readings_missed
FROM ninezero_data.quarantine_days
WHERE n_admitted + n_released + n_in + n_out + n_present + n_due_am + n_due_pm > 0;

-- Days on which present is not present of the day before + admitted + in - released - out. Empty if all events agree.
-- `misplaced` counts transfers and releases that name a site where the case is not; two of them can cancel each other out.
CREATE VIEW IF NOT EXISTS ninezero.quarantine_balance AS
SELECT day, site_id, is_present AS present, should_be AS expected, is_present - should_be AS difference, misplaced
FROM (
    SELECT day, site_id, sum(here) AS is_present, sum(there) AS should_be, sum(wrong) AS misplaced
    FROM (
        SELECT day, site_id, toInt64(n_present) AS here,
            toInt64(n_admitted) + toInt64(n_in) - toInt64(n_released) - toInt64(n_out) AS there, n_misplaced AS wrong
        FROM ninezero_data.quarantine_days
        UNION ALL
        SELECT day + 1 AS day, site_id, toInt64(0) AS here, toInt64(n_present) AS there, toUInt64(0) AS wrong
        FROM ninezero_data.quarantine_days
    ) GROUP BY day, site_id
) WHERE (is_present != should_be OR misplaced > 0) AND day <= toDate(now(), '{timezone}');

-- Events of cases that are not open, and transfers without a destination. They count nowhere else.
CREATE VIEW IF NOT EXISTS ninezero.quarantine_anomalies_by_day AS
SELECT day, site_id, n_anomalies AS anomalies FROM ninezero_data.quarantine_days WHERE n_anomalies > 0;

CREATE VIEW IF NOT EXISTS ninezero.quarantine_occupancy AS
SELECT site_id, toUInt64(sum(room)) AS capacity, toUInt64(sum(here)) AS present, toInt64(sum(room)) - toInt64(sum(here)) AS free
FROM (
    SELECT site_id, toUInt64(capacity) AS room, toUInt64(0) AS here FROM ninezero_data.site_register FINAL
    UNION ALL
    SELECT site_id, toUInt64(0) AS room, toUInt64(count()) AS here
    FROM ninezero_data.quarantine_live WHERE open = 1 GROUP BY site_id
) GROUP BY site_id HAVING capacity > 0 OR present > 0;

CREATE VIEW IF NOT EXISTS ninezero.followups_by_day AS
SELECT day, district, n_opened AS opened, n_visits AS visits, n_reached AS reached, n_closed AS closed,
    if(day < toDate(now(), '{timezone}'), n_overdue, 0) AS overdue, n_open AS open
FROM ninezero_data.followup_days WHERE n_opened + n_visits + n_closed + n_open > 0;

CREATE VIEW IF NOT EXISTS ninezero.followup_anomalies_by_day AS
SELECT day, district, n_anomalies AS anomalies FROM ninezero_data.followup_days WHERE n_anomalies > 0;

CREATE VIEW IF NOT EXISTS ninezero.followup_closings_by_day AS
SELECT day, district, closed, sum(n) AS count
FROM (
    SELECT closed_on AS day, district, closed_as AS closed, toUInt64(count()) AS n
    FROM ninezero_data.followup_live WHERE open = 0 AND opened_on > toDate(0) GROUP BY closed_on, district, closed_as
    UNION ALL
    SELECT day, district, closed, n FROM ninezero_data.followup_closings_kept
    WHERE fold IN (SELECT fold FROM ninezero_data.case_folds FINAL WHERE cases = 'followup')
) GROUP BY day, district, closed;

-- Time from a push (its issued_at) to the first visit, by the day on which the case was opened; visited cases only.
CREATE VIEW IF NOT EXISTS ninezero_data.followup_delays AS
SELECT opened_on AS day, district, closed_on, open, first_visit - issued AS seconds
FROM (
    SELECT opened_on, district, closed_on, open, batch_id, first_visit FROM ninezero_data.followup_live
    WHERE first_visit > 0 AND batch_id != ''
) AS visited ALL INNER JOIN (
    SELECT batch_id, min(toInt64(toUInt32(issued_at))) AS issued FROM ninezero_data.push_receipts FINAL GROUP BY batch_id
) AS pushed USING (batch_id);

CREATE VIEW IF NOT EXISTS ninezero.followup_delay_by_day AS
SELECT day, district, count() AS cases, round(quantileExact(0.5)(seconds) / 3600, 2) AS median_hours,
    round(max(seconds) / 3600, 2) AS max_hours
FROM (
    SELECT day, district, seconds FROM ninezero_data.followup_delays
    UNION ALL
    SELECT day, district, seconds FROM ninezero_data.followup_delays_kept
    WHERE fold IN (SELECT fold FROM ninezero_data.case_folds FINAL WHERE cases = 'followup')
) GROUP BY day, district;
