"""The sites and policies in the embedded engine follow those of the topics."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from ninezero.agents.logic.policy.policy import Policy
from ninezero.agents.logic.policy.timeline import Timeline
from ninezero.agents.recording.mirrors import mirror, policy_rows, site_rows
from ninezero.schemas.policies import PolicyRecord, PolicyUse, policy_key, use_key
from ninezero.schemas.register import Site
from ninezero.schemas.rows import SiteRow
from ninezero.streams.clickhouse import Engine, inserts

SITES = [Site("road-1", "road", "370115", 0), Site("hotel", "quarantine", "370115001", 40)]
BEGIN = 1_767_200_000


def sites(engine: Engine) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in engine.query("SELECT * FROM ninezero.sites ORDER BY site_id")]


def test_sites_that_differ_are_inserted_and_nothing_else(engine: Engine) -> None:
    assert mirror(engine, "site_register", site_rows(SITES)) == 2
    assert mirror(engine, "site_register", site_rows(SITES)) == 0
    assert sites(engine) == [("hotel", "quarantine", "370115001", 40), ("road-1", "road", "370115", 0)]
    changed = [SITES[0], Site("hotel", "quarantine", "370115001", 55)]
    assert mirror(engine, "site_register", site_rows(changed)) == 1
    assert sites(engine) == [("hotel", "quarantine", "370115001", 55), ("road-1", "road", "370115", 0)]
    assert mirror(engine, "site_register", site_rows(SITES)) == 1, "a value that was there before comes back"
    assert sites(engine)[0] == ("hotel", "quarantine", "370115001", 40)


def test_sites_come_back_after_a_loss_and_a_former_site_stays(engine: Engine) -> None:
    mirror(engine, "site_register", site_rows(SITES))
    assert mirror(engine, "site_register", site_rows(SITES[:1])) == mirror(engine, "site_register", []) == 0
    assert len(sites(engine)) == 2
    engine.execute("TRUNCATE TABLE ninezero_data.site_register")
    assert mirror(engine, "site_register", site_rows(SITES)) == 2 == len(sites(engine))


def test_a_site_of_a_worker_whose_clock_was_fast_is_replaced(engine: Engine) -> None:
    later = time.time_ns() // 1_000_000 + 86_400_000
    inserts.insert(engine, "site_register", [SiteRow("road-1", "road", "370116", 0, later)])
    assert mirror(engine, "site_register", site_rows(SITES)) == 2
    assert sites(engine)[1] == ("road-1", "road", "370115", 0)


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


class Written:
    """The policies as records of the topic."""

    def __init__(self) -> None:
        self.timeline = Timeline(Policy(home="370115"), replay=False)

    def policy(self, name: str, version: int) -> None:
        record = PolicyRecord(
            policy=name, version=version, author="mei", legal_basis="order-1", fever_c=37.0, plausible_c=[30.0, 45.0],
            max_list_age_s=300.0, outcomes={}, home="site", exempt_origins=[],
        )  # fmt: skip
        assert self.timeline.apply(policy_key(name, version), record, BEGIN * 1000) is None

    def use(self, name: str, version: int, use: PolicyUse, seconds: int) -> None:
        assert self.timeline.apply(use_key(name, version), use, (BEGIN + seconds) * 1000) is None


def policies(engine: Engine, timeline: Timeline) -> list[tuple[Any, ...]]:
    mirror(engine, "policy_uses", policy_rows(timeline))
    assert mirror(engine, "policy_uses", policy_rows(timeline)) == 0
    sql = "SELECT * FROM ninezero.policies ORDER BY policy, version, effective_from"
    return [tuple(row.values()) for row in engine.query(sql)]


def test_the_uses_of_policies_are_shown_and_a_policy_without_a_use_is_proposed(engine: Engine) -> None:
    written = Written()
    assert policies(engine, written.timeline) == []
    written.policy("winter", 1)
    written.policy("winter", 2)
    assert policies(engine, written.timeline) == [
        ("winter", 1, "proposed", None, "mei", "", None),
        ("winter", 2, "proposed", None, "mei", "", None),
    ]
    written.use("winter", 2, PolicyUse("shadow", at(BEGIN + 50), None, "jun"), 10)
    written.use("default", 1, PolicyUse("active", at(BEGIN + 500), None, "lan"), 20)
    shadow = ("winter", 2, "shadow", "2025-12-31 16:54:10", "mei", "jun", None)
    assert policies(engine, written.timeline) == [
        ("default", 1, "active", "2025-12-31 17:01:40", "", "lan", None),
        ("winter", 1, "proposed", None, "mei", "", None),
        shadow,
    ]
    # The shadow ends and the policy is activated; that is a second use.
    written.use("winter", 2, PolicyUse("shadow", at(BEGIN + 50), at(BEGIN + 100), "jun"), 60)
    written.use("winter", 2, PolicyUse("active", at(BEGIN + 300), None, "jun"), 110)
    assert policies(engine, written.timeline)[2:] == [
        (*shadow[:-1], "2025-12-31 16:55:00"),
        ("winter", 2, "active", "2025-12-31 16:58:20", "mei", "jun", None),
    ]
    # A use that has not begun is written again with another begin.
    written.use("winter", 2, PolicyUse("active", at(BEGIN + 400), None, "lan"), 120)
    assert policies(engine, written.timeline)[3:] == [
        ("winter", 2, "active", "2025-12-31 17:00:00", "mei", "lan", None)
    ]


def test_a_time_that_the_view_cannot_show_is_the_first_or_the_last_that_it_can(engine: Engine) -> None:
    written = Written()
    written.policy("old", 1)
    use = PolicyUse("shadow", datetime(1900, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), "jun")
    written.use("old", 1, use, 0)
    assert policies(engine, written.timeline) == [
        ("old", 1, "shadow", "1970-01-01 00:00:00", "mei", "jun", "2106-02-07 06:28:15")
    ]
