"""`ninezero policy`: checks, compares and shows policies, and judges recorded events by another one.

The commands that change which policy holds are in `policy_use.py`.
"""

from __future__ import annotations

import asyncio
import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer
from msgspec.structs import replace

from ninezero.agents.cli.console import CommandError, print_table, query_url
from ninezero.agents.cli.operations import policy_use
from ninezero.agents.cli.operations.policy_choice import choose, faults_of_file, names_a_known_policy
from ninezero.agents.cli.operations.policy_file import read_policy_file
from ninezero.agents.cli.operations.policy_times import now_ms
from ninezero.agents.cli.target import announce_reading
from ninezero.agents.doctor.quantities import counted
from ninezero.agents.logic.policy.differences import differences
from ninezero.agents.logic.policy.history import from_micros, is_open
from ninezero.agents.logic.policy.policy import DEFAULT, Policy, policy_of
from ninezero.agents.logic.policy.rules import OUTCOMES, RULES
from ninezero.agents.logic.policy.timeline import Timeline, Use
from ninezero.schemas.policies import HOME_OF_SITE, PolicyRecord
from ninezero.streams import settings as settings_
from ninezero.streams.deployment import clickhouse_place, kafka_place
from ninezero.streams.settings import Settings

if TYPE_CHECKING:
    from ninezero.agents.recording.backtest import Backtest

app = typer.Typer(
    help="Changes thresholds and outcomes of the screening rules, and tries changes before.", no_args_is_help=True
)

CELLS_SHOWN = 40
"""Rows of a table of days and sites. `--format csv` has all of them."""

PolicyArgument = Annotated[
    str, typer.Argument(metavar="FILE|NAME@VERSION", help="A JSON file, or a policy that is known.")
]


@app.command()
def check(file: Annotated[Path, typer.Argument(help="JSON file with a policy.")]) -> None:
    """Checks a policy file: its form, the ranges of its thresholds, the floors of its outcomes. Needs no connection."""
    read = read_policy_file(file)
    if faults := faults_of_file(read):
        for fault in faults:
            print(fault)
        raise CommandError(f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'}: correct the file")
    policy = policy_of(read.record)
    home = "the division of each site" if policy.home == HOME_OF_SITE else policy.home
    print(f"{policy.label} can be used. Its home is {home}. Compared with the built-in rules:")
    _print_differences(replace(DEFAULT, home=policy.home), policy)


@app.command()
def diff(old: PolicyArgument, new: PolicyArgument) -> None:
    """Says in sentences how the decisions of one policy differ from those of another."""
    timeline = _timeline_for(old, new)
    one, other = choose(old, timeline).policy, choose(new, timeline).policy
    print(f"from {one.label} to {other.label}:")
    _print_differences(one, other)


@app.command()
def show(
    which: Annotated[
        str | None,
        typer.Argument(metavar="[NAME@VERSION]", help="A policy that is printed as JSON, as a start for a new file."),
    ] = None,
) -> None:
    """Shows the policy in force, what comes next, and every policy with its use; or prints one policy as JSON."""
    settings = settings_.load(edge=True)
    timeline = known_policies(settings)
    if which is not None:
        print(msgspec.json.format(msgspec.json.encode(_record(which, timeline)), indent=2).decode())
        return
    print_table(list(_uses(timeline, settings)))
    for line in policy_use.situation(timeline, settings):
        print(line)


@app.command()
def backtest(
    which: PolicyArgument,
    days: Annotated[int, typer.Option(min=1, max=14, help="Number of days, the last ones that were recorded.")] = 14,
    format_: Annotated[
        Literal["table", "csv"],
        typer.Option("--format", help="Output format: table, or csv with every day, site and pair of outcomes."),
    ] = "table",
) -> None:
    """Judges the recorded events of the last days by their rules under another policy, and says what it could not judge."""
    from ninezero.agents.recording.backtest import backtest
    from ninezero.streams import clickhouse

    file = None if names_a_known_policy(which) else choose(which, None)
    url = query_url()
    timeline = known_policies(settings_.load(edge=True), clickhouse_place(url))
    policy = (file or choose(which, timeline)).policy
    engine = clickhouse.connect(url)
    try:
        result = backtest(engine.read, policy, timeline.policy, days)
    finally:
        engine.close()
    if format_ == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["day", "site_id", "old", "new", "events"])
        writer.writerows(result.cells)
        for limit in result.limits:
            print(f"not judged: {limit}", file=sys.stderr)
    else:
        _print_backtest(result, policy)


for command in (policy_use.shadow, policy_use.activate, policy_use.end):
    app.command()(command)


