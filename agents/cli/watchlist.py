"""`ninezero watchlist`: what is on the lists, and who put it there.

It answers a complaint about an entry. Entries are found by token or entry id, never by name.
"""

from __future__ import annotations

import asyncio
import getpass
import re
import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from ninezero.agents.cli.complaint import explain
from ninezero.agents.cli.console import CommandError, print_table, query_url
from ninezero.schemas.events import PSEUDONYM_PATTERN, Identifier, WatchlistEntry
from ninezero.streams import settings as settings_

app = typer.Typer(help="Shows what is on the lists, and who put it there.", no_args_is_help=True)

_ENTRY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}:[0-9]{1,10}")


app.command()(explain)


@app.command()
def show(
    entry_id: Annotated[
        str,
        typer.Argument(
            metavar="[ENTRY_ID]",
            help="Entry to show, also under an id that it had. Without it and --token, every list is shown with its size and age.",
        ),
    ] = "",
    token: Annotated[
        bool, typer.Option("--token", help="Ask for a token, or read it from standard input, and show its entries.")
    ] = False,
) -> None:
    """Shows the lists, every entry that has a token, or an entry that an alert named."""
    if re.match(PSEUDONYM_PATTERN, entry_id):
        raise CommandError(
            "a token is no argument, because other users can read those: run ninezero watchlist show --token, and type it at the prompt"
        )
    if entry_id and not _ENTRY_ID.fullmatch(entry_id):
        raise CommandError("give an entry_id (batch_id:line) as an alert states it")
    if entry_id and token:
        raise CommandError("give an entry_id or --token, not both")
    settings = settings_.load(edge=True)
    which = _read_token() if token else entry_id
    from ninezero.agents.watchlist.snapshot import read_snapshot

    snapshot = asyncio.run(read_snapshot(settings, which))
    now = datetime.now(UTC)
    if which:
        for key, into in snapshot.merged.items():
            print(f"{key.entry_id} on {key.authority}/{key.list} was merged into {into}")
        print_table([_entry(key, entry, now) for key, entry in snapshot.entries.items()])
        return
    for authority, name in snapshot.missing:
        print(f"{authority}/{name} is not on the topic watchlist as last applied: push it again with --full --again")
    print_table(
        [
            {
                "authority": name[0], "list": name[1], "entries": m.entries, "keys": " ".join(m.key_ids),
                "sequence": m.sequence, "batch_id": m.batch_id, "at": f"{m.at:%Y-%m-%dT%H:%M:%SZ}",
                "age_s": round((now - m.at).total_seconds()),
            }
            for name, m in sorted(snapshot.manifests.items())
        ]
    )  # fmt: skip


@app.command()
def audit(
    authority: Annotated[str, typer.Option(help="Only actions of this authority.")] = "",
    list_: Annotated[str, typer.Option("--list", help="Only actions on this list.")] = "",
    batch_id: Annotated[str, typer.Option(help="Only actions on this batch.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Number of actions to show.")] = 100,
) -> None:
    """Lists who pushed, withdrew and confirmed, the latest first."""
    import msgspec

    from ninezero.streams import clickhouse

    where = []
    for column, value in (("authority", authority), ("list", list_), ("batch_id", batch_id)):
        if value:
            try:
                where.append(f"{column} = '{msgspec.convert(value, Identifier)}'")
            except msgspec.ValidationError:
                raise CommandError(
                    f"--{column.replace('_', '-')} is not an identifier: use letters, digits, '.', '_' and '-'"
                ) from None
    engine = clickhouse.connect(query_url())
    rows = engine.query(
        "SELECT at, who, action, batch_id, authority, list, lines FROM ninezero.watchlist_audit "  # noqa: S608  # the values in WHERE matched Identifier above ([A-Za-z0-9._-]), and limit is an int
        f"{'WHERE ' + ' AND '.join(where) if where else ''} ORDER BY at DESC, batch_id LIMIT {limit}"
    )
    engine.close()
    print_table(rows)


def _read_token() -> str:
    """Returns the token that is typed at a prompt, without showing it, or the first line of standard input."""
    if sys.stdin.isatty():
        try:
            line = getpass.getpass("Token (is not shown): ")
        except EOFError:
            print()
            raise CommandError("nothing was looked up") from None
    else:
        line = sys.stdin.buffer.readline(1_000).decode(errors="replace")
    if not re.match(PSEUDONYM_PATTERN, token := line.strip()):
        raise CommandError("this is no token: write a key id, a dot and 32 hex digits, such as k1xbtq.9f86…")
    return token


def _entry(key: tuple[str, str, str], entry: WatchlistEntry, now: datetime) -> dict[str, Any]:
    authority, list_, entry_id = key
    start = entry.valid_from
    state = "expired" if entry.valid_to <= now else "not yet" if start is not None and start > now else "valid"
    return {
        "authority": authority, "list": list_, "entry_id": entry_id, "batch_id": entry.batch_id, "category": entry.category,
        "state": state, "valid_from": "whenever" if start is None else f"{start:%Y-%m-%dT%H:%M:%SZ}",
        "valid_to": f"{entry.valid_to:%Y-%m-%dT%H:%M:%SZ}",
    }  # fmt: skip
