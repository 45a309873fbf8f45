"""Errors that a task survives: it reports them once and goes on, and its next attempt may succeed."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Literal

from ninezero.streams import metrics

log = logging.getLogger("ninezero.tasks")

Task = Literal[
    "board", "case_deletion", "completeness", "freshness", "loss_check", "mirror", "overdue", "positions", "retention", "schema",
    "silent_devices",
]  # fmt: skip
"""The tasks that go on after an error; the label of `ninezero_suppressed_errors_total`."""


class SuppressedErrors:
    """A context that suppresses errors of some types. Use one object for all attempts of a task.

    Each error is counted. The first one logs a warning, the first attempt without an error logs that the task works again.
    """

    def __init__(self, task: Task, problem: str, *errors: type[Exception]) -> None:
        """Prepares the context.

        Args:
            task: the label of the metric.
            problem: what does not work, for the log, such as "days cannot be sealed".
            errors: the types that are suppressed.
        """
        self._task, self._problem, self._errors = task, problem, errors
        self.failed = False
        """True if the last attempt failed."""

    def __enter__(self) -> SuppressedErrors:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if error is None:
            if self.failed:
                log.info("%s works again", self._task)
            self.failed = False
            return False
        if not isinstance(error, self._errors):
            return False
        metrics.suppressed_errors.labels(self._task).inc()
        if not self.failed:
            log.warning("%s: %s", self._problem, str(error) or type(error).__name__)
        self.failed = True
        return True
