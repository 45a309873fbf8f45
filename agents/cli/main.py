"""The command `ninezero`. A failure is one line on stderr and exit status 1; no message quotes an input value."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer
from typer.exceptions import TyperException

from ninezero.agents.cli import publish as cli_publish
from ninezero.agents.cli import watchlist as cli_watchlist
from ninezero.agents.cli.console import RUN, Failure, csv_cell, print_table, query_url
from ninezero.agents.cli.edge import push as cli_push
from ninezero.agents.cli.operations import dead_letters as cli_deadletters
from ninezero.agents.cli.operations import doctor as cli_doctor
from ninezero.agents.cli.operations import retention as cli_retain
from ninezero.schemas.events import Division, Identifier, Scan
from ninezero.streams import settings as settings_
from ninezero.streams.errors import UserError
from ninezero.streams.settings import SettingsError

if TYPE_CHECKING:  # the command also runs where no ClickHouse client is installed
    from ninezero.agents.recording.sites import Site

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Epidemic entry screening: see README.md.",
    pretty_exceptions_enable=False,
)
topics_app = typer.Typer(help="Kafka topics.", no_args_is_help=True)
sites_app = typer.Typer(help="The register of sites.", no_args_is_help=True)
keys_app = typer.Typer(help="The key ring of the edge.", no_args_is_help=True)
kafka_app = typer.Typer(help="A real Kafka on this machine.", no_args_is_help=True)
for name, group in (
    ("topics", topics_app),
    ("sites", sites_app),
    ("keys", keys_app),
    ("kafka", kafka_app),
    ("watchlist", cli_watchlist.app),
    ("dead-letters", cli_deadletters.app),
):
    app.add_typer(group, name=name)
app.command()(cli_doctor.doctor)
app.command()(cli_push.push)
app.command()(cli_publish.publish)
app.command()(cli_retain.retain)
app.command()(cli_retain.erase)


@app.command()
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="End after the report; status 0 only if every row agrees.")
    ] = False,
    speed: Annotated[float, typer.Option(help="Times real time; 0: as fast as it goes.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the scenario.")] = 2020,
    scenario: Annotated[
        Path | None, typer.Option(help="Another scenario than Jiyang: a file as in agents/demo/scenarios.")
    ] = None,
) -> None:
    """A scenario through Kafka, Faust and ClickHouse: Jiyang's campaign of 2020."""
    from ninezero.agents.demo.replay import run

    if not run(RUN, path=scenario, seed=seed, speed=speed, once=once):
        raise typer.Exit(1)


@app.command()
def worker(
    role: Annotated[str, typer.Argument(help="screening, lists, ledgers or recording; without it, all of them.")] = "",
) -> None:
    """Runs a role, or all roles as child processes that end together."""
    from ninezero.agents.roles.role import run

    if role and role not in settings_.ROLES:
        raise Failure(f"no such role: choose {', '.join(settings_.ROLES)}, or none for all")
    settings = settings_.load(
        edge=bool(role) and role != "recording"
    )  # whoever needs no database has no password of it
    if not role:
        _supervise(list(settings_.ROLES))
        return
    from msgspec import convert

    from ninezero.streams.kafka.access import ACCESS, Who
    from ninezero.streams.kafka.client import check

    asyncio.run(check(settings, ACCESS[convert(role, Who)].topics))
    _log()
    import uvloop

    from ninezero.agents.roles.memory import settle
    from ninezero.streams.transport.loop import Loop

    settle()
    why = uvloop.run(run(role, settings), loop_factory=Loop)
    if why is not None:
        print(f"ninezero: the {role} role ended: {why}", file=sys.stderr, flush=True)
        os._exit(1)  # threads of the clients may still be waiting for what failed
    os._exit(0)


@app.command()
def migrate() -> None:
    """Brings the ClickHouse schema up to date."""
    from ninezero.streams.clickhouse import engines as clickhouse

    engine = clickhouse.connect(settings_.clickhouse(os.environ))
    applied = clickhouse.migrate(engine, settings_.timezone(os.environ))
    engine.close()
    print(f"applied: {', '.join(applied) or 'nothing, all migrations were in'}")


