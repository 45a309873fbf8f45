"""Transfer events: each arrival that boards or leaves a transfer is also written for the ledgers and the recorder."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, SupportsInt, get_args

from ninezero.schemas.events import TransferEvent, TransferStage
from ninezero.streams.kafka.records import OutgoingRecord, internal_record
from ninezero.streams.kafka.topics import TRANSFERS

_STAGES = frozenset(get_args(TransferStage))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def transfer_records(arrivals: Iterable[Any], observed_us: Iterable[SupportsInt]) -> list[OutgoingRecord]:
    """Returns the records of the arrivals that board or leave a transfer, with any outcome: everyone who boards has to be delivered.

    An arrival that is `registered` with a transfer states a plan, so it gives no record. A resent arrival gives an equal one.

    Args:
        arrivals: accepted arrivals.
        observed_us: `observed_at` of each, Unix time in µs.
    """
    return [
        _record(arrival, int(at_us))
        for arrival, at_us in zip(arrivals, observed_us, strict=True)
        if arrival.transfer_id is not None and arrival.stage in _STAGES
    ]


def _record(arrival: Any, observed_us: int) -> OutgoingRecord:
    event = TransferEvent(
        transfer_id=arrival.transfer_id,
        device_id=arrival.device_id,
        seq=arrival.seq,
        site_id=arrival.site_id,
        stage=arrival.stage,
        observed_at=_EPOCH + timedelta(microseconds=observed_us),
    )
    return internal_record(TRANSFERS, event.transfer_id.encode(), event)
