"""Turns the figures of `tests.bench.axes` and `tests.bench.latency` into the tables and the picture of docs/performance.md.

Reads .run/bench.json. Run it with: python -m tests.bench.plots
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.bench import results

HOME = Path(__file__).resolve().parents[2]
PAGE = HOME / "docs" / "performance.md"
PICTURE = HOME / "docs" / "pictures" / "cost.svg"
AXES = {
    "entries": "entries of the watchlist",
    "partitions": "partitions",
    "sites": "checkpoints",
    "records": "records in a chunk, at most",
    "concerning": "drivers in 100 with a reason or a pass",
    "people": "people in a vehicle",
}
LINEAR = ("concerning",)
"""Axes whose x scale is linear."""
LINES = ("together", "screening", "recording")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 420, 250, 58, 14, 34, 44
"""Size of one panel, and the margins within it."""

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 } .small { font-size: 11px } .name { font-weight: 600 }
.grid { stroke: #d1d9e0 } .band { fill: #59636e; opacity: .13 } path { fill: none; stroke-width: 2 }
.together { stroke: #1f2328 } .screening { stroke: #0969da } .recording { stroke: #bc4c00 }
circle { stroke: none } circle.together { fill: #1f2328 } circle.screening { fill: #0969da } circle.recording { fill: #bc4c00 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .grid { stroke: #3d444d } .band { fill: #9198a1; opacity: .2 }
.together { stroke: #e6edf3 } .screening { stroke: #4493f8 } .recording { stroke: #f0883e }
circle.together { fill: #e6edf3 } circle.screening { fill: #4493f8 } circle.recording { fill: #f0883e } }
"""


def picture(axes: dict[str, Any]) -> str:
    """Returns an SVG with one panel for each axis, readable on light and dark backgrounds."""
    panels = [panel(axis, points(axes[axis])) for axis in AXES if len(axes.get(axis, ())) > 1]
    rows = math.ceil(len(panels) / 2)
    placed = "".join(
        f'<g transform="translate({n % 2 * WIDTH} {n // 2 * HEIGHT})">{one}</g>' for n, one in enumerate(panels)
    )
    legend = "".join(
        f'<circle class="{line}" cx="{LEFT + 6 + 110 * n}" cy="-4" r="4"/><text x="{LEFT + 16 + 110 * n}" y="0">{line}</text>'
        for n, line in enumerate(LINES)
    )
    legend += f'<rect class="band" x="{LEFT + 332}" y="-11" width="14" height="14"/><text x="{LEFT + 352}" y="0">up to 20 % above the lowest point</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {rows * HEIGHT + 26}" role="img">'
        f"<title>CPU seconds per million events, by the size of the deployment</title><style>{STYLE}</style>"
        f'<g transform="translate(0 18)">{legend}</g><g transform="translate(0 26)">{placed}</g></svg>\n'
    )


def points(axis: dict[str, Any]) -> dict[int, dict[str, float]]:
    """Returns the CPU seconds per million events of the median round, by value of the axis and by line."""
    found = {}
    for value, point in sorted(axis.items(), key=lambda item: int(item[0])):
        cpu = {role: statistics.median(rounds) for role, rounds in point["cpu"].items()}
        found[int(value)] = cpu | {"together": sum(cpu.values())}
    return found


