"""A wrong setting stops the program with its name and a remedy, never with its value."""

from pathlib import Path
from urllib.parse import quote

import pytest

from ninezero.streams.settings import SettingsError, clickhouse_reader, is_loopback, load, outbox, reachable_host

GOOD = {
    "NINEZERO_KAFKA": "127.0.0.1:9092",
    "NINEZERO_CLICKHOUSE": "chdb:///data",
    "NINEZERO_ORDER": "O-1",
    "NINEZERO_SUNSET": "2030-01-01T00:00:00+08:00",
}


def test_settings_have_their_documented_defaults() -> None:
    settings = load(GOOD)
    assert (
        settings.home,
        settings.timezone,
        settings.k,
        settings.topic_prefix,
        settings.replay,
        settings.max_list_age,
    ) == (
        "370115",
        "Asia/Shanghai",
        11,
        "",
        False,
        300,
    )
    assert settings.term_days == 14 and load({**GOOD, "NINEZERO_TERM_DAYS": "60"}).term_days == 60
    assert settings.transfer_hours == 6 and load({**GOOD, "NINEZERO_TRANSFER_HOURS": "0.5"}).transfer_hours == 0.5
    assert settings.http == ("127.0.0.1", 6066) and settings.workers == ()


def test_workers_on_other_machines_are_listed_with_their_role() -> None:
    settings = load({**GOOD, "NINEZERO_WORKERS": "screening=a:6066, lists=[::1]:6067"})
    assert settings.workers == (("screening", "a", 6066), ("lists", "::1", 6067))


def test_the_names_of_pages_are_listed_in_any_case_and_with_spaces() -> None:
    settings = load({**GOOD, "NINEZERO_HOSTS": " Board.example.org, worker_1,10.0.0.5,[2001:DB8::5],"})
    assert settings.hosts == ("board.example.org", "worker_1", "10.0.0.5", "2001:db8::5") and load(GOOD).hosts == ()


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_required_setting_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load({k: v for k, v in GOOD.items() if k != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NINEZERO_KAFKA", "broker"), ("NINEZERO_CLICKHOUSE", "http://x"), ("NINEZERO_CLICKHOUSE", "chdb://data"),
        ("NINEZERO_CLICKHOUSE", "clickhouse://h:99999999"), ("NINEZERO_CLICKHOUSE", "clickhouse://h:9000,i:x"),
        ("NINEZERO_CLICKHOUSE", "clickhouse://h,"), ("NINEZERO_CLICKHOUSE_CLUSTER", "main"), ("NINEZERO_ORDER", "two words"), ("NINEZERO_SUNSET", "soon"),
        ("NINEZERO_SUNSET", "2030-01-01T00:00:00"), ("NINEZERO_HOME", "3701"), ("NINEZERO_TIMEZONE", "Mars/Base"), ("NINEZERO_K", "10"),
        ("NINEZERO_K", "many"), ("NINEZERO_TOPIC_PREFIX", "a/b"), ("NINEZERO_REPLAY", "yes"), ("NINEZERO_MAX_LIST_AGE", "0"),
        *(("NINEZERO_TERM_DAYS", value) for value in ("0", "61", "-1", "14.5", "two")),
        ("NINEZERO_TRANSFER_HOURS", "0"), ("NINEZERO_TRANSFER_HOURS", "-6"), ("NINEZERO_TRANSFER_HOURS", "169"), ("NINEZERO_TRANSFER_HOURS", "six"), ("NINEZERO_TRANSFER_HOURS", "nan"),
        ("NINEZERO_HTTP", "6066"), *(("NINEZERO_HOSTS", value) for value in ("*", "http://a", "a:6066", "a b", "a/b", "[::1]:1", "\u0430.example")), ("NINEZERO_WORKERS", "screening"), ("NINEZERO_WORKERS", "nobody=h:1"), ("NINEZERO_KAFKA_TLS_CA", "/no/such/file"), ("NINEZERO_KAFKA_SASL_MECHANISM", "GSSAPI"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named_without_its_value(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as error:
        load({**GOOD, name: value})
    assert name in str(error.value) and f" {value} " not in str(error.value)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"NINEZERO_KAFKA_SASL_USER": "u", "NINEZERO_KAFKA_SASL_PASSWORD": "p"}, "NINEZERO_KAFKA_SASL_MECHANISM"),
        ({"NINEZERO_KAFKA_SASL_MECHANISM": "PLAIN", "NINEZERO_KAFKA_SASL_USER": "u"}, "NINEZERO_KAFKA_SASL_PASSWORD"),
        ({"NINEZERO_KAFKA_SASL_MECHANISM": "PLAIN", "NINEZERO_KAFKA_SASL_USER": "u", "NINEZERO_KAFKA_SASL_PASSWORD": "p"}, "NINEZERO_KAFKA_TLS_CA"),
        ({"NINEZERO_KAFKA_TLS_CERT": __file__, "NINEZERO_KAFKA_TLS_KEY": __file__}, "NINEZERO_KAFKA_TLS_CA"),
        ({"NINEZERO_CLICKHOUSE": "clickhouse://h", "NINEZERO_CLICKHOUSE_TLS_CA": __file__}, "clickhouses://"),
        ({"NINEZERO_CLICKHOUSE": "clickhouses://h", "NINEZERO_CLICKHOUSE_TLS_CA": "/no/such/file"}, "NINEZERO_CLICKHOUSE_TLS_CA"),
    ],
)  # fmt: skip
def test_an_incomplete_security_setting_is_an_error_and_never_a_plain_connection(
    given: dict[str, str], named: str
) -> None:
    with pytest.raises(SettingsError, match=named):
        load({**GOOD, **given})


