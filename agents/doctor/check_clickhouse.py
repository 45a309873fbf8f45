"""Checks of ClickHouse: the connection, the schema and the accounts."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from ninezero.agents.doctor.findings import Results, could_not_check, failed, ok, warning
from ninezero.agents.doctor.probe import DeploymentProbe
from ninezero.streams.clickhouse import ClickHouseDenied, ClickHouseError, Engine, migrations

MANY_PARTS = 1000
"""Active parts of a partition from which ClickHouse delays inserts; from 3,000 on it rejects them."""

ACCOUNTS = {"ninezero_writer", "ninezero_reader", "ninezero_public"}


def clickhouse(probe: DeploymentProbe) -> Results:
    """Checks that ClickHouse can be reached, that its schema is current, and the rights of its accounts."""
    try:
        with probe.database() as engine:
            version = engine.query("SELECT version() AS v")[0]["v"]
            yield ok(f"ClickHouse {version} answers")
            yield from _schema(engine)
            yield from _timezone(engine, probe.settings.timezone)
            yield from _account(engine, urlsplit(probe.settings.clickhouse))
    except ClickHouseDenied:
        yield failed(
            "ClickHouse rejects the account or its password",
            "correct NINEZERO_CLICKHOUSE; the accounts are in deploy/clickhouse",
        )
    except ClickHouseError as error:
        # The message of the driver may name the account, never the password. The address is the operator's own.
        yield failed(
            f"ClickHouse cannot be queried: {str(error)[:120]}",
            "start the server, or correct the address in NINEZERO_CLICKHOUSE",
        )


def _schema(engine: Engine) -> Results:
    wanted = {path.stem for path in migrations.SQL_FOLDER.glob("*.sql")}
    try:
        present = {row["name"] for row in engine.query("SELECT name FROM ninezero_data.schema_migrations")}
    except ClickHouseError:
        yield failed(
            "the schema does not exist, or this account may not see it",
            "run ninezero migrate with the account of the workers",
        )
        return
    if missing := sorted(wanted - present):
        yield failed(f"the schema is behind: {', '.join(missing)}", "ninezero migrate")
    elif newer := sorted(present - wanted):
        yield warning(f"the schema is newer than this program: {', '.join(newer)}", "upgrade ninezero on this machine")
    else:
        yield ok(f"schema at {max(wanted)}")
    worst = engine.query(
        "SELECT max(n) AS n FROM (SELECT count() AS n FROM system.parts WHERE active AND database = 'ninezero_data' GROUP BY table, partition)"
    )
    if worst and int(worst[0]["n"] or 0) >= MANY_PARTS:
        yield warning(
            f"{worst[0]['n']} parts in a partition: ClickHouse delays inserts",
            "find out why merges are behind: disk, system.merges",
        )


def _timezone(engine: Engine, timezone: str) -> Results:
    """The views contain the time zone of the `ninezero migrate` that created them; the workers use the setting."""
    try:
        statement = engine.query("SHOW CREATE TABLE ninezero.quarantine_by_day")[0]["statement"]
    except ClickHouseError:
        return  # without a schema, _schema has failed
    created = re.search(r"toDate\(now\(\), '([^']+)'\)", statement)
    if created is None:
        yield could_not_check("the time zone of the views", "report it")
    elif created[1] != timezone:
        yield failed(
            f"the days of the views are those of {created[1]}, but NINEZERO_TIMEZONE is {timezone}: counts of cases are wrong",
            f"set NINEZERO_TIMEZONE={created[1]} everywhere",
        )


def _account(engine: Engine, url: SplitResult) -> Results:
    if url.scheme == "chdb":
        yield warning(
            "the database is embedded and has no accounts: users who may read the folder can read everything",
            "use a ClickHouse server for anything but a trial",
        )
        return
    if (url.username or "default") == "default":
        yield warning(
            "the workers use the account default, which may do everything", "use ninezero_writer: deploy/clickhouse"
        )
    locked = engine.query("SELECT value FROM system.settings WHERE name = 'readonly'")
    if locked and locked[0]["value"] != "0":
        yield failed(
            "this account may only read: the recording role cannot write with it",
            "use ninezero_writer in NINEZERO_CLICKHOUSE",
        )
    try:
        found = {row["name"] for row in engine.query("SELECT name FROM system.users WHERE name LIKE 'ninezero_%'")}
    except ClickHouseError:
        yield could_not_check(
            "the accounts: this server does not list them, or this account may not see them",
            "compare them with deploy/clickhouse by hand",
        )
        return
    if missing := sorted(ACCOUNTS - found):
        yield warning(f"accounts are missing: {', '.join(missing)}", "apply deploy/clickhouse/accounts.sql")
    else:
        yield ok("the three accounts exist")
