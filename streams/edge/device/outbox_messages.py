"""What an outbox says to a guard: what is wrong, and what to do."""

from __future__ import annotations

import errno
import sqlite3

from ninezero.streams.edge.bilingual import Bilingual

_NOT_ACCEPTED = Bilingual("，没有接受", " and the event was NOT accepted")
_NOTHING = Bilingual("", "")
_COUNTER_BEHIND = Bilingual(
    "发件箱的计数落后于 Kafka{consequence}：请用这台设备原来的发件箱（NINEZERO_OUTBOX，或原来启动它的文件夹），或改用新的 device_id{unsent}",
    "the outbox's counter is behind Kafka's{consequence}: start the device with the outbox that it had (NINEZERO_OUTBOX, or the folder in which"
    " it was started before), or under a new device_id{unsent}",
)
_UNSENT = Bilingual(
    "。这个发件箱里有 {events} 条没有发送：请停止设备，运行 ninezero outbox rename {device_id} 新的device_id，再用新的 device_id 启动，就会发送",
    ". It holds {events} that are not sent: stop the device, run ninezero outbox rename {device_id} NEW_ID, and start a device under the new id,"
    " which sends them",
)
_DISK_FULL = Bilingual(
    "发件箱所在的磁盘已满{consequence}：请腾出空间", "the disk of the outbox is full{consequence}: free some space"
)
_DAMAGED = Bilingual(
    "发件箱文件已损坏{consequence}：请保留它供分析，用新的 device_id 另建一个",
    "the outbox file is damaged{consequence}: keep it for analysis, and start a new one under a new device_id",
)
_UNUSABLE = Bilingual(
    "发件箱不能用{consequence}：请检查文件夹、所有者和磁盘",
    "the outbox cannot be used{consequence}: check its folder, its owner and the disk",
)


def counter_behind(device_id: str, unsent: int, *, accepting: bool) -> Bilingual:
    """Returns the message if Kafka has events of a device that its outbox does not know.

    Args:
        device_id: the device.
        unsent: events in the outbox that are never sent under this device_id.
        accepting: whether an event was to be accepted just now.
    """
    events = Bilingual(f"{unsent:,}", f"{unsent:,} event{'' if unsent == 1 else 's'}")
    more = _UNSENT.format(events=events, device_id=device_id) if unsent else _NOTHING
    return _COUNTER_BEHIND.format(consequence=_consequence(accepting), unsent=more)


def file_error(error: sqlite3.Error | OSError, *, accepting: bool) -> Bilingual:
    """Returns the message about an error of the file; see `counter_behind` for `accepting`."""
    name = error.sqlite_errorname if isinstance(error, sqlite3.Error) else ""
    if name in ("SQLITE_FULL", "SQLITE_IOERR_WRITE") or getattr(error, "errno", None) == errno.ENOSPC:
        text = _DISK_FULL
    elif name in ("SQLITE_CORRUPT", "SQLITE_NOTADB"):
        text = _DAMAGED
    else:
        text = _UNUSABLE
    return text.format(consequence=_consequence(accepting))


def _consequence(accepting: bool) -> Bilingual:
    return _NOT_ACCEPTED if accepting else _NOTHING
