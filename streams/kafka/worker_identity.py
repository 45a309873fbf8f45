"""The Kafka client id of a worker states its release and the formats that it reads, so operators see which workers are running."""

from __future__ import annotations

from importlib.metadata import version
from typing import NamedTuple

from ninezero.schemas.formats import FORMATS


class WorkerIdentity(NamedTuple):
    """A running worker."""

    address: str
    """Name of its machine, and host and port of its HTTP server."""
    release: str
    """Its release; empty if it does not state one."""
    formats: tuple[str, ...]
    """The formats that it reads, as `NAME/NUMBER`."""

    @classmethod
    def of_this_process(cls, address: str) -> WorkerIdentity:
        """Returns the identity of this process."""
        return cls(
            address, version("ninezero"), tuple(f"{one.name}/{number}" for one in FORMATS for number in one.readable)
        )

    @classmethod
    def parse(cls, client_id: str) -> WorkerIdentity:
        """Returns the identity that a client id states. A worker older than release 0.1.0 states its address only."""
        address, _, rest = client_id.partition("/")
        _, release, formats, *_ = [*rest.split("/", 2), "", ""]
        return cls(address, release, tuple(filter(None, formats.split(","))))

    def client_id(self, start: str) -> str:
        """Returns the client id. `start` distinguishes it from earlier processes at the same address."""
        return "/".join((self.address, start, self.release, ",".join(self.formats)))
