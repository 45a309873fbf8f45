"""Records of the topic `policies`: the policies that operators wrote, and when each one is used.

The values have no tag. A policy is at the key `policy|version`, and its use at `policy|version|use`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from ninezero.schemas.events.base import Identifier, StrictMessage, Time

HOME_OF_SITE = "site"
"""The home of a policy that takes the home of each site."""

MAX_POLICY_BYTES = 64 << 10
"""No record is larger. It follows from the limits of the fields."""

PolicyVersion = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Name = Annotated[str, Meta(pattern=r"\A[a-z_]{1,64}\Z")]
"""The name of a rule or an outcome. A newer release may know names that this one does not."""
Home = Annotated[str, Meta(pattern=r"\A(site|[0-9]{6})\Z")]
ExemptOrigin = Annotated[str, Meta(pattern=r"\A([0-9]{2}|[0-9]{4}|[0-9]{6}|[A-Z]{2})\Z")]


class PolicyRecord(StrictMessage):
    """A policy: thresholds and outcomes of the rules. A second, different record under the same key is refused.

    The type says which form the fields have. Which values are allowed is decided when the record is applied.
    """

    policy: Identifier
    version: PolicyVersion
    author: Identifier
    legal_basis: Identifier
    fever_c: float
    plausible_c: Annotated[list[float], Meta(min_length=2, max_length=2)]
    max_list_age_s: float
    outcomes: Annotated[dict[Name, Name], Meta(max_length=64)]
    home: Home
    exempt_origins: Annotated[list[ExemptOrigin], Meta(max_length=4096)]


class PolicyUse(StrictMessage):
    """The interval in which a policy is used: active, or as a shadow that is evaluated beside the active one."""

    status: Literal["shadow", "active"]
    effective_from: Time
    effective_to: Time | None
    approved_by: Identifier


PoliciesRecord = PolicyRecord | PolicyUse


class PolicyKey(NamedTuple):
    """A key of the topic."""

    policy: str
    version: int
    use: bool
    """Whether it is the key of the use."""

    @property
    def label(self) -> str:
        """The policy, as `NAME@VERSION`."""
        return label(self.policy, self.version)


def label(policy: str, version: int) -> str:
    """Returns how a policy is named everywhere: `NAME@VERSION`."""
    return f"{policy}@{version}"


def policy_key(policy: str, version: int) -> bytes:
    """Returns the key of a policy."""
    return f"{policy}|{version}".encode()


def use_key(policy: str, version: int) -> bytes:
    """Returns the key of the use of a policy."""
    return f"{policy}|{version}|use".encode()


def parse_key(key: bytes) -> PolicyKey:
    """Returns what a key states.

    >>> parse_key(b"winter|3|use")
    PolicyKey(policy='winter', version=3, use=True)

    Raises:
        ValueError: it is not a key of this topic.
    """
    found = re.fullmatch(rb"([^|]{1,64})\|([1-9][0-9]{0,9})(\|use)?", key)
    if found is None:
        raise ValueError("not a key of the topic")
    name, version = msgspec.convert((found[1].decode("ascii"), int(found[2])), tuple[Identifier, PolicyVersion])
    return PolicyKey(name, version, found[3] is not None)


def kind_at(key: bytes) -> type[PolicyRecord | PolicyUse]:
    """Returns the type of the value at a key.

    Raises:
        ValueError: it is not a key of this topic.
    """
    return PolicyUse if parse_key(key).use else PolicyRecord
