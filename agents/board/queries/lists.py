"""Watchlists with their last batch, and batches that wait for a confirmation."""

from __future__ import annotations

from typing import Any

from ninezero.agents.board.queries.moment import Ask, Moment
from ninezero.agents.logic.situation_records import AppliedList, HeldBatch


async def lists(ask: Ask, moment: Moment) -> dict[str, Any]:
    """Returns the lists (`applied`), the oldest first and health passes last, and the batches that wait for a second person (`held`).

    A held batch is left out when a later batch was applied to its list.
    """
    applied = await ask(
        "SELECT authority, list, argMax(category, issued_at) AS kind, toUInt32(max(issued_at)) AS at "
        "FROM ninezero.push_batches WHERE status = 'applied' GROUP BY authority, list ORDER BY authority, list"
    )
    held = await ask(
        "SELECT authority, list, batch_id, code, lines_declared, toUInt32(issued_at) AS at "
        "FROM ninezero.push_batches WHERE status = 'held' ORDER BY at"
    )
    last_applied = {(row["authority"], row["list"]): int(row["at"]) for row in applied}
    return {
        "applied": sorted(
            (AppliedList(row["authority"], row["list"], row["kind"], moment.now - int(row["at"])) for row in applied),
            key=lambda one: (one.category == "health_pass", -one.age),
        ),
        "held": [
            HeldBatch(
                row["authority"],
                row["list"],
                row["batch_id"],
                row["code"],
                lines=int(row["lines_declared"]),
                age=moment.now - int(row["at"]),
            )
            for row in held
            if int(row["at"]) > last_applied.get((row["authority"], row["list"]), 0)
        ],
    }
