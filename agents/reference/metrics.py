"""The page of metrics."""

from __future__ import annotations

from ninezero.agents.reference import markdown
from ninezero.streams.metrics import SET_BY


def page() -> str:
    """Returns `docs/reference/metrics.md`."""
    rows = []
    for metric, roles in SET_BY.items():
        (family,) = metric.describe()
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = ", ".join(markdown.code(label) for label in metric._labelnames)
        rows.append((markdown.code(name), family.type, labels, markdown.sentence(family.documentation), roles))
    return markdown.page(
        "Metrics",
        "Each role serves its metrics in the Prometheus format at `/metrics` of its port (`NINEZERO_HTTP`). Every role exposes"
        " every metric, so a query must name the role that sets it. No label holds an identity, a token, a device or a batch."
        " The alerts that use them are in [the runbook](../runbook.md).",
        markdown.table(("metric", "type", "labels", "meaning", "set by role"), rows),
    )
