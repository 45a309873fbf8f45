"""Station arrivals: one traveller at one stage, screened like a passage into the district."""

from agents.logic.rules import decide_arrival
from agents.logic.sieve import Sieve
from agents.screening import Screened
from schemas.events import Arrival
from streams.topics import ARRIVALS

STATIONS = Screened(
    ARRIVALS,
    Arrival,
    decide_arrival,
    lambda arrivals: [(arrival.mode, "in", arrival.stage, 1) for arrival in arrivals],
    Sieve(Arrival, lambda arrival: (arrival.person,), lambda _: "in", lambda _: None, measured=False),
)
