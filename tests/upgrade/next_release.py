"""Makes release N+1 from the checkout: a new format of the decisions, an optional field, a rule, and a column.

Each change replaces a text of the checkout. If the text is not there (exactly once), the change fails and names the file: adapt it then.
"""

from __future__ import annotations

from pathlib import Path


class ChangeFailed(AssertionError):
    """The text that a change replaces is not in the file exactly once."""


def change(folder: Path, file: str, *replacements: tuple[str, str]) -> None:
    """Replaces texts in a file of a release."""
    path = folder / file
    content = path.read_text()
    for old, new in replacements:
        if content.count(old) != 1:
            raise ChangeFailed(f"{file} has {content.count(old)} times, not once: {old!r}")
        content = content.replace(old, new)
    path.write_text(content)


def make_next_release(folder: Path) -> None:
    """Changes the package in a folder to that of release N+1."""
    _optional_field(folder)
    _rule(folder)
    _format(folder)
    _column(folder)


def _optional_field(folder: Path) -> None:
    """A scan may state the lane of a person."""
    change(
        folder, "schemas/events/passages.py",
        (
            "    origin: Origin | None = None\n    quality",
            '    origin: Origin | None = None\n    lane: Literal["left", "right"] | None = None\n    quality',
        ),
    )  # fmt: skip


def _rule(folder: Path) -> None:
    """A person with a confirmed fever in a lane has another rule hit. Columns cannot express it, so the reference decides such events."""
    change(
        folder, "agents/logic/policy/rules.py",
        ("    Listed,\n    Shows,\n", "    Listed,\n    PersonIs,\n    Shows,\n"),
        (
            '    Rule(\n        "fever_unconfirmed", ',
            '    Rule(\n        "fever_in_lane", "quarantine", "hold", "A fever in a lane.",\n'
            '        (SECOND_TEMPERATURE >= "fever_c") & PersonIs(lambda person: person.lane is not None),\n    ),\n'
            '    Rule(\n        "fever_unconfirmed", ',
        ),
    )  # fmt: skip


def _format(folder: Path) -> None:
    """Decisions state the release that made them: decisions/2."""
    events = "schemas/events/decisions.py"
    change(folder, events, ("    decided_ms: Millis\n", "    release: str\n    decided_ms: Millis\n"))
    with (folder / events).open("a") as file:
        file.write(
            "\n\nclass DecisionsV1(Struct, gc=False):\n    policy: PolicyLabel\n    shadows: list[PolicyLabel]\n    decided_ms: Millis\n    watchlist_version: int\n"
            "    sites: list[str]\n    decisions: list[DecisionGroup]\n"
        )
    change(
        folder, "schemas/formats/table.py",
        ("from ninezero.schemas.register import", "from ninezero.schemas.events.decisions import DecisionsV1\nfrom ninezero.schemas.register import"),
        (
            'DECISIONS = Format("decisions", Version(1, Decisions, _check_decisions))\n',
            "DECISIONS = Format(\n"
            '    "decisions",\n'
            "    Version(1, DecisionsV1, _check_decisions),\n"
            "    Version(2, Decisions, _check_decisions,\n"
            '            lambda old: Decisions(old.policy, old.shadows, "0", old.decided_ms, old.watchlist_version, old.sites, old.decisions),\n'
            "            lambda new: DecisionsV1(new.policy, new.shadows, new.decided_ms, new.watchlist_version, new.sites, new.decisions)),\n"
            ")\n",
        ),
    )  # fmt: skip
    change(
        folder, "agents/screening/decision_groups.py",
        ("partial(Decisions, labels.policy, list(labels.shadows),", 'partial(Decisions, labels.policy, list(labels.shadows), "9",'),
    )  # fmt: skip


def _column(folder: Path) -> None:
    """The facts of dead letters have the size of the record, in a column that migration 002 adds."""
    (folder / "schemas" / "sql" / "002_dead_letter_size.sql").write_text(
        "-- The size of each rejected record in bytes; 0 if it was recorded before.\n"
        "ALTER TABLE ninezero_data.dead_letter_facts ADD COLUMN IF NOT EXISTS size UInt64 DEFAULT 0;\n"
    )
    change(
        folder,
        "schemas/rows.py",
        ("    reason: str\n    at_ms: int\n", "    reason: str\n    at_ms: int\n    size: int\n"),
    )
    change(
        folder, "agents/recording/projections/events.py",
        ("            at_ms=at_ms,\n        )\n", "            at_ms=at_ms,\n            size=letter.size,\n        )\n"),
    )  # fmt: skip
