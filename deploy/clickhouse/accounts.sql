-- The three accounts, on a server with GRANT (20.4 and later; views with a definer, 24.2 and later). Apply it as an administrator after
-- `ninezero migrate`, and again after an upgrade. If ninezero_writer runs the migration, apply everything except the ALTERs before it:
--     clickhouse-client --multiquery < deploy/clickhouse/accounts.sql
-- Nobody can log in to these accounts until you set a password and a host:
--     ALTER USER ninezero_reader IDENTIFIED BY '…' HOST IP '10.1.0.0/16'
CREATE USER IF NOT EXISTS ninezero_writer HOST NONE;
CREATE USER IF NOT EXISTS ninezero_reader HOST NONE;
CREATE USER IF NOT EXISTS ninezero_public HOST NONE;

-- The workers and the commands.
GRANT ALL ON ninezero_data.* TO ninezero_writer;
GRANT ALL ON ninezero.* TO ninezero_writer;
GRANT ALL ON ninezero_published.* TO ninezero_writer;
-- To see whether the facts of a day changed (device_completeness).
GRANT SELECT ON system.parts TO ninezero_writer;

-- Analysts of the health authority: the views, and no table behind them.
GRANT SELECT ON ninezero.* TO ninezero_reader;

-- Everybody else: what is published.
GRANT SELECT ON ninezero_published.* TO ninezero_public;

-- A view reads with the rights of its reader, unless it has a definer. With a definer, its reader needs no right on the tables.
ALTER TABLE ninezero.sites MODIFY SQL SECURITY DEFINER DEFINER = ninezero_writer;
ALTER TABLE ninezero.screening_by_minute MODIFY SQL SECURITY DEFINER DEFINER = ninezero_writer;
ALTER TABLE ninezero.screening_by_day MODIFY SQL SECURITY DEFINER DEFINER = ninezero_writer;
ALTER TABLE ninezero.reasons_by_day MODIFY SQL SECURITY DEFINER DEFINER = ninezero_writer;
ALTER TABLE ninezero.reasons_by_minute MODIFY SQL SECURITY DEFINER DEFINER = ninezero_writer;
ALTER TABLE ninezero.arrivals_by_day MODIFY SQL SECURITY DEFINER DEFINER = ninezero_writer;
ALTER TABLE ninezero.dispositions_by_day MODIFY SQL SECURITY DEFINER DEFINER = ninezero_writer;
ALTER TABLE ninezero.device_completeness MODIFY SQL SECURITY DEFINER DEFINER = ninezero_writer;
ALTER TABLE ninezero.devices_silent MODIFY SQL SECURITY DEFINER DEFINER = ninezero_writer;
ALTER TABLE ninezero.push_batches MODIFY SQL SECURITY DEFINER DEFINER = ninezero_writer;
ALTER TABLE ninezero.watchlist_audit MODIFY SQL SECURITY DEFINER DEFINER = ninezero_writer;
ALTER TABLE ninezero.dead_letters_by_hour MODIFY SQL SECURITY DEFINER DEFINER = ninezero_writer;
ALTER TABLE ninezero.quarantine_by_day MODIFY SQL SECURITY DEFINER DEFINER = ninezero_writer;
ALTER TABLE ninezero.quarantine_balance MODIFY SQL SECURITY DEFINER DEFINER = ninezero_writer;
ALTER TABLE ninezero.quarantine_anomalies_by_day MODIFY SQL SECURITY DEFINER DEFINER = ninezero_writer;
ALTER TABLE ninezero.quarantine_occupancy MODIFY SQL SECURITY DEFINER DEFINER = ninezero_writer;
ALTER TABLE ninezero.followups_by_day MODIFY SQL SECURITY DEFINER DEFINER = ninezero_writer;
ALTER TABLE ninezero.care_alerts_by_day MODIFY SQL SECURITY DEFINER DEFINER = ninezero_writer;
ALTER TABLE ninezero.followup_anomalies_by_day MODIFY SQL SECURITY DEFINER DEFINER = ninezero_writer;
ALTER TABLE ninezero.followup_closings_by_day MODIFY SQL SECURITY DEFINER DEFINER = ninezero_writer;
ALTER TABLE ninezero.followup_delay_by_day MODIFY SQL SECURITY DEFINER DEFINER = ninezero_writer;
