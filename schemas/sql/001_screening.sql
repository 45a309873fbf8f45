-- Facts and rollups are in ninezero_data, the views for analysts in ninezero: on every server, rights can be limited to a
-- database. All statements run on ClickHouse 18.16 and later, and embedded.
CREATE DATABASE IF NOT EXISTS ninezero_data;
CREATE DATABASE IF NOT EXISTS ninezero;

-- One row for each screened event, with its first decision: version = 2^43 - decided_at in ms, so the earliest decision
-- survives whatever the order of inserts.
CREATE TABLE IF NOT EXISTS ninezero_data.screening_facts (
    day Date, minute DateTime('UTC'), site_id String, device_id String, seq UInt64, kind String, direction String,
    stage String, people UInt16, outcome String, late UInt8, reasons Array(String), version UInt64
) ENGINE = ReplacingMergeTree(version) PARTITION BY day ORDER BY (minute, site_id, device_id, seq);

-- Absolute counts of a minute, recomputed from all its facts; version = sum of the facts' versions, which only grows.
CREATE TABLE IF NOT EXISTS ninezero_data.screening_rollup (
    day Date, minute DateTime('UTC'), site_id String, kind String, direction String, stage String, version UInt64,
    n_events UInt32, n_people UInt32, n_clear UInt32, n_refer UInt32, n_quarantine UInt32, n_turn_back UInt32, n_hold UInt32,
    r_no_identity UInt32, r_unknown_key UInt32, r_list_stale UInt32, r_confirmed_case UInt32, r_suspected_case UInt32, r_quarantine_order UInt32, r_close_contact UInt32, r_risk_region_arrival UInt32, r_weak_match UInt32, r_health_code_red UInt32, r_health_code_yellow UInt32, r_no_temperature UInt32, r_temperature_implausible UInt32, r_fever UInt32, r_fever_unconfirmed UInt32, r_outside_province_without_pass UInt32, r_outside_district_without_pass UInt32
) ENGINE = ReplacingMergeTree(version) PARTITION BY toYYYYMM(day) ORDER BY (minute, site_id, kind, direction, stage);

CREATE TABLE IF NOT EXISTS ninezero_data.push_receipts (
    batch_id String, authority String, list String, category String, mode String, status String, code String,
    lines_declared UInt32, accepted UInt32, duplicate UInt32, rejected UInt32, withdrawn UInt32,
    issued_at DateTime('UTC'), version UInt64
) ENGINE = ReplacingMergeTree(version) ORDER BY (authority, batch_id);

-- Who pushed, withdrew or confirmed a batch. A receipt that is recorded twice gives the same row.
CREATE TABLE IF NOT EXISTS ninezero_data.push_audit (
    at DateTime('UTC'), who String, action String, batch_id String, authority String, list String, lines UInt32
) ENGINE = ReplacingMergeTree ORDER BY (authority, batch_id, action, at, who);

CREATE TABLE IF NOT EXISTS ninezero_data.dead_letter_facts (
    hour DateTime('UTC'), topic String, partition UInt32, offset UInt64, sha256 String, reason String, at_ms UInt64
) ENGINE = ReplacingMergeTree ORDER BY (topic, partition, offset, sha256, at_ms);

CREATE TABLE IF NOT EXISTS ninezero_data.site_register (
    site_id String, kind String, division String, capacity UInt32, version UInt64
) ENGINE = ReplacingMergeTree(version) ORDER BY site_id;

-- The offset up to which each partition is recorded, its rebuild (refill), and the keys of the last inserted rows (held):
-- if those rows are missing, facts were lost (streams/clickhouse/progress.py). A topic that was deleted and created again has
-- another id.
CREATE TABLE IF NOT EXISTS ninezero_data.recorder_progress (
    topic String, topic_id String, partition UInt32, next_offset UInt64, refill UInt64, held String
) ENGINE = ReplacingMergeTree(next_offset) ORDER BY (topic, topic_id, partition, refill);

CREATE VIEW IF NOT EXISTS ninezero.sites AS
SELECT site_id, kind, division, capacity FROM ninezero_data.site_register FINAL;

CREATE VIEW IF NOT EXISTS ninezero.screening_by_minute AS
SELECT minute, site_id, sum(n_events) AS passages, sum(n_people) AS people, sum(n_clear) AS clear, sum(n_refer) AS refer, sum(n_quarantine) AS quarantine, sum(n_turn_back) AS turn_back, sum(n_hold) AS hold,
    sum(r_fever) AS fevers
FROM ninezero_data.screening_rollup FINAL WHERE stage = '' GROUP BY minute, site_id;

CREATE VIEW IF NOT EXISTS ninezero.screening_by_day AS
SELECT day, site_id, kind, direction, sum(n_events) AS passages, sum(n_people) AS people,
    sum(n_clear) AS clear, sum(n_refer) AS refer, sum(n_quarantine) AS quarantine, sum(n_turn_back) AS turn_back, sum(n_hold) AS hold, sum(r_fever) AS fevers
FROM ninezero_data.screening_rollup FINAL WHERE stage = '' GROUP BY day, site_id, kind, direction;

CREATE VIEW IF NOT EXISTS ninezero.reasons_by_day AS
SELECT day, site_id, tupleElement(reason, 1) AS rule, sum(tupleElement(reason, 2)) AS count
FROM (
    SELECT day, site_id, arrayJoin([
        ('no_identity', r_no_identity), ('unknown_key', r_unknown_key), ('list_stale', r_list_stale), ('confirmed_case', r_confirmed_case), ('suspected_case', r_suspected_case), ('quarantine_order', r_quarantine_order), ('close_contact', r_close_contact), ('risk_region_arrival', r_risk_region_arrival), ('weak_match', r_weak_match), ('health_code_red', r_health_code_red), ('health_code_yellow', r_health_code_yellow), ('no_temperature', r_no_temperature), ('temperature_implausible', r_temperature_implausible), ('fever', r_fever), ('fever_unconfirmed', r_fever_unconfirmed), ('outside_province_without_pass', r_outside_province_without_pass), ('outside_district_without_pass', r_outside_district_without_pass)
    ]) AS reason
    FROM ninezero_data.screening_rollup FINAL
) WHERE tupleElement(reason, 2) > 0 GROUP BY day, site_id, rule;

CREATE VIEW IF NOT EXISTS ninezero.arrivals_by_day AS
SELECT day, site_id, kind AS mode, stage, sum(n_people) AS people
FROM ninezero_data.screening_rollup FINAL WHERE stage != '' GROUP BY day, site_id, mode, stage;

CREATE VIEW IF NOT EXISTS ninezero.push_batches AS
SELECT batch_id, authority, list, category, mode, status, code, lines_declared, accepted, duplicate, rejected, withdrawn,
    issued_at
FROM ninezero_data.push_receipts FINAL;

CREATE VIEW IF NOT EXISTS ninezero.watchlist_audit AS
SELECT at, who, action, batch_id, authority, list, lines FROM ninezero_data.push_audit FINAL;

CREATE VIEW IF NOT EXISTS ninezero.dead_letters_by_hour AS
SELECT hour, topic, reason, count() AS records FROM ninezero_data.dead_letter_facts FINAL GROUP BY hour, topic, reason;
