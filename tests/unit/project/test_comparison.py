"""The comparison with peers shows no figure of a peer whose results differ from those of ninezero."""

from typing import Any

import pytest

from tests.bench import comparison
from tests.bench.comparison_rig import Checksum, RunResult
from tests.bench.feed import expected

EVENTS = 1000
EXPECTED = expected(EVENTS)
NINEZERO_RUN = RunResult(
    EVENTS,
    {"screening": 0.1, "recording": 0.1},
    0.2,
    300,
    Checksum(EXPECTED.alerts, "a"),
    Checksum(EXPECTED.rows, "s"),
    EXPECTED.dead_letters,
    EXPECTED.rows,
)
PEER = NINEZERO_RUN._replace(cpu={"all": 0.05}, outcomes=0)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({}, True),
        ({"rows": Checksum(EXPECTED.rows - 1, "s")}, False),
        ({"rows": Checksum(EXPECTED.rows, "t")}, False),
        ({"alerts": Checksum(EXPECTED.alerts, "b")}, False),
        ({"outcomes": EXPECTED.rows}, False),
    ],
)
def test_a_peer_with_other_results_has_no_figure(change: dict[str, Any], shown: bool, capsys: Any) -> None:
    stored = comparison.report({comparison.NINEZERO: [NINEZERO_RUN], "Bytewax": [PEER._replace(**change)]})
    assert ("Bytewax" in stored) == shown == ("20,000" in capsys.readouterr().out)


def test_a_peer_that_failed_in_a_round_has_no_figure(capsys: Any) -> None:
    comparison.report({comparison.NINEZERO: [NINEZERO_RUN, NINEZERO_RUN], "Bytewax": [PEER]})
    assert "other results: not shown" in capsys.readouterr().out
