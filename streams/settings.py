"""All settings. This is the only module that reads settings from the environment."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, NamedTuple, get_args
from urllib.parse import quote, urlsplit, urlunsplit
from zoneinfo import ZoneInfo

import msgspec

from ninezero.schemas.events import Identifier, TermDays
from ninezero.streams import settings_file
from ninezero.streams.settings_file import SettingsError as SettingsError


def reachable_host(host: str) -> str:
    """Returns the host at which this machine reaches a server that listens on `host`: loopback for all interfaces."""
    with suppress(ValueError):  # a host name is not an IP address
        address = ip_address(host)
        if address.is_unspecified:
            return "127.0.0.1" if address.version == 4 else "::1"
    return host


def is_loopback(address: str) -> bool:
    """Returns whether an address (host, or host:port) is a loopback address or `localhost`. Names are not resolved."""
    name = address.partition(":")[0]
    for host in (address, address.partition("]")[0].removeprefix("["), name):
        with suppress(ValueError):
            return ip_address(host).is_loopback
    return name.lower() == "localhost"


def with_file(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns environment variables, and the settings of the file that `NINEZERO_SETTINGS` names. The variables come first.

    No other file is read: none of the current folder, and no `.env`.

    Raises:
        SettingsError: the file cannot be used.
    """
    path = environ.get("NINEZERO_SETTINGS")
    given = settings_file.read(Path(path), known_in_file()) if path else {}
    return given | {name: value for name, value in environ.items() if value or name not in given}


def known_in_file() -> list[str]:
    """Returns the names that a settings file may have."""
    return [name for name, setting in SETTINGS.items() if setting.used_on]


class WorkerAddress(NamedTuple):
    """The address at which a worker answers HTTP requests."""

    role: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """The URL of the worker, without a path."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True)
class Settings:
    """All settings, validated. `SETTINGS` says what each means; `max_list_age` is in seconds, `transfer_hours` in hours."""

    kafka: str
    clickhouse: str = field(repr=False)  # it may hold a password
    keys: Path | None
    outbox: Path | None
    """Folder of the devices' outboxes; None if it is not set and this account has no home folder. See `outbox_folder`."""
    order: str
    sunset: datetime
    home: str = "370115"
    timezone: str = "Asia/Shanghai"
    k: int = 11
    topic_prefix: str = ""
    replay: bool = False
    max_list_age: float = 300.0
    transfer_hours: float = 6.0
    term_days: int = 14
    http: tuple[str, int] = ("127.0.0.1", 6066)
    """Host and port of the screening role; the other roles use the next ports."""
    hosts: tuple[str, ...] = ()
    """Names under which the pages of a worker may be asked for, beside loopback and its own address; in lower case."""
    workers: tuple[WorkerAddress, ...] = ()
    """The workers that the board asks. Empty: the roles of this machine."""
    kafka_security: Mapping[str, str] = field(default_factory=dict, repr=False)
    former_outbox: Path | None = None
    """Folder in which earlier releases kept outboxes if NINEZERO_OUTBOX was not set; None if it is set."""

    def outbox_folder(self) -> Path:
        """Returns the folder of the devices' outboxes.

        Raises:
            SettingsError: it is not set, and this account has no home folder.
        """
        if self.outbox is None:
            raise SettingsError(
                "NINEZERO_OUTBOX is not set and this account has no home folder: set it to a folder that survives a restart,"
                " such as /var/lib/ninezero/outbox",
                chinese="没有设置 NINEZERO_OUTBOX，这个账户也没有主目录：请设为重启后仍在的文件夹，如 /var/lib/ninezero/outbox",
            )
        return self.outbox

    def workers_of_this_machine(self) -> list[WorkerAddress]:
        """Returns the address at which each role answers if it runs on this machine."""
        host, first = self.http
        return [WorkerAddress(role, reachable_host(host), first + step) for role, step in ROLES.items()]

    def all_workers(self) -> list[WorkerAddress]:
        """Returns the workers of NINEZERO_WORKERS; without it each role of this machine."""
        return list(self.workers) or self.workers_of_this_machine()

    def topic(self, name: str) -> str:
        """Returns the name of a topic on the broker."""
        return self.topic_prefix + name

    def group(self, role: str) -> str:
        """Returns the name of a role's Faust app and consumer group. Names of topics that Faust makes begin with it."""
        return f"{self.topic_prefix}ninezero-{role}"


