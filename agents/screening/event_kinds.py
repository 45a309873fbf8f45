"""Checkpoint scans: one passage, its people and its plate."""

from operator import attrgetter

from ninezero.agents.logic.policy.fast_path import FastPath
from ninezero.agents.logic.policy.rules import decide_scan
from ninezero.agents.screening.agent import Screened
from ninezero.schemas.events import Scan
from ninezero.streams.kafka.topics import SCANS

CHECKPOINTS = Screened(
    SCANS,
    Scan,
    decide_scan,
    lambda scans: [(scan.kind, scan.direction, "", len(scan.people)) for scan in scans],
    FastPath(Scan, attrgetter("people"), attrgetter("direction"), attrgetter("plate"), measured=True),
)
