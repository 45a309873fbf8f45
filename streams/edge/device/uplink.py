"""The connection of a device to Kafka: one thread sends events, one reads outcomes."""

import threading
import time

from ninezero.streams.edge.device.clock import Clock
from ninezero.streams.edge.device.outbox import Outbox
from ninezero.streams.edge.device.outcome_reader import OnOutcome, OutcomeReader
from ninezero.streams.edge.device.sender import Sender, SenderStatus
from ninezero.streams.settings import Settings

CLOSING_SECONDS = 5.0
"""Time that `close` waits for the threads."""


class Uplink:
    """Starts both threads. An error in them stops neither: events wait in the outbox."""

    def __init__(
        self,
        settings: Settings,
        outbox: Outbox,
        clock: Clock,
        site_id: str,
        device_id: str,
        on_outcome: OnOutcome,
    ) -> None:
        self._reader = OutcomeReader(settings, outbox, site_id, device_id, on_outcome)
        # Sending starts when outcomes are read, so that the outcome of an event is not missed.
        self._sender = Sender(settings, outbox, clock, may_start=self._reader.caught_up)
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._sender.run, self._reader.run)]
        for thread in self._threads:
            thread.start()

    def wait_until_compared(self, seconds: float) -> None:
        """Waits until a new outbox was compared with Kafka, or Kafka could not be asked; at most `seconds`."""
        self._reader.tried.wait(seconds)

    def wake(self) -> None:
        """Tells the sender that the outbox has new events."""
        self._sender.wake()

    def status(self) -> SenderStatus:
        """Returns the state of the connection."""
        return self._sender.status

    def close(self) -> None:
        """Stops both threads. One that waits for a broker is left running: its events are in the outbox."""
        self._sender.stop()
        self._reader.stop()
        deadline = time.monotonic() + CLOSING_SECONDS
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