FORMER_OUTBOX = Path(".run") / "outbox"
"""Folder of the outboxes in releases in which it depended on the current folder."""

ROLES = {"screening": 0, "lists": 1, "ledgers": 2, "recording": 3}
"""Roles, and the offset of each role's HTTP port from the port of NINEZERO_HTTP."""


Place = Literal["edge", "worker", "authority"]
"""A kind of machine: a checkpoint's, one on which roles run, or one from which a health authority pushes."""
EVERYWHERE: tuple[Place, ...] = get_args(Place)
WITH_KEYS: tuple[Place, ...] = ("edge", "authority")


class Setting(NamedTuple):
    """One environment variable."""

    meaning: str
    """The meaning of the setting and the form of its value."""
    read_by: str
    """The programs that use it."""
    default: str = ""
    """The value when the variable is not set; empty if there is none."""
    example: str = ""
    """A value that a reader can copy and change."""
    used_on: tuple[Place, ...] = ()
    """The machines whose settings file has it."""
    needed_on: tuple[Place, ...] = ()
    """The machines on which a program that uses it stops when the variable is not set."""


SETTINGS = {
    "NINEZERO_KAFKA": Setting(
        "Kafka bootstrap servers, host:port[,host:port]",
        "all programs that connect to Kafka",
        example="127.0.0.1:9092",
        used_on=EVERYWHERE,
        needed_on=EVERYWHERE,
    ),
    "NINEZERO_KAFKA_TLS_CA": Setting(
        "CA certificate file of the Kafka brokers; setting it turns TLS on",
        "all programs that connect to Kafka",
        example="/etc/ninezero/kafka-ca.pem",
        used_on=EVERYWHERE,
    ),
    "NINEZERO_KAFKA_TLS_CERT": Setting(
        "client certificate file for Kafka; needs NINEZERO_KAFKA_TLS_CA",
        "all programs that connect to Kafka",
        example="/etc/ninezero/kafka-client.pem",
        used_on=EVERYWHERE,
    ),
    "NINEZERO_KAFKA_TLS_KEY": Setting(
        "private key file of the client certificate; needs NINEZERO_KAFKA_TLS_CA",
        "all programs that connect to Kafka",
        example="/etc/ninezero/kafka-client.key",
        used_on=EVERYWHERE,
    ),
    "NINEZERO_KAFKA_SASL_MECHANISM": Setting(
        "PLAIN (with TLS only), SCRAM-SHA-256 or SCRAM-SHA-512; setting it turns SASL on",
        "all programs that connect to Kafka",
        example="SCRAM-SHA-512",
        used_on=EVERYWHERE,
    ),
    "NINEZERO_KAFKA_SASL_USER": Setting(
        "user name for SASL", "all programs that connect to Kafka", example="ninezero-devices", used_on=EVERYWHERE
    ),
    "NINEZERO_KAFKA_SASL_PASSWORD": Setting(
        "password for SASL", "all programs that connect to Kafka", example="PASSWORD", used_on=EVERYWHERE
    ),
    "NINEZERO_TOPIC_PREFIX": Setting(
        "prefix of every topic, consumer group and transactional id: at most 100 letters, digits, '.', '_' and '-'",
        "all programs that connect to Kafka",
        example="trial.",
        used_on=EVERYWHERE,
    ),
    "NINEZERO_CLICKHOUSE": Setting(
        "address of ClickHouse: clickhouse://user:password@host:9000[,host:9000], tried in turn; clickhouses://user:password@host:9440 (TLS); or chdb:///path (embedded)",
        "recording and its board; commands that read or write ClickHouse",
        example="clickhouse://ninezero_writer:PASSWORD@127.0.0.1:9000",
        used_on=("worker",),
        needed_on=("worker",),
    ),
    "NINEZERO_CLICKHOUSE_READER": Setting(
        "address of the ClickHouse server with the account ninezero_reader, as which ninezero query reads; without it, it reads as the account of NINEZERO_CLICKHOUSE",
        "ninezero query",
        example="clickhouse://ninezero_reader:PASSWORD@127.0.0.1:9000",
        used_on=("worker",),
    ),
    "NINEZERO_CLICKHOUSE_TLS_CA": Setting(
        "CA certificate file of the ClickHouse server, with clickhouses://; without it the CAs of the machine are trusted",
        "as NINEZERO_CLICKHOUSE",
        example="/etc/ninezero/clickhouse-ca.pem",
        used_on=("worker",),
    ),
    "NINEZERO_CLICKHOUSE_CLUSTER": Setting(
        "name of the cluster on which ninezero migrate makes the tables, Replicated; one shard, best of three replicas; an insert counts when most replicas have it."
        " The tests run every statement on replicated tables with ZooKeeper, but never with a second active replica: try yours before you rely on it",
        "as NINEZERO_CLICKHOUSE",
        example="main",
        used_on=("worker",),
    ),
    "NINEZERO_ORDER": Setting(
        "identifier of the emergency order under which the deployment runs: letters, digits, '.', '_' and '-', at most 64",
        "all workers, devices and authorities",
        example="JIYANG-2026-01",
        used_on=EVERYWHERE,
        needed_on=EVERYWHERE,
    ),
    "NINEZERO_SUNSET": Setting(
        "end of the emergency order, RFC 3339 with an offset, such as 2026-12-31T00:00:00+08:00",
        "all workers, devices and authorities",
        example="2026-12-31T00:00:00+08:00",
        used_on=EVERYWHERE,
        needed_on=EVERYWHERE,
    ),
    "NINEZERO_HOME": Setting(
        "six-digit division code of the district; people from outside it or its province need a health pass. It is the home of the policy"
        " `default@1`, and of sites without a division",
        "screening",
        "370115",
        used_on=("worker",),
    ),
    "NINEZERO_TIMEZONE": Setting(
        "IANA time zone of the local day; the same everywhere, and the one with which ninezero migrate was run",
        "ledgers, recording, authorities; commands that read or write ClickHouse",
        "Asia/Shanghai",
        used_on=EVERYWHERE,
    ),
    "NINEZERO_MAX_LIST_AGE": Setting(
        "seconds without a watchlist heartbeat after which the policy `default@1` holds everyone; 1 or more",
        "screening, board",
        "300",
        used_on=("worker",),
    ),
    "NINEZERO_TRANSFER_HOURS": Setting(
        "hours from the first boarding of a transfer until everyone who boarded must be delivered; more than 0, at most 168",
        "ledgers",
        "6",
        used_on=("worker",),
    ),
    "NINEZERO_TERM_DAYS": Setting(
        "days that a quarantine or follow-up lasts whose first event states no term: 1 to 60; the same for both roles",
        "ledgers, recording",
        "14",
        used_on=("worker",),
    ),
    "NINEZERO_K": Setting(
        "smallest count that is published; 11 or more", "ninezero publish", "11", used_on=("worker",)
    ),
    "NINEZERO_REPLAY": Setting(
        "1 for scenarios and back-fills: event times are accepted however old, case alerts follow event times, no facts are dropped",
        "all workers, devices",
        "0",
        used_on=("worker",),
    ),
    "NINEZERO_HTTP": Setting(
        "address of metrics, health checks and the board, host:port; screening takes this port, lists, ledgers and recording the next three",
        "all workers",
        "127.0.0.1:6066",
        used_on=("worker",),
    ),
    "NINEZERO_HOSTS": Setting(
        "names under which the pages of NINEZERO_HTTP may be asked for, beside localhost and the worker's own address: those of your proxy,"
        " of the targets of Prometheus and of NINEZERO_WORKERS; without a port, separated by commas",
        "all workers",
        example="board.example.org,worker-1",
        used_on=("worker",),
    ),
    "NINEZERO_WORKERS": Setting(
        "workers that the board and ninezero doctor ask, role=host:port[,role=host:port]; without it those of NINEZERO_HTTP",
        "board",
        example="screening=10.0.0.5:6066,lists=10.0.0.5:6067,ledgers=10.0.0.6:6068,recording=10.0.0.6:6069",
        used_on=("worker",),
    ),
    "NINEZERO_KEYS": Setting(
        "key ring file, mode 0600",
        "devices, authorities, ninezero keys, ninezero erase",
        example="/etc/ninezero/keys.json",
        used_on=WITH_KEYS,
        needed_on=WITH_KEYS,
    ),
    "NINEZERO_OUTBOX": Setting(
        "folder of the devices' outboxes, an absolute path; the default is below $XDG_STATE_HOME, or ~/.local/state without it."
        " An outbox of another deployment is refused",
        "devices, ninezero erase",
        "~/.local/state/ninezero/outbox",
        used_on=("edge",),
    ),
    "NINEZERO_SETTINGS": Setting(
        "file with settings, a line NAME=VALUE each, as ninezero init writes it; variables of the environment come first",
        "all programs",
        example="/etc/ninezero/ninezero.env",
    ),
}
"""Every setting by the name of its environment variable, in the order of the reference."""


