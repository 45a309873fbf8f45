"""The answer of the workers to a scan, and the ticket that waits for it."""

import threading
from typing import Literal, NamedTuple

from ninezero.schemas.events import Outcome

AnswerOutcome = Literal[Outcome, "not_checked"]
"""An outcome of the workers, or `not_checked` while the device has none."""


class Answer(NamedTuple):
    """The answer to one scan or arrival."""

    seq: int
    """The sequence number of the event."""
    outcome: AnswerOutcome
    """Advice to the staff. `not_checked` means that no outcome arrived in time; never read it as `clear`."""
    people: tuple[int, ...] = ()
    """Indexes, from 0, of the people whom the outcome concerns. Empty for `clear`, or if it concerns the plate alone."""


class Ticket:
    """An accepted event and its answer. Thread-safe.

    Attributes:
        seq: the sequence number of the event.
    """

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self._answer = Answer(seq, "not_checked")
        self._answered = threading.Event()

    def wait(self, seconds: float) -> Answer:
        """Waits up to `seconds` for the answer and returns it, or returns `not_checked` if none has arrived.

        It may be called again: a later call returns an answer that arrived meanwhile.
        """
        self._answered.wait(seconds)
        return self._answer

    def resolve(self, answer: Answer) -> None:
        """Sets the answer and wakes the threads that wait for it. The device calls this."""
        self._answer = answer
        self._answered.set()
