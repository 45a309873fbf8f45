"""`ninezero policy activate`, `shadow` and `end`: state from when to when a policy is used.

What workers would refuse is refused before anything is written, by the same fold over the records. After an interruption the same
command writes the rest.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from ninezero.agents.cli.console import ByOption, CommandError, identifier
from ninezero.agents.cli.operations.policy_choice import Choice, choose, names_a_known_policy
from ninezero.agents.cli.operations.policy_times import NOW_SECONDS, now_ms, parse_time, show_time, soon
from ninezero.agents.cli.target import announce_kafka
from ninezero.agents.logic.policy.differences import differences
from ninezero.agents.logic.policy.history import (
    History,
    NewRecord,
    first_ms,
    from_micros,
    is_open,
    last_use,
    records_to_use,
)
from ninezero.agents.logic.policy.policy import Policy
from ninezero.agents.logic.policy.timeline import NOTICE_SECONDS, Status, Timeline, Use
from ninezero.schemas.policies import PolicyUse, use_key
from ninezero.schemas.register import CurrentPolicy
from ninezero.schemas.times import unix_micros
from ninezero.streams import settings as settings_
from ninezero.streams.settings import Settings

if TYPE_CHECKING:
    from ninezero.agents.policies.snapshot import PoliciesSnapshot

WhichArgument = Annotated[
    str, typer.Argument(metavar="FILE|NAME@VERSION", help="A JSON file, or a policy that is known.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do it without a question.")]
_TIME = f"now (in {NOW_SECONDS} seconds), or a time with its offset such as 2026-12-31T08:00:00+08:00."


def activate(
    which: WhichArgument,
    from_: Annotated[str, typer.Option("--from", metavar="TIME", help=f"When it takes effect: {_TIME}")],
    by: ByOption,
    yes: YesOption = False,
) -> None:
    """Makes a policy the one that decides, from a time on. Somebody else than its author states it."""
    _begin(which, "active", from_, by, yes)


def shadow(
    which: WhichArgument,
    by: ByOption,
    from_: Annotated[str, typer.Option("--from", metavar="TIME", help=f"When it begins: {_TIME}")] = "now",
) -> None:
    """Evaluates a policy beside the one that decides, so that its outcomes are counted. Nobody at a gate notices it."""
    _begin(which, "shadow", from_, by, yes=True)


def end(
    which: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="A policy that is active or a shadow.")],
    by: ByOption,
    at: Annotated[
        str, typer.Option("--at", metavar="TIME", help=f"When it ends: {_TIME} A shadow ends immediately.")
    ] = "now",
    yes: YesOption = False,
) -> None:
    """Ends the use of a policy, or cancels one that has not begun. It says what holds afterwards."""
    who, when = identifier("--by", by), parse_time("--at", at)
    if not names_a_known_policy(which):
        raise CommandError("name the policy as NAME@VERSION, as ninezero policy show shows it")
    settings = settings_.load(edge=True)
    announce_kafka(settings)
    history = _read(settings).history
    policy = choose(which, history.timeline).policy
    use = last_use(history.timeline, policy.label)
    if use is None:
        raise CommandError("the policy is not used, so there is nothing to end: see ninezero policy show")
    if not is_open(use, now_ms()):
        print(f"{policy.label} {_ended(use, settings)}: nothing is to be done")
        return
    if use.to_us is not None and _ends_then(use.to_us, when, settings.replay):
        print(f"{policy.label} already ends at {show_time(from_micros(use.to_us), settings.timezone)}")
        return
    record = _end_of(use, when, who, settings.replay)
    _describe_end(history, use, record, settings)
    if use.status == "active" and not yes:
        _ask("End it?")
        record = _end_of(use, when, who, settings.replay)
    ended = _write(settings, history, [record], policy)
    print(f"{policy.label} {_ended(ended, settings)}")


def _begin(which: str, status: Status, from_: str, by: str, yes: bool) -> None:
    """States that a policy is used from a time on, unless that was stated before."""
    who, when = identifier("--by", by), parse_time("--from", from_)
    file = None if names_a_known_policy(which) else choose(which, None)
    settings = settings_.load(edge=True)
    announce_kafka(settings)
    snapshot = _read(settings)
    history = snapshot.history
    choice = file or choose(which, history.timeline)
    use = _use(history, choice.policy, status, when, who)
    records = records_to_use(history, choice.record, choice.policy, use, now_ms())
    if records:
        _describe_begin(history, choice, use, records, settings)
        if not yes:
            _ask("Activate it?")
            use = _use(history, choice.policy, status, when, who)
            records = records_to_use(history, choice.record, choice.policy, use, now_ms())
        _write(settings, history, records, choice.policy)
    else:
        print(f"{choice.policy.label} was stated before, with the same times")
    if status == "active":
        _state_current(settings, snapshot, choice.policy, who)
    verb = "takes effect" if status == "active" else "begins as a shadow"
    print(f"{choice.policy.label} {verb} at {show_time(use.effective_from, settings.timezone)}")
    if use.effective_to is not None:
        print(f"it ends at {show_time(use.effective_to, settings.timezone)}")


def _use(history: History, policy: Policy, status: Status, when: datetime | None, by: str) -> PolicyUse:
    """Returns the use that a command states. `now` is the time of an interruption before, if the use was written by then.

    Raises:
        CommandError: the time has passed, or the use would replace one that was stated for another purpose.
    """
    last, present = last_use(history.timeline, policy.label), now_ms()
    begin = when or soon(history.replay)
    if last is not None and is_open(last, present):
        if last.status == "active" != status and last.from_us > present * 1000:
            raise CommandError(
                f"{policy.label} becomes active later: end that first (ninezero policy end {policy.label})"
            )
        begins = from_micros(last.from_us)
        if last.status == status and (when == begins or (when is None and begins <= begin)):
            return PolicyUse(status, begins, None if last.to_us is None else from_micros(last.to_us), by)
    if when is not None and first_ms(when) < present and not history.replay:
        raise CommandError("--from has passed: choose a later time, since what was decided is not judged again")
    return PolicyUse(status, begin, None, by)


def _end_of(use: Use, when: datetime | None, by: str, replay: bool) -> NewRecord:
    """Returns the record that ends a use.

    Raises:
        CommandError: the time is too early.
    """
    at, begins = when or soon(replay), from_micros(use.from_us)
    notice = timedelta(seconds=NOTICE_SECONDS if use.status == "active" else 0)
    if at <= begins or (
        when is None and not replay and (use.status == "shadow" or begins >= datetime.now(UTC) + notice)
    ):
        at = begins  # it is cancelled; or it is a shadow that has begun, which ends when this is written
    elif when is not None and not replay and when < datetime.now(UTC) + notice:
        ahead = f"be at least {NOTICE_SECONDS} seconds ahead" if notice else "not have passed"
        raise CommandError(f"--at must {ahead}: write a later time, or now")
    key = use_key(use.policy.name, use.policy.version)
    return NewRecord(key, PolicyUse(use.status, begins, at, by))


def _ends_then(to_us: int, when: datetime | None, replay: bool) -> bool:
    """Returns whether an end that was stated before is the one that a command states again."""
    return to_us <= unix_micros(soon(replay)) if when is None else to_us == unix_micros(when)


def _describe_begin(
    history: History, choice: Choice, use: PolicyUse, records: list[NewRecord], settings: Settings
) -> None:
    """Prints what follows if a use is written.

    Raises:
        CommandError: workers would refuse it.
    """
    outlook, begin_ms, name = _outlook(history, records), first_ms(use.effective_from), choice.policy.label
    if use.status == "shadow":
        print(f"{name} is evaluated beside the policy that decides, which stays as it is")
        return
    before, then = history.timeline.at(begin_ms - 1).active, outlook.at(begin_ms).active
    print(f"{name} decides from {show_time(use.effective_from, settings.timezone)}")
    last = last_use(history.timeline, name)
    if last is not None and is_open(last, now_ms()) and last.from_us > now_ms() * 1000:
        print(f"it was to begin at {show_time(from_micros(last.from_us), settings.timezone)}; that is replaced")
    if then.label != name:
        print(f"but {then.label} was activated for a later time and decides then")
    if any(record.key == use_key(choice.policy.name, choice.policy.version) for record in records[:-1]):
        print("it is a shadow now, which ends when this is written")
    if before.label != name:
        print(f"compared with {before.label}, which decides until then:")
        for line in differences(before, choice.policy) or ["no decision differs"]:
            print(f"- {line}")
    following = outlook.next_change(begin_ms)
    while following is not None and outlook.at(following).active.label == name:
        following = outlook.next_change(following)
    if following is not None:
        after = outlook.at(following).active.label
        print(f"it decides until {show_time(from_micros(following * 1000), settings.timezone)}; then {after} does")


def _describe_end(history: History, use: Use, record: NewRecord, settings: Settings) -> None:
    """Prints what holds after a use has ended.

    Raises:
        CommandError: workers would refuse the end.
    """
    outlook, name = _outlook(history, [record]), use.policy.label
    ended = last_use(outlook, name)
    assert ended is not None and ended.to_us is not None
    if use.status == "shadow":
        print("the policy that decides stays as it is")
        return
    end = from_micros(ended.to_us)
    at_ms = first_ms(end)
    before, after = history.timeline.at(at_ms).active, outlook.at(at_ms).active
    print(f"after {show_time(end, settings.timezone)}, {after.label} decides")
    for line in differences(before, after) or ["no decision differs"]:
        print(f"- {line}")


def _ended(use: Use, settings: Settings) -> str:
    """Returns when a use that has an end ends."""
    assert use.to_us is not None
    if use.to_us <= use.from_us:
        return f"is cancelled: it would begin at {show_time(from_micros(use.from_us), settings.timezone)}"
    verb = "ends" if use.to_us > now_ms() * 1000 else "ended"
    return f"{verb} at {show_time(from_micros(use.to_us), settings.timezone)}"


def _outlook(history: History, records: list[NewRecord]) -> Timeline:
    """Returns the policies as they will be.

    Raises:
        CommandError: workers would refuse a record.
    """
    outlook = history.after(records, now_ms())
    if outlook.refusal is not None:
        raise CommandError(f"nothing was written: {outlook.refusal.sentence}")
    return outlook.timeline


def _ask(question: str) -> None:
    """Asks on a terminal whether to go on.

    Raises:
        CommandError: the answer is no, or there is no terminal.
    """
    if not sys.stdin.isatty():
        raise CommandError("nothing was written: repeat the command with --yes to accept that")
    if not typer.confirm(question):
        raise CommandError("nothing was written")


def _write(settings: Settings, history: History, records: list[NewRecord], policy: Policy) -> Use:
    """Writes records, and returns the use of the policy as workers accept it.

    Raises:
        CommandError: workers refuse one of them.
    """
    from ninezero.streams.kafka.statements import state_policies

    _outlook(history, records)
    state_policies(settings, records)
    timeline = _read(settings).history.timeline
    refused = timeline.refused[len(history.timeline.refused) :]
    if refused:
        raise CommandError(f"it was written and has no effect: {refused[0].sentence}")
    use = last_use(timeline, policy.label)
    assert use is not None
    return use


def _state_current(settings: Settings, snapshot: PoliciesSnapshot, policy: Policy, by: str) -> None:
    """States on the register which policy was activated last, so that workers notice if the topic `policies` loses it."""
    from ninezero.streams.kafka.statements import state

    current = snapshot.statements.current_policy
    if current is None or (current.policy, current.version) != (policy.name, policy.version):
        state(settings, CurrentPolicy(policy.name, policy.version, by, datetime.now(UTC)))


def _read(settings: Settings) -> PoliciesSnapshot:
    from ninezero.agents.policies.snapshot import read_policies

    return asyncio.run(read_policies(settings))


def local(when: datetime, settings: Settings) -> str:
    """Returns the local time of the deployment for a table."""
    return f"{when.astimezone(ZoneInfo(settings.timezone)):%Y-%m-%d %H:%M:%S}"


def situation(timeline: Timeline, settings: Settings) -> Iterator[str]:
    """Yields what is in force now, what comes next, and which records have no effect."""
    now = now_ms()
    in_force = timeline.at(now)
    yield f"in force now: {in_force.active.label}"
    if in_force.unknown is not None:
        yield "this release cannot apply it, so no worker of this release is ready"
    if in_force.shadows:
        yield f"evaluated beside it: {', '.join(one.label for one in in_force.shadows)}"
    following = timeline.next_change(now)
    if following is None:
        yield "no change is planned"
    else:
        then = timeline.at(following)
        beside = f", beside it {', '.join(one.label for one in then.shadows)}" if then.shadows else ""
        yield f"next: {then.active.label}{beside}, at {show_time(from_micros(following * 1000), settings.timezone)}"
    for one in timeline.refused:
        yield f"a record of {local(from_micros(one.kafka_ms * 1000), settings)} has no effect: {one.sentence}"