def load(
    environ: Mapping[str, str] | None = None, *, edge: bool = False, also_needed: tuple[str, ...] = ()
) -> Settings:
    """Reads and validates all settings.

    Args:
        environ: the environment variables; without it those of the process, and the file that `NINEZERO_SETTINGS` names.
        edge: whether to leave ClickHouse out, for programs that do not use it.
        also_needed: settings without which this program cannot do its work either.

    Raises:
        SettingsError: a setting is missing or wrong; the message names it and the remedy.
    """
    env = with_file(os.environ) if environ is None else environ
    if lacking := missing(env, edge=edge, also_needed=also_needed):
        raise not_set(*lacking)
    order = env["NINEZERO_ORDER"].strip()
    try:
        msgspec.convert(order, Identifier)
    except msgspec.ValidationError:
        raise _wrong(
            "NINEZERO_ORDER", "use letters, digits, '.', '_' and '-', at most 64, no eleven digits in a row"
        ) from None
    return Settings(
        kafka=kafka(env),
        clickhouse="" if edge else clickhouse(env),
        keys=Path(env["NINEZERO_KEYS"]) if env.get("NINEZERO_KEYS") else None,
        outbox=outbox(env),
        order=order,
        sunset=_time(env, "NINEZERO_SUNSET"),
        home=_digits(env, "NINEZERO_HOME"),
        timezone=timezone(env),
        k=k(env),
        topic_prefix=_prefix(env),
        replay=_flag(env, "NINEZERO_REPLAY"),
        max_list_age=_number(env, "NINEZERO_MAX_LIST_AGE", 1),
        transfer_hours=_transfer_hours(env),
        term_days=_term_days(env),
        http=_address(env),
        hosts=_allowed_hosts(env),
        workers=_workers(env),
        kafka_security=kafka_security(env),
        former_outbox=None if env.get("NINEZERO_OUTBOX") else _former_outbox(),
    )


