"""The comparison with peers shows no figure of a peer that did another job."""

from typing import Any

import pytest

from tests.bench import comparison
from tests.bench.feed import expected
from tests.bench.rig import Found

EVENTS = 1000
DUE = expected(EVENTS)
OURS = Found(
    EVENTS, {"screening": 0.1, "recording": 0.1}, 0.2, 300, (DUE.alerts, "a"), (DUE.rows, "s"), DUE.letters, DUE.rows
)
PEER = OURS._replace(cpu={"all": 0.05}, told=0)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({}, True),
        ({"rows": (DUE.rows - 1, "s")}, False),
        ({"rows": (DUE.rows, "t")}, False),
        ({"alerts": (DUE.alerts, "b")}, False),
        ({"told": DUE.rows}, False),
    ],
)
def test_another_result_has_no_figure(change: dict[str, Any], shown: bool, capsys: Any, monkeypatch: Any) -> None:
    kept: dict[str, Any] = {}
    monkeypatch.setattr(comparison.results, "keep", lambda _, figures: kept.update(figures))
    comparison.report({comparison.OURS: [OURS], "Bytewax": [PEER._replace(**change)]})
    assert ("Bytewax" in kept) == shown == ("20,000" in capsys.readouterr().out)


def test_a_peer_that_failed_in_a_round_has_no_figure(capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(comparison.results, "keep", lambda *_: None)
    comparison.report({comparison.OURS: [OURS, OURS], "Bytewax": [PEER]})
    assert "other results: not shown" in capsys.readouterr().out