def test_hosts_and_cluster_of_clickhouse_are_part_of_its_address() -> None:
    hosts = {"NINEZERO_CLICKHOUSE": "clickhouse://w:a,b@h1:9000,h2/?compression=lz4"}
    assert load({**GOOD, **hosts}).clickhouse == hosts["NINEZERO_CLICKHOUSE"]
    assert load({**GOOD, **hosts, "NINEZERO_CLICKHOUSE_CLUSTER": "main"}).clickhouse.endswith(
        "?compression=lz4&cluster=main"
    )
    with pytest.raises(SettingsError, match="NINEZERO_CLICKHOUSE_CLUSTER"):
        load({**GOOD, **hosts, "NINEZERO_CLICKHOUSE_CLUSTER": "a`b"})


def test_queries_have_an_account_of_their_own_where_one_is_given() -> None:
    reader = {"NINEZERO_CLICKHOUSE_READER": "clickhouses://ninezero_reader:hidden-3@h"}
    assert clickhouse_reader(GOOD) is None
    assert clickhouse_reader({**GOOD, **reader}) == reader["NINEZERO_CLICKHOUSE_READER"]
    assert (clickhouse_reader({**reader, "NINEZERO_CLICKHOUSE_TLS_CA": __file__}) or "").endswith(f"{quote(__file__)}")
    for wrong, remedy in (("chdb:///data", "has no accounts"), ("http://hidden-3@h", "write clickhouse://")):
        with pytest.raises(SettingsError, match=f"NINEZERO_CLICKHOUSE_READER.*{remedy}") as error:
            clickhouse_reader({**GOOD, "NINEZERO_CLICKHOUSE_READER": wrong})
        assert "hidden-3" not in str(error.value)


def test_no_secret_is_in_the_repr_of_settings() -> None:
    settings = load({
        **GOOD, "NINEZERO_CLICKHOUSE": "clickhouses://writer:hidden-1@h", "NINEZERO_CLICKHOUSE_TLS_CA": __file__,
        "NINEZERO_KAFKA_SASL_MECHANISM": "PLAIN", "NINEZERO_KAFKA_SASL_USER": "u", "NINEZERO_KAFKA_SASL_PASSWORD": "hidden-2",
        "NINEZERO_KAFKA_TLS_CA": __file__,
    })  # fmt: skip
    assert (
        settings.kafka_security["password"] == "hidden-2"
        and "hidden-1" in settings.clickhouse
        and "ca_certs=" in settings.clickhouse
    )
    assert "hidden" not in repr(settings) + str(settings)


@pytest.mark.parametrize(
    ("host", "asked"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.0.0.7", "10.0.0.7"), ("worker-1", "worker-1"), ("::1", "::1")],  # noqa: S104  # nothing listens here
)
def test_a_server_on_all_interfaces_is_reached_on_loopback(host: str, asked: str) -> None:
    assert reachable_host(host) == asked


def test_loopback_addresses_are_recognised() -> None:
    for here in (
        "127.0.0.1",
        "127.0.0.1:9092",
        "127.8.0.1:9000",
        "localhost",
        "LOCALHOST:80",
        "::1",
        "[::1]",
        "[::1]:9092",
    ):
        assert is_loopback(here), here
    for elsewhere in (
        "",
        "10.0.0.7:9092",
        "192.168.0.1",
        "[2001:db8::1]:9092",
        "127.0.0.1.evil.example",
        "localhost.evil.example:80",
        "127.example",
    ):
        assert not is_loopback(elsewhere), elsewhere


def test_outboxes_have_one_place_whatever_the_current_folder_is(tmp_path: Path) -> None:
    home, state = {"HOME": str(tmp_path)}, {"XDG_STATE_HOME": str(tmp_path / "state")}
    default = tmp_path / ".local" / "state" / "ninezero" / "outbox"
    assert outbox(home) == outbox(home | {"XDG_STATE_HOME": "relative"}) == default
    assert outbox(home | state) == tmp_path / "state" / "ninezero" / "outbox"
    assert outbox(home | state | {"NINEZERO_OUTBOX": "/var/outbox"}) == Path("/var/outbox")
    assert outbox(home | {"NINEZERO_OUTBOX": "~/.local/state/ninezero/outbox"}) == default
    with pytest.raises(SettingsError, match=r"^NINEZERO_OUTBOX is wrong: write an absolute path"):
        outbox(home | {"NINEZERO_OUTBOX": ".run/outbox"})
    for homeless in ("/nonexistent", "/", str(tmp_path / "none"), "relative"):
        assert outbox({"HOME": homeless}) is None
