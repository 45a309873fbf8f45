"""Checks of ClickHouse: the connection, the schema and the accounts."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import SplitResult, urlsplit

from ninezero.agents.doctor.findings import Results, could_not_check, failed, ok, warning
from ninezero.agents.doctor.probe import DeploymentProbe
from ninezero.agents.logic.problems import OVERDUE_DAYS
from ninezero.agents.recording.overdue import overdue_days
from ninezero.agents.recording.sealed_days import read_sealed_days, sealed_by
from ninezero.schemas.rows import KEY_COLUMNS
from ninezero.streams.clickhouse import (
    ClickHouseDenied,
    ClickHouseError,
    Engine,
    SchemaError,
    migrations,
    schema,
    tallies,
    upgrade,
)
from ninezero.streams.settings import Settings

MANY_PARTS = 1000
"""Active parts of a partition from which ClickHouse delays inserts; from 3,000 on it rejects them."""

MAX_DIFFERENCES = 20
"""Number of differences from the expected schema that are named."""

LATE_SECONDS = 900
"""Age of the counts in s from which the recording is late, as in the alert NinezeroRecordingLate."""

_REMEDIES: dict[int | None, str] = {
    47: "run `ninezero migrate`",  # a column is missing
    60: "run `ninezero migrate`",  # a table or view is missing
    81: "run `ninezero migrate`",  # a database is missing
    497: "give the account the rights of deploy/clickhouse/accounts.sql",
}
"""What to do about an error of ClickHouse, by its code."""

ACCOUNTS = {"ninezero_writer", "ninezero_reader", "ninezero_public"}


def clickhouse(probe: DeploymentProbe) -> Results:
    """Checks that ClickHouse can be reached, that its schema is current, and the rights of its accounts."""
    try:
        with probe.database() as engine:
            version = engine.query("SELECT version() AS v")[0]["v"]
            yield ok(f"ClickHouse {version} answers")
            try:
                yield from _schema(engine, probe.settings.timezone)
            except SchemaError as error:
                found, _, todo = str(error).partition(": ")
                yield failed(found, todo)
            else:
                yield from _freshness(engine)
                yield from _overdue(engine, probe.settings)
                yield from _lost(engine)
            yield from _parts(engine)
            yield from _account(engine, urlsplit(probe.settings.clickhouse))
    except ClickHouseDenied as error:
        if error.code is None:  # the certificate or the version
            found, _, todo = str(error).partition(": ")
            yield failed(found, todo)
        else:
            yield failed(
                "ClickHouse rejects the account or its password",
                "correct NINEZERO_CLICKHOUSE; the accounts are in deploy/clickhouse",
            )
    except ClickHouseError as error:
        # The message of the driver may name the account, never the password. The address is the operator's own.
        yield failed(
            f"ClickHouse cannot be queried: {str(error)[:120]}",
            _REMEDIES.get(error.code, "start the server, or correct the address in NINEZERO_CLICKHOUSE"),
        )


def _schema(engine: Engine, timezone: str) -> Results:
    applied = migrations.read_applied(engine)
    if not applied:
        yield failed(
            "the schema does not exist, or this account may not see it",
            "run ninezero migrate with the account of the workers",
        )
        return
    migrations.check_known(applied, timezone)
    known = [migration.name for migration in migrations.migrations(timezone)]
    steps = upgrade.plan(engine, timezone).steps
    for step in steps:
        found = (
            f"half applied ({step.first} of {len(step.migration.statements)} statements)"
            if step.first
            else "not applied"
        )
        yield failed(f"the migration {step.migration.name} is {found}", "ninezero migrate")
    for newer in sorted(applied.keys() - set(known)):
        yield warning(f"the schema is newer than this program: {newer}", "upgrade ninezero on this machine")
    expected = upgrade.expected_schema(applied)
    if expected is not None:
        different = list(schema.differences(expected, schema.read_schema(engine, expected.tables.keys())))
        for found in different[:MAX_DIFFERENCES]:
            missing = found.endswith("is missing")
            yield failed(
                found, "ninezero migrate" if missing else "undo the change by hand, or restore the table from a backup"
            )
        if len(different) > MAX_DIFFERENCES:
            yield failed(f"{len(different) - MAX_DIFFERENCES} more differences in tables and views", "ninezero migrate")
        if not steps and not different:
            yield ok(f"schema at {max(applied)}, {len(expected.tables)} tables and views as the migrations made them")


def _freshness(engine: Engine) -> Results:
    found = engine.query(
        "SELECT count() AS n, min(recorded_until) AS until, dateDiff('second', min(recorded_until), now()) AS age,"
        " sum(lag_events) AS lag FROM ninezero.recording_freshness"
    )[0]
    if not int(found["n"]):
        yield warning("nothing is recorded yet", "start the recording role")
    elif int(found["age"]) > LATE_SECONDS:
        yield warning(
            f"counts are complete until {found['until']} UTC only, {int(found['lag']):,} records wait",
            "start the recording role, or see docs/runbook.md#ninezerorecordinglate",
        )
    else:
        yield ok(f"counts are complete until {found['until']} UTC")


def _parts(engine: Engine) -> Results:
    worst = engine.query(
        "SELECT max(n) AS n FROM (SELECT count() AS n FROM system.parts WHERE active AND database = 'ninezero_data' GROUP BY table, partition)"
    )
    if worst and int(worst[0]["n"] or 0) >= MANY_PARTS:
        yield warning(
            f"{worst[0]['n']} parts in a partition: ClickHouse delays inserts",
            "find out why merges are behind: disk, system.merges",
        )


def _overdue(engine: Engine, settings: Settings) -> Results:
    """Checks that facts and cases are not kept longer than allowed, and that days are published."""
    if settings.replay:  # the days of a replay ended long ago
        return
    days = overdue_days(engine, datetime.now(UTC), settings.timezone)
    problems = {task: n for task, n in days.items() if n >= OVERDUE_DAYS}
    if n := problems.get("retention"):
        yield failed(
            f"facts are {n} days older than they may be: retention fails",
            "run ninezero retain: it names the cause; the recording role repeats it every hour",
        )
    if n := problems.get("case_deletion"):
        yield failed(
            f"closed cases are {n} days older than they may be: their deletion fails",
            "run ninezero retain: it names the cause; the recording role repeats it every hour",
        )
    if n := problems.get("publishing"):
        yield warning(f"a day has waited {n} days for its publication", "run ninezero publish: it names the cause")
    if not problems:
        yield ok("no facts and no closed cases are kept too long")


def _lost(engine: Engine) -> Results:
    """Checks whether lost rows are being recorded again, and whether Kafka did not have some of them any more."""
    for table, state in sorted(tallies.read_states(engine, list(KEY_COLUMNS)).items()):
        if state.rebuild != state.epoch or not state.rebuild:
            continue
        began = datetime.fromtimestamp(state.rebuild / 1e9, UTC)
        if state.counted_to_ms < state.rebuild_ms:
            yield warning(
                f"rows of {table} were lost and are recorded again since {began:%Y-%m-%d %H:%M} UTC",
                "wait until the recording role is through, and find out why they were lost",
            )
        elif missing := tallies.missing_for_good(state, read_sealed_days(engine, sealed_by(table))):
            yield failed(
                f"{sum(missing.values()):,} rows of {table} that were lost before {began:%Y-%m-%d %H:%M} UTC are not in Kafka any more",
                f"restore the days {min(missing)} to {max(missing)} from a backup of ClickHouse",
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
            "the accounts: this account may not see them",
            "apply deploy/clickhouse/accounts.sql",
        )
        return
    if missing := sorted(ACCOUNTS - found):
        yield warning(f"accounts are missing: {', '.join(missing)}", "apply deploy/clickhouse/accounts.sql")
    else:
        yield ok("the three accounts exist")
