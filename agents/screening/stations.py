"""Station arrivals: one traveller at one stage, screened like a passage into the district."""

from ninezero.agents.logic.policy.fast_path import FastPath
from ninezero.agents.logic.policy.rules import decide_arrival
from ninezero.agents.screening.agent import Screened
from ninezero.schemas.events import Arrival
from ninezero.streams.kafka.topics import ARRIVALS

STATIONS = Screened(
    ARRIVALS,
    Arrival,
    decide_arrival,
    lambda arrivals: [(arrival.mode, "in", arrival.stage, 1) for arrival in arrivals],
    FastPath(Arrival, lambda arrival: (arrival.person,), lambda _: "in", lambda _: None, measured=False),
)
