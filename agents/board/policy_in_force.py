"""The policy in force and the next one, as the board shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ninezero.agents.policies.policies import Policies

AskPolicy = Callable[[float], dict[str, Any] | None]
"""Returns what holds at a Unix time: `policy` and `shadows` as NAME@VERSION, and `next` with `policy` and `at`, None if no other policy
follows. None if it is not known."""


def policy_in_force(policies: Policies) -> AskPolicy:
    """Returns what asks the policies of this process."""

    def ask(at: float) -> dict[str, Any] | None:
        if policies.why_not_ready is not None:
            return None
        timeline, ms = policies.timeline, int(at * 1000)
        held = timeline.at(ms)
        following = timeline.next_change(ms)
        while (
            following is not None and timeline.at(following).active.label == held.active.label
        ):  # only a shadow changes
            following = timeline.next_change(following)
        later = None if following is None else {"policy": timeline.at(following).active.label, "at": following / 1000}
        return {"policy": held.active.label, "shadows": [one.label for one in held.shadows], "next": later}

    return ask
