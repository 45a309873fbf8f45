"""Checkpoint scans: one passage, its people and its plate."""

from operator import attrgetter

from agents.logic.rules import decide_scan
from agents.logic.sieve import Sieve
from agents.screening import Screened
from schemas.events import Scan
from streams.topics import SCANS

CHECKPOINTS = Screened(
    SCANS,
    Scan,
    decide_scan,
    lambda scans: [(scan.kind, scan.direction, "", len(scan.people)) for scan in scans],
    Sieve(Scan, attrgetter("people"), attrgetter("direction"), attrgetter("plate"), measured=True),
)
