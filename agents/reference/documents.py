"""The list of generated documents: where each lies and what writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ninezero.agents.reference import asyncapi, commands, events, metrics, push_codes, rules, settings, tables, topics

CHECKOUT = Path(__file__).resolve().parents[2]

DOCUMENTS: Mapping[str, Callable[[], str]] = {
    "docs/reference/settings.md": settings.page,
    "docs/reference/metrics.md": metrics.page,
    "docs/reference/topics.md": topics.page,
    "docs/reference/events.md": events.page,
    "docs/reference/rules.md": rules.page,
    "docs/reference/push-codes.md": push_codes.page,
    "docs/reference/tables.md": tables.page,
    "docs/reference/commands.md": commands.page,
    "schemas/asyncapi.json": asyncapi.text,
}
"""The path of each document in the checkout, and the function that returns its text."""


def write_all() -> None:
    """Writes every document."""
    for path, text in DOCUMENTS.items():
        (CHECKOUT / path).write_text(text())
