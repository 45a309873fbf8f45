-- Every event of every device, from all topics, by sequence number: completeness is computed from these rows. Two contents
-- under one number are two rows. Of rows with the same content, the earliest survives.
CREATE TABLE IF NOT EXISTS ninezero_data.device_events (
    day Date, device_id String, seq UInt64, site_id String, digest UInt32, late UInt8, version UInt64
) ENGINE = ReplacingMergeTree(version) PARTITION BY day ORDER BY (device_id, seq, digest);

CREATE TABLE IF NOT EXISTS ninezero_data.disposition_facts (
    day Date, device_id String, seq UInt64, site_id String, of_device String, of_seq UInt64, action String,
    override String, version UInt64
) ENGINE = ReplacingMergeTree(version) PARTITION BY day ORDER BY (device_id, seq);
