"""Checkpoint scans: one passage, its people and its plate."""

from agents.logic.rules import decide_scan
from agents.screening import Screened
from schemas.events import Scan
from streams.topics import SCANS

CHECKPOINTS = Screened(SCANS, Scan, decide_scan, lambda scan: (scan.kind, scan.direction, "", len(scan.people)))