def panel(axis: str, at: dict[int, dict[str, float]]) -> str:
    """Returns the panel of one axis.

    Its x scale is logarithmic but for `LINEAR`. Its y scale is linear from zero, or logarithmic if a point is far above the others.
    """
    least = min(point["together"] for point in at.values())
    most = max(point["together"] for point in at.values())
    far = most > 5 * least
    low, high = (math.log10(min(p["recording"] for p in at.values()) * 0.7), math.log10(most * 1.3)) if far else (0.0, 1.25 * most)  # fmt: skip
    scale: Callable[[float], float] = float if axis in LINEAR else math.log10
    first, last = scale(min(at)), scale(max(at))

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (scale(value) - first) / (last - first)

    def y(cost: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * ((math.log10(cost) if far else cost) - low) / (high - low)

    parts = [f'<text class="name" x="{LEFT}" y="{TOP - 14}">{AXES[axis]}</text>']
    parts.append(f'<rect class="band" x="{LEFT}" width="{WIDTH - LEFT - RIGHT}" y="{y(1.2 * least):.1f}" height="{y(least) - y(1.2 * least):.1f}"/>')  # fmt: skip
    for step in steps(low, high, far):
        parts.append(f'<path class="grid" style="stroke-width:1" d="M{LEFT} {y(step) if step or not far else 0:.1f}H{WIDTH - RIGHT}"/>'
                     f'<text class="small" text-anchor="end" x="{LEFT - 6}" y="{y(step) + 4:.1f}">{step:,.0f}</text>')  # fmt: skip
    parts += [f'<text class="small" text-anchor="middle" x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 16}">{short(value)}</text>' for value in at]  # fmt: skip
    parts.append(f'<text class="small" text-anchor="middle" transform="translate(14 {(HEIGHT - BOTTOM + TOP) / 2}) rotate(-90)">CPU s per million events</text>')  # fmt: skip
    for line in LINES:
        places = [(x(value), y(point[line])) for value, point in at.items()]
        parts.append(f'<path class="{line}" d="M{"L".join(f"{a:.1f} {b:.1f}" for a, b in places)}"/>')
        parts += [f'<circle class="{line}" cx="{a:.1f}" cy="{b:.1f}" r="3.5"/>' for a, b in places]
    return "".join(parts)


def steps(low: float, high: float, far: bool) -> Iterator[float]:
    """Yields the values at which the y scale has lines."""
    if far:
        yield from (10.0**n for n in range(math.ceil(low), math.floor(high) + 1))
        return
    rough = high / 5
    size = 10 ** math.floor(math.log10(rough))
    size *= next(m for m in (1, 2, 5, 10) if m * size >= rough)
    yield from (n * size for n in range(int(high / size) + 1))


def short(value: int) -> str:
    """Returns a label for a value: 10⁶ where the digits would not fit."""
    power = round(math.log10(max(value, 1)))
    return (
        f"10{''.join('⁰¹²³⁴⁵⁶⁷⁸⁹'[int(d)] for d in str(power))}" if value == 10**power and power > 3 else f"{value:,}"
    )


def cost_tables(axes: dict[str, Any]) -> str:
    """Returns the axes as Markdown tables."""
    lines = [
        "| | from | to | CPU seconds per million events, lowest to highest | screening | recording |",
        "|---|---|---|---|---|---|",
    ]
    for axis, what in AXES.items():
        if len(axes.get(axis, ())) > 1:
            at = points(axes[axis])
            lines.append(f"| {what} | {min(at):,} | {max(at):,} | " + " | ".join(
                f"{min(p[line] for p in at.values()):.1f} to {max(p[line] for p in at.values()):.1f}" for line in LINES) + " |")  # fmt: skip
    if "entries" in axes:
        lines += [
            "",
            "| entries of the watchlist | start until ready | memory of a screening worker |",
            "|---|---|---|",
        ]
        lines += [f"| {int(n):,} | {p['ready_s']:.1f} s | {p['memory_mb']['screening']:,} MB |" for n, p in sorted(axes["entries"].items(), key=lambda item: int(item[0]))]  # fmt: skip
    if "workers" in axes:
        lines += ["", "| screening workers | events per second | CPU seconds per million events |", "|---|---|---|"]
        for n, point in axes["workers"].items():
            cpu = statistics.median(map(sum, zip(*point["cpu"].values(), strict=True)))
            lines.append(f"| {n} | {statistics.median(point['events_per_second']):,.0f} | {cpu:.1f} |")
    return "\n".join(lines)


def latency_table(found: dict[str, Any]) -> str:
    """Returns the latencies as a Markdown table."""
    lines = ["| scans per second | outcome p50 | p99 | p99.9 | alert p99 | until decided p99 | until in Kafka p99 | until read p99 | cores: screening, broker |", "|" + "---|" * 9]  # fmt: skip
    for one in found["rates"]:
        latencies = [one["outcomes"][q] for q in ("p50", "p99", "p99.9")]
        latencies += [one[what]["p99"] for what in ("alerts", "until decided", "until in Kafka", "until read")]
        cores = one["cores"]
        lines.append(f"| {one['rate']:,} | {' | '.join(f'{latency:.0f} ms' for latency in latencies)} | {cores['screening']:.2f}, {cores['broker']:.2f} |")  # fmt: skip
    return "\n".join(lines)


def put(page: str, mark: str, text: str) -> str:
    """Returns the page with this text between its marks.

    Raises:
        AssertionError: the page does not have the marks.
    """
    page, count = re.subn(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", lambda m: f"{m[1]}{text}\n{m[2]}", page, flags=re.DOTALL)  # fmt: skip
    assert count == 1, f"docs/performance.md has no place for {mark}"
    return page


def main() -> None:
    """Writes the tables and the picture for which there are figures."""
    page = PAGE.read_text()
    if axes := results.read("axes"):
        PICTURE.write_text(picture(axes))
        page = put(page, "costs", cost_tables(axes))
    if latencies := results.read("latency"):
        page = put(page, "latency", latency_table(latencies))
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
