"""The answer of the workers to a scan, and the ticket that waits for it."""

import threading
from typing import Literal, NamedTuple

from ninezero.schemas.events import Outcome, QualityFlag
from ninezero.streams.edge.documents.normal_forms import Domain

AnswerOutcome = Literal[Outcome, "not_checked"]
"""An outcome of the workers, or `not_checked` while the device has none."""


class QualityFinding(NamedTuple):
    """A fault in what was scanned or typed. Scanning again can correct it. It never changes an outcome."""

    person: int | None
    """Index of the person, from 0; None for the plate."""
    what: Domain | Literal["mrz"] | None
    """What was written: the domain, or `mrz` for a machine-readable zone. None if that is not known."""
    flag: QualityFlag


class Answer(NamedTuple):
    """The answer to one scan or arrival."""

    seq: int
    """The sequence number of the event."""
    outcome: AnswerOutcome
    """Advice to the staff. `not_checked` means that no outcome arrived in time; never read it as `clear`."""
    people: tuple[int, ...] = ()
    """Indexes, from 0, of the people whom the outcome concerns. Empty for `clear`, or if it concerns the plate alone."""
    findings: tuple[QualityFinding, ...] = ()
    """What should be scanned again."""

    @property
    def quality(self) -> tuple[QualityFlag, ...]:
        """The quality flags of the event, each once. Show *scan again* and the reason beside the outcome if there is one."""
        return _flags(self.findings)


class Ticket:
    """An accepted event and its answer. Thread-safe.

    Attributes:
        seq: the sequence number of the event.
        findings: what should be scanned again. It is known before the answer.
    """

    def __init__(self, seq: int, findings: tuple[QualityFinding, ...] = ()) -> None:
        self.seq, self.findings = seq, findings
        self._answer = Answer(seq, "not_checked", findings=findings)
        self._answered = threading.Event()

    @property
    def quality(self) -> tuple[QualityFlag, ...]:
        """The quality flags of the event, each once."""
        return _flags(self.findings)

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


def _flags(findings: tuple[QualityFinding, ...]) -> tuple[QualityFlag, ...]:
    return tuple(dict.fromkeys(finding.flag for finding in findings))
