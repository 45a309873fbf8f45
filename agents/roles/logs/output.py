"""Sets up the log output of a worker process."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Iterable
from typing import Any, TextIO

from ninezero.agents.roles.logs.condenser import Condenser
from ninezero.agents.roles.logs.formats import LogFormat, formatter

SWEEP_SECONDS = 1.0

_ERRORS_ONLY = ("aiokafka", "faust", "kafka.admin", "kafka.net.selector", "mode")
"""Loggers whose warnings report normal operation, such as a rebalance or a step of the client that took 0.1 s."""


class LogOutput(logging.StreamHandler[TextIO]):
    """Writes condensed log records to stderr, one line each."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self._condenser = Condenser()

    def emit(self, record: logging.LogRecord) -> None:
        """Writes what is to be written for a record. `logging` holds the handler's lock meanwhile."""
        try:
            records = self._condenser.condense(record, time.monotonic())
        except Exception:  # a message that does not fit its arguments must not fail the code that logs it
            self.handleError(record)
        else:
            self._write(records)

    def kafka_answered(self) -> None:
        """Ends an outage of Kafka. Call it whenever a request to Kafka has succeeded."""
        with self._locked():
            self._write(self._condenser.kafka_answered(time.monotonic()))

    async def sweep(self) -> None:
        """Writes the counts of records that are no longer repeated, as long as the role runs."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            with self._locked():
                self._write(self._condenser.sweep(time.monotonic()))

    def finish(self) -> None:
        """Writes the counts that have not been written yet."""
        with self._locked():
            self._write(self._condenser.finish())
        self.flush()

    def _locked(self) -> Any:
        assert self.lock is not None
        return self.lock

    def _write(self, records: Iterable[logging.LogRecord]) -> None:
        for record in records:
            super().emit(record)


def set_up(role: str, kind: LogFormat) -> LogOutput:
    """Sends the log records of this process to stderr, and returns what writes them."""
    output = LogOutput()
    output.setFormatter(formatter(kind, role))
    logging.basicConfig(level=logging.WARNING, handlers=[output], force=True)
    logging.captureWarnings(True)
    logging.getLogger("ninezero").setLevel(logging.INFO)
    for name in _ERRORS_ONLY:
        logging.getLogger(name).setLevel(logging.ERROR)
    # mode logs the lifecycle of a service at INFO under the module of its class, and two of these modules are ours.
    logging.getLogger("ninezero.streams.transport").setLevel(logging.WARNING)
    return output
