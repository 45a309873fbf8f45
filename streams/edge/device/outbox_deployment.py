"""Which deployment an outbox belongs to.

The numbers of a device count its events in the topics that a Kafka cluster has under one prefix. So an outbox serves one deployment. It
states which, and another deployment neither continues its numbers nor gets its events.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

import msgspec

from ninezero.streams.edge.bilingual import Bilingual
from ninezero.streams.settings import Settings


class OutboxDeployment(msgspec.Struct, frozen=True):
    """A deployment, as its settings and its Kafka name it."""

    topic_prefix: str
    order: str
    kafka: tuple[str, ...]
    """Addresses of its brokers, host:port."""
    cluster: str = ""
    """Kafka's id of the cluster; empty before a broker has answered."""

    @classmethod
    def of(cls, settings: Settings) -> OutboxDeployment:
        """Returns the deployment of the settings, before Kafka has answered."""
        return cls(settings.topic_prefix, settings.order, tuple(settings.kafka.split(",")))

    @classmethod
    def read(cls, text: str) -> OutboxDeployment:
        """Returns the deployment that an outbox states.

        Raises:
            sqlite3.DatabaseError: the file is damaged.
        """
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError:
            damaged = sqlite3.DatabaseError("no deployment")
            damaged.sqlite_errorname = "SQLITE_CORRUPT"
            raise damaged from None

    def is_same(self, other: OutboxDeployment) -> bool | None:
        """Returns whether another one is this deployment, or None if only Kafka can tell.

        The addresses of a deployment change when its brokers move, its order when it is prolonged, and its cluster when Kafka is installed
        again. So the cluster decides. Where it differs or was never seen, the addresses and the order do.
        """
        if self.topic_prefix != other.topic_prefix:
            return False
        at_same_address = not set(self.kafka).isdisjoint(other.kafka)
        if not self.cluster:  # it was never connected: a wrong address may have been corrected
            return at_same_address or self.order == other.order
        if not other.cluster:
            return at_same_address or None
        return self.cluster == other.cluster or (at_same_address and self.order == other.order)

    def __str__(self) -> str:
        return f"order {self.order}, Kafka {','.join(self.kafka)}, topic prefix {self.topic_prefix or 'none'}"


class Ownership(NamedTuple):
    """The deployment that an outbox states, and the one that uses it."""

    stated: OutboxDeployment
    given: OutboxDeployment

    def is_confirmed(self) -> bool:
        """Returns whether Kafka has answered under the settings with which the outbox is used."""
        return bool(self.stated.cluster) and self.stated == msgspec.structs.replace(
            self.given, cluster=self.stated.cluster
        )

    def problem(self) -> Bilingual | None:
        """Returns why the outbox must not be used, and what to do; None if it may be used."""
        same = self.stated.is_same(self.given)
        if same:
            return None
        if same is None:
            return _UNKNOWN.format(stated=self.stated)
        replaced = self.stated.topic_prefix == self.given.topic_prefix
        return _OTHER.format(stated=self.stated, replaced=_REPLACED if replaced else "")


_OTHER = Bilingual(
    "这台设备的发件箱属于另一个部署（{stated}）：请换一个 device_id，或用 NINEZERO_OUTBOX 指定本部署自己的文件夹{replaced}",
    "the outbox of this device belongs to another deployment ({stated}): start the device under another device_id, or set NINEZERO_OUTBOX"
    " to a folder of this deployment{replaced}",
)
_REPLACED = Bilingual(
    "；如果是同一个部署换了 Kafka，请用那个 NINEZERO_ORDER、并在 NINEZERO_KAFKA 中加上一个那里的地址启动一次",
    "; if it is the same deployment whose Kafka was replaced, start it once with that NINEZERO_ORDER, and with one of those addresses added to"
    " NINEZERO_KAFKA",
)
_UNKNOWN = Bilingual(
    "这台设备的发件箱以前用于：{stated}。现在的 NINEZERO_KAFKA 没有应答，不能确认是否是同一个部署：请连上 Kafka，或在 NINEZERO_KAFKA"
    " 中加上一个那里的地址，或换一个 device_id",
    "the outbox of this device was used for another Kafka ({stated}), and that of the settings does not answer, so it is not known whether both"
    " are this deployment: connect the device, add one of those addresses to NINEZERO_KAFKA, or start it under another device_id",
)
