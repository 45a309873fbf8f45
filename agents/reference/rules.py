"""The page of rules."""

from __future__ import annotations

from msgspec.structs import asdict

from ninezero.agents.logic.policy.policy import DEFAULT
from ninezero.agents.logic.policy.rules import OUTCOMES, RULES
from ninezero.agents.reference import markdown


def page() -> str:
    """Returns `docs/reference/rules.md`."""
    return markdown.page(
        "Rules",
        f"The policy `{DEFAULT.label}`, which holds unless another one is active. Each rule that applies to a person or to the plate is a reason of the alert. The"
        " outcome of a passage or arrival is the most severe outcome of its reasons, or `clear` without any. From most to least severe:"
        f" {', '.join(markdown.code(outcome) for outcome in OUTCOMES)}.",
        "A person who leaves the district or states no origin needs no pass. A pass is an entry of the"
        " category `health_pass` for the token of the pass or of the identity card.",
        markdown.table(
            ("rule", "outcome", "when it applies"),
            [
                (markdown.code(rule.name), markdown.code(rule.outcome), rule.meaning.format(**asdict(DEFAULT)))
                for rule in RULES.values()
            ],
        ),
    )
