"""Follow-up at home: a visit a day, and what staff are told when there was none or someone is ill."""

from agents.care import Kind
from agents.logic.followups import outlook
from schemas.events import FollowupEvent
from schemas.rows import FollowupFact, followup_fact
from streams.topics import FOLLOWUP_LEDGER, FOLLOWUPS

FOLLOWED_UP = Kind(FOLLOWUPS, FOLLOWUP_LEDGER, FollowupEvent, FollowupFact, followup_fact, outlook, "district")
