"""A backtest: the outcomes that recorded events would have had under another policy.

The facts name the rules that applied to each event, with its first decision, so their outcomes can be judged again. What was never
recorded cannot: the readings, the origins, and the rules that did not apply because their outcome was `clear`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import NamedTuple

from ninezero.agents.logic.policy.policy import Policy
from ninezero.agents.logic.policy.rules import OUTCOMES, RULES
from ninezero.agents.recording.retention import KEPT_DAYS
from ninezero.streams.clickhouse.engine import Row

Ask = Callable[[str], list[Row]]
"""Returns the rows of a query, as `Engine.read` does."""

MAX_DAYS = KEPT_DAYS
"""Greatest number of days of a backtest."""

_ASCENDING = list(reversed(OUTCOMES))
"""Every outcome, least severe first."""

_SETTINGS = [name for name in Policy.__struct_fields__ if name not in ("name", "version", "outcomes")]
"""What a policy states beside the outcomes of the rules."""


class Cell(NamedTuple):
    """The number of events of a local day and site that had the outcome `old` and would have the outcome `new`."""

    day: date
    site_id: str
    old: str
    new: str
    events: int


class Backtest(NamedTuple):
    """The result of a backtest. Passages and arrivals count, each once, with its first decision."""

    days: list[date]
    """The judged days: the last ones that have events and are not sealed."""
    decided_by: dict[str, int]
    """The number of events by the policy (NAME@VERSION) that decided them."""
    cells: list[Cell]
    """The matrix by day and site, without empty cells, in the order of day, site and outcomes."""
    limits: list[str]
    """What could not be judged, in sentences; empty if everything could."""

    def matrix(self) -> dict[tuple[str, str], int]:
        """Returns the number of events by old and new outcome, over all days and sites."""
        found: Counter[tuple[str, str]] = Counter()
        for cell in self.cells:
            found[cell.old, cell.new] += cell.events
        return dict(found)


def backtest(ask: Ask, policy: Policy, known: Callable[[str], Policy | None], days: int = MAX_DAYS) -> Backtest:
    """Judges the events of the last days by their rules under another policy.

    Args:
        ask: runs a query.
        policy: the other policy.
        known: returns a policy by its label, or None; see `Timeline.policy`.
        days: the number of days, from 1 to MAX_DAYS; sealed days and those without events are not counted.

    Raises:
        ClickHouseError: a query failed.
        ValueError: the number of days is out of range, or this release cannot apply the policy.
    """
    policy.rules()
    if not 1 <= days <= MAX_DAYS:
        raise ValueError(f"the number of days must be from 1 to {MAX_DAYS}")
    found = ask(
        "SELECT DISTINCT day FROM ninezero_data.screening_facts"
        f" WHERE day NOT IN (SELECT day FROM ninezero_data.sealed_days) ORDER BY day DESC LIMIT {days}"
    )
    judged = sorted(date.fromisoformat(row["day"]) for row in found)
    cells: Counter[tuple[date, str, str, str]] = Counter()
    decided_by: Counter[str] = Counter()
    unknown = 0
    for row in ask(_query(policy, judged)) if judged else ():
        cells[date.fromisoformat(row["day"]), row["site_id"], row["old"], row["new"]] += int(row["events"])
        decided_by[row["policy"]] += int(row["events"])
        unknown += int(row["unknown"])
    limits = list(_limits(policy, known, decided_by))
    if unknown:
        limits.append(
            f"{unknown:,} events have a rule that this release does not know: they keep at least their outcome"
        )
    return Backtest(
        judged, dict(decided_by), [Cell(*key, events) for key, events in sorted(cells.items(), key=_order)], limits
    )


def _order(cell: tuple[tuple[date, str, str, str], int]) -> tuple[date, str, int, int]:
    day, site_id, old, new = cell[0]
    return day, site_id, OUTCOMES.index(old), OUTCOMES.index(new)


def _query(policy: Policy, days: list[date]) -> str:
    """Returns the query of the matrix. The events of a site and day with the same rules are judged together."""
    rules = list(RULES)
    ranks = [_ASCENDING.index(policy.outcome(rule)) + 1 for rule in RULES.values()]
    rank_of_rule = f"transform(toString(rule), {rules}, {ranks}, indexOf({_ASCENDING}, toString(outcome)))"
    listed = ", ".join(f"toDate('{day}')" for day in days)
    return (
        "SELECT day, toString(site_id) AS site_id, toString(policy) AS policy, toString(outcome) AS old,"
        f" {_ASCENDING}[greatest(1, arrayMax(arrayMap(rule -> {rank_of_rule}, reasons)))] AS new, sum(decided) AS events,"
        f" sumIf(decided, arrayExists(rule -> toString(rule) NOT IN {tuple(rules)}, reasons)) AS unknown"
        " FROM (SELECT day, site_id, policy, outcome, reasons, count() AS decided FROM ninezero_data.screening_facts FINAL"
        f" WHERE day IN ({listed}) GROUP BY day, site_id, policy, outcome, reasons)"
        " GROUP BY day, site_id, policy, old, new"
    )


def _limits(policy: Policy, known: Callable[[str], Policy | None], decided_by: Mapping[str, int]) -> Iterator[str]:
    """Yields what the facts do not contain, for each policy that decided events."""
    for label, events in sorted(decided_by.items()):
        former = known(label)
        if former is None:
            yield f"{label}, which decided {events:,} events, is not known here: only its outcomes are judged again"
            continue
        for name in _SETTINGS:
            before, after = getattr(former, name), getattr(policy, name)
            if before != after:
                yield f"{name} is {_text(after)}, but {label} judged {events:,} events with {_text(before)}: that is not judged again"
        for rule in RULES.values():
            if former.outcome(rule) == "clear" != policy.outcome(rule):
                yield f"{rule.name} is {policy.outcome(rule)}, but clear in {label}: to which of its {events:,} events it applies is not known"


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "empty"
    return f"{value:g}" if isinstance(value, float) else str(value)
