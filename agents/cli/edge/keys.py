"""`ninezero keys`: the key ring that turns identities into tokens."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from ninezero.streams import settings

app = typer.Typer(help="Creates and rotates the key ring of a deployment.", no_args_is_help=True)


@app.command()
def new() -> None:
    """Creates the key ring file named by NINEZERO_KEYS."""
    from ninezero.streams.edge.documents.key_ring import new_ring

    key_id = new_ring(_ring_path())
    print(
        f"created the key ring of NINEZERO_KEYS with the key {key_id};"
        " keep a copy where only those responsible for the edge can read it"
    )


@app.command()
def rotate(
    overlap_days: Annotated[int, typer.Option(min=1, max=365, help="Days for which the old key stays valid.")] = 14,
) -> None:
    """Adds a key and makes it the active one; the old key ends after the overlap."""
    from ninezero.streams.edge.documents import key_ring

    key_id = key_ring.rotate(_ring_path(), timedelta(days=overlap_days))
    print(f"the active key is now {key_id}; push the lists again so that they carry its tokens")


@app.command("list")
def list_() -> None:
    """Lists the keys of the ring with the end of their validity, never their secret bytes."""
    from ninezero.streams.edge.documents.key_ring import KeyRing

    for key in KeyRing.load(_ring_path()).describe():
        until = f"valid until {key.not_after:%Y-%m-%dT%H:%M:%SZ}" if key.not_after else "valid without an end"
        print(f"{key.key_id}{' (active)' if key.active else ''}: {until}")


def _ring_path() -> Path:
    path = os.environ.get("NINEZERO_KEYS")
    if not path:
        raise settings.not_set("NINEZERO_KEYS")
    return Path(path)
