"""Follow-up at home: a visit every day, and an alert if there was none or if the visit found symptoms."""

from ninezero.agents.cases.monitor import CaseKind
from ninezero.agents.logic.cases.followups import outlook
from ninezero.schemas.case_facts import followup_fact
from ninezero.schemas.events import FollowupEvent
from ninezero.schemas.ledger_records import FollowupLedgerRecord
from ninezero.streams.kafka.topics import FOLLOWUP_LEDGER, FOLLOWUPS

FOLLOW_UP = CaseKind(
    topic=FOLLOWUPS,
    ledger=FOLLOWUP_LEDGER,
    event=FollowupEvent,
    record=FollowupLedgerRecord,
    fact_of=followup_fact,
    outlook=outlook,
    place="district",
)
