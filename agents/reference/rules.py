"""The page of rules."""

from __future__ import annotations

from ninezero.agents.logic.policy.rules import OUTCOMES, RULES, TABLE_VERSION
from ninezero.agents.logic.policy.thresholds import FEVER_C, PLAUSIBLE_MAX_C, PLAUSIBLE_MIN_C
from ninezero.agents.reference import markdown

MEANINGS = {
    "no_identity": "The person has neither an identity card nor a passport that could be turned into a token.",
    "unknown_key": "A token was made with a key for which the lists have no tokens, so the person or plate could not be checked.",
    "list_stale": "No heartbeat of the watchlist has arrived for `NINEZERO_MAX_LIST_AGE` seconds.",
    "confirmed_case": "The identity card or passport is on a list of this category.",
    "suspected_case": "The identity card or passport is on a list of this category.",
    "quarantine_order": "The identity card or passport is on a list of this category.",
    "close_contact": "The identity card or passport is on a list of this category.",
    "risk_region_arrival": "The identity card or passport is on a list of this category.",
    "weak_match": "Only the phone or the plate is on a list, of any category but `health_pass`. Others may use them, too.",
    "health_code_red": "The health code is red.",
    "health_code_yellow": "The health code is yellow.",
    "no_temperature": "A passage states no temperature for the person. Arrivals need none.",
    "temperature_implausible": f"A reading is below {PLAUSIBLE_MIN_C:g} °C or above {PLAUSIBLE_MAX_C:g} °C. It is not used otherwise.",
    "fever": f"The second reading is {FEVER_C:g} °C or more.",
    "fever_unconfirmed": f"The first reading is {FEVER_C:g} °C or more, and there is no second reading.",
    "outside_province_without_pass": "An inbound person comes from another province or country and has no valid health pass.",
    "outside_district_without_pass": "An inbound person comes from another district of the province and has no valid health pass.",
}
"""The condition under which each rule applies."""


def page() -> str:
    """Returns `docs/reference/rules.md`."""
    return markdown.page(
        "Rules",
        f"Version {TABLE_VERSION} of the policy table. Each rule that applies to a person or to the plate is a reason of the alert. The"
        " outcome of a passage or arrival is the most severe outcome of its reasons, or `clear` without any. From most to least severe:"
        f" {', '.join(markdown.code(outcome) for outcome in OUTCOMES)}.",
        "A person who leaves the district or states no origin needs no pass. A pass is an entry of the"
        " category `health_pass` for the token of the pass or of the identity card.",
        markdown.table(
            ("rule", "outcome", "when it applies"),
            [(markdown.code(rule), markdown.code(outcome), MEANINGS[rule]) for rule, outcome in RULES.items()],
        ),
    )