def _timeline_for(*words: str) -> Timeline | None:
    """Returns the policies that arguments need: those on Kafka, the built-in one alone, or None for files."""
    named = {word for word in words if names_a_known_policy(word)}
    if not named:
        return None
    from ninezero.agents.policies.policies import default_policy

    settings = settings_.load(edge=True)
    return known_policies(settings) if named != {DEFAULT.label} else Timeline(default_policy(settings), settings.replay)


def known_policies(settings: Settings, *places: str) -> Timeline:
    """Reads the policies, after it printed from which deployment."""
    from ninezero.agents.policies.snapshot import read_policies

    announce_reading(kafka_place(settings), *places)
    return asyncio.run(read_policies(settings)).history.timeline


def _print_differences(old: Policy, new: Policy) -> None:
    for line in differences(old, new) or ["no decision differs"]:
        print(f"- {line}")


def _record(name: str, timeline: Timeline) -> PolicyRecord:
    """Returns a known policy as a record. The built-in one has every rule, and no author and legal basis."""
    if name in timeline.policies:
        return timeline.policies[name]
    policy = timeline.policy(name)
    if policy is None:
        raise CommandError("no policy of this name and version is known: see ninezero policy show")
    return PolicyRecord(
        policy=policy.name,
        version=policy.version,
        author="",
        legal_basis="",
        fever_c=policy.fever_c,
        plausible_c=[policy.plausible_min_c, policy.plausible_max_c],
        max_list_age_s=policy.max_list_age_s,
        outcomes={rule.name: policy.outcome(rule) for rule in RULES.values()},
        home=policy.home,
        exempt_origins=list(policy.exempt_origins),
    )


def _uses(timeline: Timeline, settings: Settings) -> Iterator[dict[str, Any]]:
    """Yields each use of a policy, then each policy without a use, as rows of a table."""
    now, used = now_ms(), set()
    in_force = timeline.at(now).active.label
    for use in sorted(timeline.uses, key=lambda one: one.from_us):
        used.add(use.policy.label)
        record = timeline.policies.get(use.policy.label)
        yield {
            "policy": use.policy.label, "state": _state(use, now, in_force), "from": policy_use.local(from_micros(use.from_us), settings),
            "to": "" if use.to_us is None else policy_use.local(from_micros(use.to_us), settings), "author": use.author,
            "approved by": use.approved_by, "legal basis": "" if record is None else record.legal_basis,
        }  # fmt: skip
    for name, record in timeline.policies.items():
        if name not in used:
            yield {
                "policy": name, "state": "not used", "from": "", "to": "", "author": record.author, "approved by": "",
                "legal basis": record.legal_basis,
            }  # fmt: skip
    if DEFAULT.label not in used:
        state = "in force" if in_force == DEFAULT.label else "where none is active"
        yield {
            "policy": DEFAULT.label, "state": state, "from": "", "to": "", "author": "built in", "approved by": "", "legal basis": "",
        }  # fmt: skip


def _state(use: Use, now: int, in_force: str) -> str:
    """Returns the state of a use in words."""
    if use.to_us is not None and use.to_us <= use.from_us:
        return "cancelled"
    if not is_open(use, now):
        return "ended" if use.status == "active" else "shadow, ended"
    if use.from_us > now * 1000:
        return "to come" if use.status == "active" else "shadow to come"
    if use.status == "shadow":
        return "shadow"
    return "in force" if use.policy.label == in_force else "replaced"


def _print_backtest(result: Backtest, policy: Policy) -> None:
    if not result.days:
        raise CommandError("no event of these days is recorded: nothing was judged")
    total = sum(result.decided_by.values())
    by = ", ".join(f"{name} ({events:,})" for name, events in sorted(result.decided_by.items()))
    print(
        f"{total:,} events of {counted(len(result.days), 'day', 'days')}, {result.days[0]} to {result.days[-1]}, decided by {by}"
    )
    matrix = result.matrix()
    print_table(
        [
            {f"outcome (rows) → with {policy.label} (columns)": old}
            | {new: f"{matrix.get((old, new), 0):,}" for new in OUTCOMES}
            for old in OUTCOMES
        ]
    )
    changed = [cell for cell in result.cells if cell.old != cell.new]
    print(f"{sum(cell.events for cell in changed):,} events would have another outcome")
    if changed:
        print_table([cell._asdict() for cell in changed[:CELLS_SHOWN]])
    if len(changed) > CELLS_SHOWN:
        print(f"{len(changed) - CELLS_SHOWN:,} more rows: ninezero policy backtest … --format csv")
    for limit in result.limits:
        print(f"not judged: {limit}")
