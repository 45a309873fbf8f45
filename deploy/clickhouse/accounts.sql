-- The three accounts. Apply it as an administrator before `ninezero migrate`, and again after an upgrade:
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
-- For NINEZERO_CLICKHOUSE_CLUSTER: statements `ON CLUSTER`. Create the accounts on every replica.
GRANT CLUSTER ON *.* TO ninezero_writer;
-- For `ninezero doctor`: whether merges keep up, and whether the three accounts exist.
GRANT SELECT ON system.parts TO ninezero_writer;
GRANT SHOW USERS ON *.* TO ninezero_writer;
GRANT SELECT(name) ON system.users TO ninezero_writer;

-- Analysts of the health authority: the views, and no table behind them. A view reads with the rights of the account that created it.
GRANT SELECT ON ninezero.* TO ninezero_reader;
-- Rule, site and minute together can point to a person: this view is for the board, which reads it as ninezero_writer.
REVOKE SELECT ON ninezero.reasons_by_minute FROM ninezero_reader;

-- Everybody else: what is published.
GRANT SELECT ON ninezero_published.* TO ninezero_public;
