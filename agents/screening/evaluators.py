"""The evaluators of a worker: one for each kind of event and the policies in force together."""

from __future__ import annotations

from ninezero.agents.logic.policy.evaluator import Evaluator
from ninezero.agents.logic.policy.timeline import InForce
from ninezero.agents.screening.event_kinds import EventKind

LIMIT = 32
"""Number of evaluators that are kept. Usually there are two, and four around a switch; a replay may meet many policies."""


class Evaluators:
    """Makes evaluators when they are needed, and keeps them."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, ...], Evaluator] = {}

    def of(self, kind: EventKind, in_force: InForce) -> Evaluator:
        """Returns the evaluator of a kind of events under the policies in force.

        Policies of one timeline that have the same label are equal.
        """
        key = (kind.topic.name, in_force.active.label, *(shadow.label for shadow in in_force.shadows))
        if key not in self._made:
            if len(self._made) >= LIMIT:
                self._made.clear()
            self._made[key] = Evaluator(in_force.active, kind.shape, in_force.shadows)
        return self._made[key]