@topics_app.command("create")
def topics_create(
    partitions: Annotated[int, typer.Option(min=1, max=10_000)] = 12,
    replication: Annotated[int, typer.Option(min=1, max=10)] = 1,
) -> None:
    """Creates the topics that are missing."""
    from ninezero.streams.kafka.sync import create_topics

    created = create_topics(settings_.load(edge=True), partitions, replication)
    print(f"created: {', '.join(created) or 'nothing, all topics were there'}")


@topics_app.command("acls")
def topics_acls(
    user: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHO=NAME", help="Their user, for example devices=road-01; repeat it (default ninezero-WHO)."
        ),
    ] = None,
    grant: Annotated[bool, typer.Option("--grant", help="Grant them on the broker, as a super user.")] = False,
) -> None:
    """Who may do what on Kafka: prints it as a script of kafka-acls.sh, or grants it."""
    from ninezero.streams.kafka import access

    names: dict[Any, list[str]] = {}
    for one in user or ():
        who, _, name = one.partition("=")
        if who not in access.ACCESS or not name:
            raise Failure(f"--user is WHO=NAME: WHO is one of {', '.join(access.ACCESS)}")
        names.setdefault(who, []).append(name)
    settings = settings_.load(edge=True)
    if grant:
        print(f"{access.grant_all(settings, names)} permissions are granted")
        return
    print("# sh THIS --bootstrap-server HOST:PORT --command-config FILE\nset -e")
    for line in access.commands(settings, names):
        print(line)


@sites_app.command("load")
def sites_load(file: Path) -> None:
    """Loads the register of sites from CSV: site_id,kind,division,capacity."""
    from ninezero.agents.recording.sites import load_sites

    sites = _read_sites(file)
    load_sites(settings_.clickhouse(os.environ), sites, settings_.timezone(os.environ))
    print(f"{len(sites)} sites loaded")


