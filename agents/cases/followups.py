"""Follow-up at home: a visit a day, and what staff are told when there was none or someone is ill."""

from ninezero.agents.cases.monitor import Kind
from ninezero.agents.logic.cases.followups import outlook
from ninezero.schemas.events import FollowupEvent
from ninezero.schemas.rows import FollowupFact, followup_fact
from ninezero.streams.kafka.topics import FOLLOWUP_LEDGER, FOLLOWUPS

FOLLOWED_UP = Kind(FOLLOWUPS, FOLLOWUP_LEDGER, FollowupEvent, FollowupFact, followup_fact, outlook, "district")
