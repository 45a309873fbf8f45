"""Answers to scans."""

import threading
from typing import Literal, NamedTuple

Said = Literal["clear", "refer", "quarantine", "turn_back", "hold", "order_ended", "not_checked"]


class Answer(NamedTuple):
    """What became of a scan: `said`, and the indexes of those whom it concerns (none: the plate, or nobody)."""

    seq: int
    said: Said
    people: tuple[int, ...] = ()


class Ticket:
    """A scan that was accepted, and its answer when there is one."""

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self._answer = Answer(seq, "not_checked")
        self._set = threading.Event()

    def wait(self, seconds: float) -> Answer:
        """The answer; `not_checked` when there is none in time. That is never to be read as clear."""
        self._set.wait(seconds)
        return self._answer

    def settle(self, answer: Answer) -> None:
        """Gives the answer to whoever waits."""
        self._answer = answer
        self._set.set()
