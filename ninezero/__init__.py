"""Epidemic entry screening: the public API for programs at a checkpoint.

    from ninezero import Device, Traveller

    with Device.from_environment(site_id="road-01", device_id="road-01-a") as device:
        ticket = device.scan("pedestrian", [Traveller(role="pedestrian", id="11010519491231002X", temperature_c=36.4)])
        print(ticket.wait(5).outcome)

The names in `__all__`, the module `ninezero.events` and the command `ninezero` are public. Everything else, such as
`ninezero.streams`, `ninezero.agents` and `ninezero.schemas`, is private and may change in any release. docs/devices.md is the
guide.

The extra `ninezero[edge]` is enough: neither Faust nor ClickHouse is needed. Every error that these classes raise on purpose
is a `UserError`, whose text is one line with the problem and the remedy, and quotes no input.

The names are loaded on first use (PEP 562), because the workers and the command line import this package too: they must not
pay for the packages of a device, nor need them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ninezero import events
    from ninezero.streams.edge.device.answers import Answer, AnswerOutcome, Ticket
    from ninezero.streams.edge.device.device import Device, DeviceError, Status
    from ninezero.streams.edge.device.outbox import OutboxError
    from ninezero.streams.edge.device.travellers import Passage, Traveller
    from ninezero.streams.edge.documents.key_ring import KeyRingError
    from ninezero.streams.errors import UserError
    from ninezero.streams.settings import SettingsError

    __version__: str

__all__ = [
    "Answer",
    "AnswerOutcome",
    "Device",
    "DeviceError",
    "KeyRingError",
    "OutboxError",
    "Passage",
    "SettingsError",
    "Status",
    "Ticket",
    "Traveller",
    "UserError",
    "__version__",
    "events",
]

_MODULES = {
    "Answer": "streams.edge.device.answers",
    "AnswerOutcome": "streams.edge.device.answers",
    "Device": "streams.edge.device.device",
    "DeviceError": "streams.edge.device.device",
    "KeyRingError": "streams.edge.documents.key_ring",
    "OutboxError": "streams.edge.device.outbox",
    "Passage": "streams.edge.device.travellers",
    "SettingsError": "streams.settings",
    "Status": "streams.edge.device.device",
    "Ticket": "streams.edge.device.answers",
    "Traveller": "streams.edge.device.travellers",
    "UserError": "streams.errors",
}
"""The module that defines each public name. A test compares it with `__all__` and with the imports for type checkers."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("ninezero")
    elif name == "events":
        value = import_module("ninezero.events")
    elif name in _MODULES:
        value = getattr(import_module(f"ninezero.{_MODULES[name]}"), name)
    else:
        raise AttributeError(f"module 'ninezero' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