def missing(env: Mapping[str, str], *, edge: bool = False, also_needed: tuple[str, ...] = ()) -> list[str]:
    """Returns the names of the settings that a program needs and lacks; see `load` for the arguments."""
    needed = {name for name, setting in SETTINGS.items() if setting.needed_on == EVERYWHERE}
    needed |= {*also_needed} if edge else {"NINEZERO_CLICKHOUSE", *also_needed}
    return [name for name in SETTINGS if name in needed and not env.get(name, "").strip()]


def not_set(*names: str) -> SettingsError:
    """Returns the error about settings that are missing. It has an example of each."""
    examples = ", ".join(f"{name}={SETTINGS[name].example}" for name in names)
    them, are = ("it", "is") if len(names) == 1 else ("them", "are")
    place = (
        "in the file of NINEZERO_SETTINGS"
        if os.environ.get("NINEZERO_SETTINGS")
        else "or write a settings file with ninezero init"
    )
    return SettingsError(f"{_enumerated(names)} {are} not set: set {them}, for example {examples}, {place}")


def _enumerated(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def outbox(env: Mapping[str, str]) -> Path | None:
    """Returns the folder of the devices' outboxes: the same one from whatever folder a device is started.

    It is `NINEZERO_OUTBOX`, or by the XDG Base Directory Specification `ninezero/outbox` in the folder for the state of programs. None if
    it is not set and this account has no home folder, as many service accounts.
    """
    given, home = env.get("NINEZERO_OUTBOX", ""), Path(env.get("HOME") or _home_of_account())
    has_home = home.is_absolute() and home != Path("/") and _is_folder(home)
    if given.startswith("~/"):  # no shell has read a settings file
        return home / given[2:] if has_home else None
    if given:
        if not Path(given).is_absolute():
            raise _wrong(
                "NINEZERO_OUTBOX", "write an absolute path, so that a device finds its outbox from every folder"
            )
        return Path(given)
    state = Path(env.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():  # an invalid path is ignored, as the specification says
        if not has_home:
            return None
        state = home / ".local" / "state"
    return state / "ninezero" / "outbox"


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # it is in a folder that this account may not enter
        return False


def _former_outbox() -> Path | None:
    try:
        return FORMER_OUTBOX.absolute()
    except OSError:  # the current folder was deleted, and nothing is in it
        return None


def _home_of_account() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # an account without a name, as in a container
        return ""


def kafka(env: Mapping[str, str]) -> str:
    """Returns `NINEZERO_KAFKA`, validated: host:port, comma-separated."""
    servers = _required(env, "NINEZERO_KAFKA")
    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise _wrong("NINEZERO_KAFKA", "write host:port, several separated by commas")
    return servers.replace(" ", "")


def clickhouse(env: Mapping[str, str], name: str = "NINEZERO_CLICKHOUSE") -> str:
    """Returns `NINEZERO_CLICKHOUSE` or another address, validated: a `clickhouse://`, `clickhouses://` (TLS) or `chdb://` URL.

    The CA and the cluster of the settings beside it are options of the URL.
    """
    url = _required(env, name)
    try:
        parts = urlsplit(url)
        server = parts.scheme in ("clickhouse", "clickhouses") and all(map(_is_host, _hosts(parts.netloc)))
        usable = server or (parts.scheme == "chdb" and not parts.netloc and len(parts.path) > 1)
    except ValueError:
        usable = False
    if not usable:
        raise _wrong(name, "write clickhouse://user:password@host:9000[,host:9000] or chdb:///absolute/path")
    options = [parts.query]
    if ca := env.get("NINEZERO_CLICKHOUSE_TLS_CA"):
        if parts.scheme != "clickhouses":
            raise _wrong(name, "write clickhouses:// with NINEZERO_CLICKHOUSE_TLS_CA, and the port that has TLS")
        _file("NINEZERO_CLICKHOUSE_TLS_CA", ca)
        options.append(f"ca_certs={quote(ca)}")
    if cluster := env.get("NINEZERO_CLICKHOUSE_CLUSTER"):
        if parts.scheme == "chdb":
            raise _wrong("NINEZERO_CLICKHOUSE_CLUSTER", "leave it out: an embedded database has no cluster")
        if not re.fullmatch(r"\w[\w.-]{0,63}", cluster, re.A):
            raise _wrong("NINEZERO_CLICKHOUSE_CLUSTER", "write a name of letters, digits, '_', '.' and '-', at most 64")
        options.append(f"cluster={quote(cluster)}")
    return urlunsplit(parts._replace(query="&".join(filter(None, options))))


def clickhouse_reader(env: Mapping[str, str]) -> str | None:
    """Returns `NINEZERO_CLICKHOUSE_READER`, validated: the URL of a server, or None if it is not set."""
    if not env.get("NINEZERO_CLICKHOUSE_READER"):
        return None
    if env["NINEZERO_CLICKHOUSE_READER"].startswith("chdb:"):
        raise _wrong("NINEZERO_CLICKHOUSE_READER", "leave it out: an embedded database has no accounts")
    return clickhouse(env, "NINEZERO_CLICKHOUSE_READER")


def _hosts(netloc: str) -> list[str]:
    return netloc.rpartition("@")[2].split(",")


def _is_host(host_and_port: str) -> bool:
    parts = urlsplit(f"//{host_and_port}")  # a wrong port raises ValueError
    return bool(parts.hostname) and (parts.port or 1) > 0


def k(env: Mapping[str, str]) -> int:
    """Returns `NINEZERO_K`, validated: 11 or more."""
    return int(_number(env, "NINEZERO_K", 11))


def _term_days(env: Mapping[str, str]) -> int:
    """Returns `NINEZERO_TERM_DAYS`, validated: a term in days."""
    try:
        return msgspec.convert(_value(env, "NINEZERO_TERM_DAYS"), TermDays, strict=False)
    except msgspec.ValidationError:
        raise _wrong("NINEZERO_TERM_DAYS", "write a whole number of days, 1 to 60") from None


def timezone(env: Mapping[str, str]) -> str:
    """Returns `NINEZERO_TIMEZONE`, validated: an IANA time zone."""
    name = _value(env, "NINEZERO_TIMEZONE")
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise _wrong("NINEZERO_TIMEZONE", "write an IANA time zone such as Asia/Shanghai") from None
    return name


def kafka_security(env: Mapping[str, str]) -> dict[str, str]:
    """Returns the TLS and SASL settings by short name: `ca`, `cert`, `key`, `mechanism`, `user`, `password`.

    Without TLS and SASL the result is empty.
    """
    found = {
        short: env[name]
        for short, name in (
            ("ca", "NINEZERO_KAFKA_TLS_CA"),
            ("cert", "NINEZERO_KAFKA_TLS_CERT"),
            ("key", "NINEZERO_KAFKA_TLS_KEY"),
            ("mechanism", "NINEZERO_KAFKA_SASL_MECHANISM"),
            ("user", "NINEZERO_KAFKA_SASL_USER"),
            ("password", "NINEZERO_KAFKA_SASL_PASSWORD"),
        )
        if env.get(name)
    }
    for short in ("ca", "cert", "key"):
        if short in found:
            _file(f"NINEZERO_KAFKA_TLS_{short.upper()}", found[short])
    if {"cert", "key"} & found.keys() and "ca" not in found:  # without it the connection would silently be plain
        raise _wrong(
            "NINEZERO_KAFKA_TLS_CA", "set it to the CA certificate of the brokers; a client certificate needs it"
        )
    if {"user", "password"} & found.keys() and "mechanism" not in found:
        raise _wrong("NINEZERO_KAFKA_SASL_MECHANISM", "set it; a user and a password need it")
    if found.get("mechanism", "PLAIN") not in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        raise _wrong("NINEZERO_KAFKA_SASL_MECHANISM", "use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
    if "mechanism" in found and not ("user" in found and "password" in found):
        raise _wrong("NINEZERO_KAFKA_SASL_USER", "set it and NINEZERO_KAFKA_SASL_PASSWORD; a SASL mechanism needs both")
    if found.get("mechanism") == "PLAIN" and "ca" not in found:
        raise _wrong(
            "NINEZERO_KAFKA_SASL_MECHANISM",
            "PLAIN sends the password as it is: set NINEZERO_KAFKA_TLS_CA to the CA certificate of the brokers, or use SCRAM-SHA-512",
        )
    return found


def _value(env: Mapping[str, str], name: str) -> str:
    """Returns an optional setting, or its default if the variable is not set or empty."""
    return env.get(name) or SETTINGS[name].default


def _required(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "").strip()
    if not value:
        raise not_set(name)
    return value


def _file(name: str, path: str) -> None:
    if not os.access(path, os.R_OK) or not Path(path).is_file():
        raise _wrong(name, "give the path of a file that exists and can be read")


def _wrong(name: str, remedy: str) -> SettingsError:
    return SettingsError(f"{name} is wrong: {remedy}")


def _time(env: Mapping[str, str], name: str) -> datetime:
    try:
        value = datetime.fromisoformat(_required(env, name))
    except ValueError:
        raise _wrong(name, "write a time such as 2026-12-31T00:00:00+08:00") from None
    if value.tzinfo is None:
        raise _wrong(name, "write the time with its offset, such as 2026-12-31T00:00:00+08:00")
    return value.astimezone(UTC)


def _digits(env: Mapping[str, str], name: str) -> str:
    value = _value(env, name)
    if len(value) != 6 or not (value.isascii() and value.isdigit()):
        raise _wrong(name, "write six digits, such as 370115")
    return value


def _number(env: Mapping[str, str], name: str, minimum: float) -> float:
    value = _as_float(env, name)
    if not minimum <= value < 1e9:
        raise _wrong(name, f"write a number, {minimum:g} or more")
    return value


def _as_float(env: Mapping[str, str], name: str) -> float:
    """Returns a number, or NaN if the value is none."""
    try:
        return float(_value(env, name))
    except ValueError:
        return float("nan")


def _transfer_hours(env: Mapping[str, str]) -> float:
    """Returns `NINEZERO_TRANSFER_HOURS`. A transfer leaves the ledger after 14 days, and must have been judged by then."""
    name = "NINEZERO_TRANSFER_HOURS"
    hours = _as_float(env, name)
    if not 0 < hours <= 168:
        raise _wrong(name, "write a number of hours above 0, at most 168")
    return hours


def _flag(env: Mapping[str, str], name: str) -> bool:
    value = _value(env, name)
    if value not in ("0", "1"):
        raise _wrong(name, "write 0 or 1")
    return value == "1"


def _prefix(env: Mapping[str, str]) -> str:
    value = env.get("NINEZERO_TOPIC_PREFIX", "")
    if len(value) > 100 or not all(c.isascii() and (c.isalnum() or c in "._-") for c in value):
        raise _wrong("NINEZERO_TOPIC_PREFIX", "use letters, digits, '.', '_' and '-', at most 100")
    return value


def _address(env: Mapping[str, str]) -> tuple[str, int]:
    host, _, port = _value(env, "NINEZERO_HTTP").rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65533:
        raise _wrong("NINEZERO_HTTP", "write host:port; the port and the next three must be free")
    return host.strip("[]"), int(port)


def _allowed_hosts(env: Mapping[str, str]) -> tuple[str, ...]:
    words = [word.strip().strip("[]").lower() for word in env.get("NINEZERO_HOSTS", "").split(",")]
    names = tuple(filter(None, words))
    if not all(re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,252}", name) or _is_address(name) for name in names):
        raise _wrong(
            "NINEZERO_HOSTS",
            "write names or addresses without http:// and without a port, separated by commas, such as board.example.org",
        )
    return names


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _workers(env: Mapping[str, str]) -> tuple[WorkerAddress, ...]:
    found = []
    for word in filter(None, env.get("NINEZERO_WORKERS", "").replace(" ", "").split(",")):
        role, _, address = word.partition("=")
        host, _, port = address.rpartition(":")
        if role not in ROLES or not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise _wrong("NINEZERO_WORKERS", "write role=host:port, several separated by commas")
        found.append(WorkerAddress(role, host.strip("[]"), int(port)))
    return tuple(found)
