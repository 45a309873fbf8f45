"""Random facts at size, made by ClickHouse itself, for the benchmark of the views."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import date, datetime, timedelta
from typing import Any

from ninezero.agents.logic.days import Days
from ninezero.agents.logic.policy.rules import OUTCOMES, RULES
from ninezero.agents.recording.case_tables import record_cases
from ninezero.agents.recording.projections.events import followup_fact_row, quarantine_fact_row
from ninezero.schemas.case_facts import QuarantineFact
from ninezero.schemas.row_block import Block
from ninezero.schemas.rows import FIRST_WINS, SiteRow
from ninezero.streams.clickhouse import Engine, inserts
from tests.case_events import facts, followup_event, quarantine_event

DEVICES, SITES, CASES, PLACES = 1_200, 1_000, 4_000, 40
CASES_PER_FLUSH = 500

_UNIT = 4_294_967_296.0

# The share of the day that has passed when a share `u` of its events has happened: few at night, most in the day.
_PROFILE = "multiIf(u < 0.1, u * 2.5, u < 0.45, 0.25 + (u - 0.1) * 0.5, u < 0.6, 0.425 + (u - 0.45) * 1.2, u < 0.9, 0.605 + (u - 0.6) * 0.6, 0.785 + (u - 0.9) * 2.15)"


def create_devices(engine: Engine, facts_per_day: int) -> None:
    """Creates the table of devices: how many events each makes a day, and its next number. Registers the sites."""
    engine.execute("DROP TABLE IF EXISTS default.bench_devices")
    engine.execute(
        "CREATE TABLE default.bench_devices (device UInt32, events UInt32) ENGINE = MergeTree ORDER BY device"
    )
    # The busiest device makes about ten times the events of the quietest.
    engine.execute(
        f"INSERT INTO default.bench_devices SELECT number, toUInt32({facts_per_day} / {DEVICES} * (0.2 + 1.6 * rand() / {_UNIT})) FROM system.numbers LIMIT {DEVICES}"
    )
    kinds = ["checkpoint"] * (SITES - PLACES) + ["quarantine"] * PLACES
    rows = [SiteRow(f"site-{n:04}", kind, f"3701{n % 20:02}", 200 * (kind == "quarantine"), 1) for n, kind in enumerate(kinds)]  # fmt: skip
    inserts.insert(engine, "site_register", rows)


def drop_devices(engine: Engine) -> None:
    """Removes the table of devices, which is no part of the database."""
    engine.execute("DROP TABLE IF EXISTS default.bench_devices")


def write_day(engine: Engine, day: date, number: int, days: Days, now_us: int) -> None:
    """Writes the events of the local day with a number from 0, up to now: scans, arrivals (3 %), dispositions (2 %); one in a
    thousand is lost."""
    begin_ms = days.start(day) // 1000
    engine.execute("DROP TABLE IF EXISTS default.bench_day")
    engine.execute(
        "CREATE TABLE default.bench_day ENGINE = MergeTree ORDER BY tuple() AS "
        f"SELECT {begin_ms} + toUInt32(86400000 * ({_PROFILE})) AS ms, device, events, i, seq, "
        f"concat('dev-', leftPad(toString(device), 4, '0')) AS device_id, concat('site-', leftPad(toString(intDiv(device * {SITES}, {DEVICES})), 4, '0')) AS site_id, "
        f"rand(1) % 100 AS kind_at, rand(2) % 1000 AS outcome_at, rand(3) AS digest, rand(4) % 200 = 0 AS late, 30 + toUInt32(-80 * log(1 - rand(5) / ({_UNIT} + 1))) AS lag, rand(6) AS r6, rand(7) AS r7 "
        f"FROM (SELECT device, events, i, toUInt64(events) * {number} + i AS seq, (i + rand(8) / {_UNIT}) / events AS u "
        "FROM default.bench_devices ARRAY JOIN range(events) AS i) "
        f"WHERE ms < {now_us // 1000} AND rand(9) % 1000 > 0"
    )
    scans, arrivals = "kind_at < 95", "kind_at >= 95 AND kind_at < 98"
    rules, hits = list(RULES), "outcome_at >= 920"
    array = "[" + ", ".join(f"'{rule}'" for rule in rules) + "]"
    outcomes = "[" + ", ".join(f"'{outcome}'" for outcome in (rule.outcome for rule in RULES.values())) + "]"
    rule_at = f"1 + r6 % {len(rules)}"
    columns = {
        "day": f"toDate('{day}')", "minute": "toDateTime(intDiv(ms, 60000) * 60, 'UTC')", "site_id": "site_id", "device_id": "device_id", "seq": "seq",
        "kind": f"if({arrivals}, ['air', 'rail', 'coach'][1 + r7 % 3], if(r7 % 3 = 0, 'pedestrian', 'vehicle'))",
        "direction": f"if({arrivals} OR r7 % 10 < 7, 'in', 'out')", "stage": f"if({arrivals}, ['registered', 'boarded', 'delivered'][1 + r7 % 3], '')",
        "people": "if(r7 % 3 = 0, 1, 1 + toUInt16(-0.7 * log(1 - r7 / 4294967297.)))", "outcome": f"if({hits}, {outcomes}[{rule_at}], '{OUTCOMES[-1]}')",
        "late": "late", "reasons": f"if({hits}, if(r7 % 10 = 0, [{array}[{rule_at}], {array}[{rule_at}]], [{array}[{rule_at}]]), [])",
        "policy": f"if(ms < {begin_ms} + 43200000, 'default@1', 'province@{number + 1}')", "shadow_policies": "['province@99']",
        "shadow_outcomes": f"[if(outcome_at = 0, '{OUTCOMES[0]}', if({hits} AND r7 % 7 > 0, {outcomes}[{rule_at}], '{OUTCOMES[-1]}'))]",
        "version": f"{FIRST_WINS} - ms - lag",
    }  # fmt: skip
    _insert(engine, "screening_facts", columns, f"{scans} OR {arrivals}")
    _insert(engine, "device_events", columns | {"digest": "digest"}, "1 = 1")
    override = "if(r6 % 4 = 0, ['remeasured', 'other'][1 + r6 % 2], '')"
    actions = "['released', 'turned_back', 'referred', 'sent_to_quarantine']"
    disposition = columns | {
        "of_device": "device_id", "of_seq": "greatest(seq, 3) - 1 - r7 % 3", "action": f"{actions}[1 + r7 % 4]", "override": override,
    }  # fmt: skip
    _insert(engine, "disposition_facts", disposition, f"NOT ({scans} OR {arrivals})")
    engine.execute("DROP TABLE default.bench_day")


def _insert(engine: Engine, table: str, columns: dict[str, str], where: str) -> None:
    """Inserts the day's rows into a table, which must have an expression for each of its columns."""
    names = [row["name"] for row in engine.query(f"DESCRIBE TABLE ninezero_data.{table}") if row["default_type"] == ""]
    values = ", ".join(f"{columns[name]} AS {name}_" for name in names)
    engine.execute(
        f"INSERT INTO ninezero_data.{table} ({', '.join(names)}) SELECT {values} FROM default.bench_day WHERE {where}"
    )