def _read_sites(file: Path) -> list[Site]:
    import msgspec

    from ninezero.agents.recording.sites import Site

    found = []
    try:
        with file.open(encoding="utf-8-sig", newline="") as source:
            reader = csv.DictReader(source)
            if reader.fieldnames != ["site_id", "kind", "division", "capacity"]:
                raise Failure("the first line must be: site_id,kind,division,capacity")
            for row in reader:
                site = msgspec.convert(
                    (row["site_id"], row["kind"], row["division"]), tuple[Identifier, Identifier, Division]
                )
                capacity = int(row["capacity"] or 0)
                if not 0 <= capacity < 2**32:
                    raise ValueError
                found.append(Site(*site, capacity))
    except OSError as error:
        raise Failure(f"the file cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise Failure("the file is not UTF-8: save it as UTF-8") from None
    except (ValueError, TypeError, csv.Error):
        raise Failure(
            f"line {len(found) + 2}: site_id and kind are identifiers, division has six digits, capacity is a number"
        ) from None
    return found


@keys_app.command("new")
def keys_new() -> None:
    """Makes the key ring named by NINEZERO_KEYS."""
    from ninezero.streams.edge.documents.key_ring import new_ring

    key_id = new_ring(_ring_path())
    print(
        f"made the key ring of NINEZERO_KEYS with the key {key_id}; keep a copy where only the edge's keepers reach it"
    )


@keys_app.command("rotate")
def keys_rotate(
    overlap_days: Annotated[int, typer.Option(min=1, max=365, help="How long the old key stays good.")] = 14,
) -> None:
    """Adds a key and makes it the active one; the old one ends after the overlap."""
    from ninezero.streams.edge.documents.key_ring import rotate

    print(
        f"the active key is now {rotate(_ring_path(), timedelta(days=overlap_days))}; push the lists again so that they carry its tokens"
    )


@keys_app.command("list")
def keys_list() -> None:
    """The keys of the ring, without their bytes."""
    from ninezero.streams.edge.documents.key_ring import KeyRing

    for key in KeyRing.load(_ring_path()).describe():
        until = f"good until {key.not_after:%Y-%m-%dT%H:%M:%SZ}" if key.not_after else "without an end"
        print(f"{key.key_id}{' (active)' if key.active else ''}: {until}")


def _ring_path() -> Path:
    path = os.environ.get("NINEZERO_KEYS")
    if not path:
        raise SettingsError(f"NINEZERO_KEYS is not set: {settings_.SETTINGS['NINEZERO_KEYS'].meaning}")
    return Path(path)


@app.command()
def scan(
    file: Annotated[str, typer.Argument(help="JSON lines, or - for standard input.")],
    site: Annotated[
        str, typer.Option(help="With --device: lines are passages with identities, as staff see them.")
    ] = "",
    device: Annotated[str, typer.Option(help="The device whose outbox takes them.")] = "",
) -> None:
    """Sends scans and prints the outcome of each: clear, what to do and for whom, or not checked."""
    from ninezero.agents.cli.edge.scan import Lines, send_events

    if bool(site) != bool(device):
        raise Failure("--site and --device go together; without both, lines are ready-made Scan events")
    settings = settings_.load(edge=True)
    logging.disable()  # what is wrong is said line by line, and at the end
    with _lines(file) as lines:
        if site:
            refused, unchecked = Lines(settings, site, device).send(lines)
        else:
            refused, unchecked = 0, send_events(settings, _scans(lines))
    if refused or unchecked:
        raise Failure(f"{refused} lines were not accepted, {unchecked} scans not checked: do not read that as clear")


@contextlib.contextmanager
def _lines(file: str) -> Iterator[Iterable[bytes]]:
    if file == "-":
        yield sys.stdin.buffer
        return
    with contextlib.ExitStack() as stack:
        try:
            source = stack.enter_context(Path(file).open("rb"))
        except OSError as error:
            raise Failure(f"the file cannot be read ({error.strerror})") from None
        yield source


def _scans(lines: Iterable[bytes]) -> list[tuple[bytes, Scan]]:
    from ninezero.streams.kafka.decoding import Rejected, decode

    events = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                events.append((line.strip(), decode(Scan, line.strip())))
            except Rejected as refused:
                raise Failure(f"line {number}: {refused.reason} at {refused.path or '/'}; nothing was sent") from None
    return events


@app.command()
def device(
    site: Annotated[str, typer.Option(help="The site it stands at.")],
    device_: Annotated[str, typer.Option("--device", help="Its name, of which the outbox keeps the counter.")],
) -> None:
    """A small screen for a person with a keyboard or a barcode scanner."""
    from ninezero.streams.edge.device.screen import run

    logging.disable()  # the screen is the operator's, and says itself what is wrong
    waiting = run(settings_.load(edge=True), site, device_)
    if waiting:
        raise Failure(f"{waiting} events wait in the outbox for Kafka: start the device again")


@app.command("check-document")
def check_document(
    file: Annotated[str, typer.Argument(help="CSV kind,value[,line2,line3], or - for standard input.")],
) -> None:
    """Checks document numbers, MRZ lines, plates and phones: prints CSV row,kind,flags, and no identity."""
    from ninezero.streams.edge.documents.csv_checks import check_documents

    today = datetime.now(ZoneInfo(settings_.timezone(os.environ))).date()
    with _lines(file) as lines:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(("row", "kind", "flags"))
        for row, kind, flags in check_documents(lines, today):
            writer.writerow((row, kind, ";".join(flags)))


@app.command()
def report(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """The report of the last demo, counted anew."""
    from ninezero.agents.demo import scenario
    from ninezero.agents.demo.replay import Facts, make_report, show

    try:
        facts = Facts.load(RUN)
    except OSError:
        raise Failure("no demo was run in this folder: make run") from None
    made = make_report(query_url(), facts, scenario.load(Path(facts.scenario) if facts.scenario else None))
    if as_json:
        print(json.dumps(made, indent=2))
    else:
        show(made)


@app.command()
def query(
    sql: str, format_: Annotated[str, typer.Option("--format", help="table, json (one object a row) or csv.")] = "table"
) -> None:
    """Runs a read in ClickHouse, also while a worker holds the embedded engine."""
    from ninezero.streams.clickhouse import engines as clickhouse

    if format_ not in ("table", "json", "csv"):
        raise Failure("--format takes table, json or csv")
    clickhouse.check_read(sql)
    engine = clickhouse.connect(query_url())
    rows = engine.query(sql)
    engine.close()
    if format_ == "json":
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
    elif format_ == "csv":
        writer = csv.DictWriter(sys.stdout, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in rows)
    else:
        print_table(rows)


@kafka_app.command("start")
def kafka_start(
    port: Annotated[int | None, typer.Option(help="Port on 127.0.0.1; a free one if left out.")] = None,
) -> None:
    """Starts Kafka on loopback."""
    from ninezero.streams.local_kafka.broker import Broker

    broker = Broker(RUN / "kafka", port)
    broker.start()
    print(f"Kafka answers at {broker.bootstrap}")


@kafka_app.command("stop")
def kafka_stop() -> None:
    """Stops it."""
    from ninezero.streams.local_kafka.broker import Broker

    Broker(RUN / "kafka").stop()
    print("Kafka is stopped")


@kafka_app.command("status")
def kafka_status() -> None:
    """Says whether it runs, and where."""
    from ninezero.streams.local_kafka.broker import Broker

    broker = Broker(RUN / "kafka")
    if not broker.running():
        raise Failure("Kafka does not run here: ninezero kafka start")
    print(f"Kafka answers at {broker.bootstrap}")


def _supervise(roles: list[str]) -> None:
    """Runs each role as a child; when one ends, the others are ended and the line says which."""
    children = {
        role: subprocess.Popen([sys.executable, "-m", "ninezero.agents.cli.main", "worker", role]) for role in roles
    }
    stopping = False

    def stop(*_: Any) -> None:
        nonlocal stopping
        stopping = True

    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, stop)
    ended = None
    while not stopping and ended is None:
        time.sleep(0.1)
        ended = next((role for role, child in children.items() if child.poll() is not None), None)
    for child in children.values():
        child.terminate()
    for child in children.values():
        try:
            child.wait(25)
        except subprocess.TimeoutExpired:
            child.kill()
    if not stopping:
        raise Failure(f"the {ended} role ended, so all were stopped; its last line says why")


def _log() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("aiokafka", "faust", "kafka.admin", "mode"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    # "Group Coordinator Request failed" while a young broker makes its offsets topic: aiokafka tries again by itself.
    logging.getLogger("aiokafka.consumer.group_coordinator").setLevel(logging.CRITICAL)
    logging.getLogger("ninezero").setLevel(logging.INFO)


def _misused(error: TyperException) -> str:
    """What is wrong with the command line, without the word that is: it may be anything, a name or a number too."""
    parameter, context = getattr(error, "param", None), getattr(error, "ctx", None)
    named = "" if parameter is None else max(parameter.opts, key=len) if parameter.opts else str(parameter.name)
    what = f"{named} is missing or wrong" if named else "no such command, option or argument"
    return f"{what}: {context.command_path if context else 'ninezero'} --help tells what there is"


def main() -> None:
    """Runs the command line."""
    try:
        sys.exit(app(standalone_mode=False))
    except typer.Abort:
        sys.exit(1)
    except TyperException as error:
        print(f"ninezero: {_misused(error)}", file=sys.stderr)
        sys.exit(1)
    except UserError as error:
        print(f"ninezero: {error}", file=sys.stderr)
        sys.exit(1)
    except ModuleNotFoundError:
        print(
            "ninezero: this installation is the edge's: pip install 'ninezero[worker]' adds this part", file=sys.stderr
        )
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stdout.flush()
        os._exit(130)  # at once: a client's thread may still be waiting for a broker
    except Exception as error:
        if os.environ.get("NINEZERO_DEBUG"):
            raise
        # The message of an unforeseen error may quote an input: its type and place must do.
        print(
            f"ninezero: unforeseen {type(error).__name__}; run again with NINEZERO_DEBUG=1 to see where",
            file=sys.stderr,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
