"""A policy that a command names: a JSON file, or `NAME@VERSION` of one that is known."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from ninezero.agents.cli.console import CommandError
from ninezero.agents.cli.operations.policy_file import PolicyFile, read_policy_file
from ninezero.agents.logic.policy.policy import DEFAULT, Policy, faults_of, policy_of, unknown_to_this_release
from ninezero.agents.logic.policy.timeline import Timeline
from ninezero.schemas.policies import PolicyRecord, label

LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}@[1-9][0-9]{0,9}")
"""`NAME@VERSION`. A file of such a name is written as `./NAME@VERSION`."""


class Choice(NamedTuple):
    """The policy that a command names."""

    policy: Policy
    record: PolicyRecord | None
    """The policy as the file states it; None if it is known by its name."""


def faults_of_file(file: PolicyFile) -> list[str]:
    """Returns why a policy cannot be used, one sentence each."""
    record = file.record
    found = [file.located(one) for one in (*faults_of(record), *unknown_to_this_release(record))]
    if label(record.policy, record.version) == DEFAULT.label:
        found.insert(0, file.located(f"policy: {DEFAULT.label} is built in; write another name or version"))
    return found


def choose(word: str, timeline: Timeline | None) -> Choice:
    """Returns the policy of an argument.

    Args:
        word: the argument.
        timeline: the known policies; None if the argument is a file.

    Raises:
        CommandError: there is no such policy, or it cannot be used.
    """
    if not names_a_known_policy(word):
        file = read_policy_file(Path(word))
        if faults := faults_of_file(file):
            more = f" ({len(faults) - 1} more: see ninezero policy check)" if len(faults) > 1 else ""
            raise CommandError(f"{faults[0]}: correct it{more}")
        return Choice(policy_of(file.record), file.record)
    assert timeline is not None
    policy = timeline.policy(word)
    if policy is None:
        raise CommandError("no policy of this name and version is known: see ninezero policy show, or name a file")
    if word in timeline.policies and (unknown := unknown_to_this_release(timeline.policies[word])):
        raise CommandError(f"this release cannot apply the policy ({unknown[0]}): use the ninezero of the workers")
    return Choice(policy, None)


def names_a_known_policy(word: str) -> bool:
    """Returns whether an argument is `NAME@VERSION`, not a file."""
    return LABEL.fullmatch(word) is not None