def write_cases(engine: Engine, days: Days, now: datetime) -> None:
    """Writes cases of the last three weeks, half of them in quarantine with two readings a day, half visited once a day."""
    rng = random.Random(1)
    for start in range(0, CASES, CASES_PER_FLUSH):
        rows: dict[str, list[Any]] = defaultdict(list)
        for n in range(start, start + CASES_PER_FLUSH):
            for case_facts in facts(list(_case(rng, n, now))).values():
                for fact in case_facts:
                    if isinstance(fact, QuarantineFact):
                        rows["quarantine_facts"].append(quarantine_fact_row(fact))
                    else:
                        rows["followup_facts"].append(followup_fact_row(fact))
        blocks = {table: Block(table, some) for table, some in rows.items()}
        record_cases(engine, blocks, days)


def _case(rng: random.Random, n: int, now: datetime) -> Any:
    begin, place = now - timedelta(hours=rng.randrange(1, 500)), f"site-{SITES - 1 - rng.randrange(PLACES):04}"
    length = min(14 * 24, int((now - begin).total_seconds() // 3600))
    make, first, report, last = (
        (quarantine_event, "admitted", {"temperature_c": rng.choice([36.5, 36.8, 38.0])}, "released")
        if n % 2
        else (followup_event, "opened", {"visit": rng.choice(["seen_well", "not_reached"])}, "closed")
    )
    kind = "reading" if n % 2 else "visit"
    events = [make(first, begin, place, n=n)]
    events += [make(kind, begin + timedelta(hours=h), place, n=n, **report) for h in range(1, length, 12 if n % 2 else 24) if rng.random() < 0.9]  # fmt: skip
    if length == 14 * 24:
        events.append(make(last, begin + timedelta(hours=length), place, n=n))
    for seq, event in enumerate(events):
        event |= {"device_id": f"case-{n:04}", "seq": seq}
        yield int(datetime.fromisoformat(event["observed_at"]).timestamp() * 1000), event
