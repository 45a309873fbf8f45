"""Decisions: the token-free internal records from which all counts of screening are computed."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from ninezero.schemas.events.base import Millis, PolicyLabel, Seq


class DecisionGroup(Struct, array_like=True, gc=False):
    """Events with the same decision: first the fields that they share, then one list per field that differs, an item per event.

    `kind` is the kind of a scan or the mode of an arrival. `stage` is empty for scans. `people` is the number of persons.
    `reasons` names a rule once for every person (or plate) that it applied to. `shadow_outcomes` has the outcome under each of the
    `shadows` of the record. `sites` are indexes into the `sites` of the record. `observed_ms` is Unix time in ms. A digest is
    the CRC-32 of the event's value as it was received; it shows whether two events with one number have different contents.
    """

    kind: str
    direction: str
    stage: str
    people: Annotated[int, Meta(ge=0, le=2**16 - 1)]
    outcome: str
    late: bool
    reasons: list[str]
    shadow_outcomes: list[str]
    sites: list[Annotated[int, Meta(ge=0)]]
    device_ids: list[str]
    seqs: list[Seq]
    observed_ms: list[Millis]
    digests: list[Annotated[int, Meta(ge=0, le=2**32 - 1)]]

    def __post_init__(self) -> None:
        columns: tuple[list[Any], ...] = (self.sites, self.device_ids, self.seqs, self.observed_ms, self.digests)
        if len(set(map(len, columns))) > 1:
            raise ValueError("the lists of a decision group differ in length")


class Decisions(Struct, gc=False):
    """Decisions about events of one partition that were made together, at `decided_ms` (Unix time in ms).

    All were decided by one policy, and the same shadow policies were evaluated beside it. The record is internal, immutable, holds no token, and is all that the counts need. Its key is the site of its first event.
    """

    policy: PolicyLabel
    shadows: list[PolicyLabel]
    decided_ms: Millis
    watchlist_version: int
    sites: list[str]
    decisions: list[DecisionGroup]

    def __post_init__(self) -> None:
        if any(max(group.sites, default=-1) >= len(self.sites) for group in self.decisions):
            raise ValueError("a decision group names a site that is not in the record")
        if any(len(group.shadow_outcomes) != len(self.shadows) for group in self.decisions):
            raise ValueError("a decision group does not have one outcome for each shadow policy of the record")
