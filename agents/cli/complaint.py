"""`ninezero watchlist explain`: what the lists say about one document, for a complaint."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ninezero.agents.cli.console import CommandError, print_table
from ninezero.streams import settings as settings_

if TYPE_CHECKING:
    from ninezero.agents.logic.watchlist.entries import Entry
    from ninezero.streams.edge.documents.key_ring import KeyRing

KINDS = {
    "id": "identity card or residence permit 身份证: the number",
    "passport": "passport 护照: issuing state / number, as in the machine-readable lines, such as CHN/E00000000",
    "pass": "health pass 健康通行证: the number",
    "phone": "phone 电话: the number",
    "plate": "plate 车牌: the plate",
}


def explain(
    kind: Annotated[
        str, typer.Option("--kind", metavar="KIND", help=f"Kind of document: {', '.join(KINDS)}. Asked for without it.")
    ] = "",
) -> None:
    """Asks for a document on a terminal, without showing it, and says which lists have it. Stores nothing.

    It needs the key ring (NINEZERO_KEYS) and a Kafka user that reads the lists: run it as an operator, at the authority.
    """
    from ninezero.agents.watchlist.complaint import look_up
    from ninezero.streams.edge.documents.key_ring import KeyRing

    settings = settings_.load(edge=True, also_needed=("NINEZERO_KEYS",))
    if kind and kind not in KINDS:
        raise CommandError(f"--kind must be one of {', '.join(KINDS)}")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CommandError(
            "run this on a terminal: the document is typed at a prompt, so that it is in no argument, file or history"
        )
    if settings.keys is None:
        raise settings_.not_set("NINEZERO_KEYS")
    ring = KeyRing.load(settings.keys)
    kind = kind or _ask_kind()
    tokens = _tokens(kind, ring)
    answer = asyncio.run(
        look_up(settings, kind, tokens, [key.key_id for key in ring.describe()], settings.max_list_age)
    )
    now_us = int(datetime.now(UTC).timestamp() * 1_000_000)
    if answer.listed:
        print_table([_row(listed.entry, listed.former_ids, now_us) for listed in answer.listed])
        print(
            "who pushed a batch: ninezero watchlist audit --batch-id BATCH_ID; its legal basis: ask the authority of the batch"
        )
        print("to take a wrong entry off, the authority runs: ninezero push FILE --withdraw --reason mistake")
    if answer.not_checked:
        for gap in answer.not_checked:
            print(f"could not check: {gap}")
        rest = "there may be more entries than these" if answer.listed else "do not read this as not listed"
        raise CommandError(f"could not check all lists: {rest}; run ninezero doctor lists keys")
    if not answer.listed:
        print(f"not listed: none of the {answer.lists:,} lists has this document")


def _ask_kind() -> str:
    for number, (kind, meaning) in enumerate(KINDS.items(), 1):
        print(f"  {number}  {kind}: {meaning}")
    numbers = {str(number): kind for number, kind in enumerate(KINDS, 1)}
    while True:
        answer = _answer("Kind of document: ")
        if answer in KINDS or answer in numbers:
            return numbers.get(answer, answer)


def _tokens(kind: str, ring: KeyRing) -> list[str]:
    """Asks for the number until it can be read, and returns its tokens. What is typed is neither shown nor kept."""
    from ninezero.streams.edge.documents.checks import check
    from ninezero.streams.edge.documents.flag_reasons import REASONS
    from ninezero.streams.edge.documents.normal_forms import Domain, normal_form

    domain = cast(Domain, kind)
    while True:
        try:
            typed = getpass.getpass(f"{KINDS[kind]} (is not shown): ")
        except EOFError:
            print()
            raise CommandError("nothing was looked up") from None
        normal = normal_form(domain, typed)
        flags = check(domain, typed, datetime.now(UTC).date())
        why = "; ".join(str(REASONS[flag]) for flag in flags)
        if normal:
            if flags:
                print(f"check what was typed: {why}")
            return ring.tokens(domain, normal)
        print(f"this cannot be read: {why or 'type it again'}")


def _answer(prompt: str) -> str:
    try:
        return input(prompt).strip()
    except (EOFError, UnicodeDecodeError):
        print()
        raise CommandError("nothing was looked up") from None


def _row(entry: Entry, former_ids: Sequence[str], now_us: int) -> dict[str, Any]:
    from ninezero.schemas.times import NO_START_US

    started = entry.from_us == NO_START_US or entry.from_us <= now_us
    state = "expired" if entry.to_us <= now_us else "valid" if started else "not yet"
    return {
        "authority": entry.authority, "list": entry.list, "category": entry.category, "batch_id": entry.batch_id,
        "entry_id": entry.entry_id, "former ids": " ".join(former_ids), "state": state,
        "valid_from": "whenever" if entry.from_us == NO_START_US else _time(entry.from_us), "valid_to": _time(entry.to_us),
    }  # fmt: skip


def _time(micros: int) -> str:
    return f"{datetime.fromtimestamp(micros / 1_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}"
