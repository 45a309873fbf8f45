"""The rights of the three accounts: by GRANT in the embedded engine, by users.xml on Debian's server."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import orjson

from ninezero.streams.clickhouse.migrations import SQL_FOLDER

DEPLOY = Path(__file__).parents[3] / "deploy" / "clickhouse"

VIEWS = sorted(
    set(
        re.findall(
            r"CREATE VIEW IF NOT EXISTS (ninezero\.\w+)", "".join(p.read_text() for p in SQL_FOLDER.glob("*.sql"))
        )
    )
)
PUBLISHED = ["ninezero_published.screening_by_day", "ninezero_published.arrivals_by_day"]
TABLES = sorted(
    set(
        re.findall(
            r"(?:TABLE|VIEW) IF NOT EXISTS (ninezero_data\.\w+)",
            "".join(p.read_text() for p in SQL_FOLDER.glob("*.sql")),
        )
    )
)
FORBIDDEN = [
    "INSERT INTO ninezero_published.screening_by_day (day, division) SELECT toDate(0), ''",
    "INSERT INTO ninezero_data.site_register (site_id) SELECT ''",
    "DROP TABLE ninezero_published.screening_by_day",
    "DROP TABLE ninezero.sites",
    "TRUNCATE TABLE ninezero_data.screening_facts",
    "ALTER TABLE ninezero_data.screening_facts DROP PARTITION '2026-01-01'",
    "CREATE TABLE ninezero.mine (x UInt8) ENGINE = Memory",
    "CREATE VIEW ninezero.mine AS SELECT * FROM ninezero_data.screening_facts",
    "SELECT * FROM merge('ninezero_data', '^screening_facts$')",
    "SELECT * FROM remote('127.0.0.1', 'ninezero_data', 'screening_facts')",
    "SELECT * FROM file('x.csv', 'CSV', 'x String')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'x String')",
    "SELECT 1 WHERE ('', 0) IN (SELECT device_id, seq FROM ninezero_data.device_events)",
]

# One process per account, because the embedded engine reads its users once. `default` gets the rights of the account.
TRY = """
import sys
import orjson
from chdb.session import Session
from ninezero.streams import clickhouse

class Embedded(clickhouse.Embedded):
    def __init__(self, folder):
        self._session = Session(folder)

engine = Embedded(sys.argv[1])
answers = {}
for statement in orjson.loads(sys.stdin.buffer.read()):
    try:
        clickhouse.migrate(engine) if statement == "migrate" else engine.query(statement)
        answers[statement] = ""
    except clickhouse.ClickHouseError as error:
        answers[statement] = str(error)
print(orjson.dumps(answers).decode())
"""


def accounts() -> list[str]:
    """Returns the statements of accounts.sql."""
    text = re.sub(r"^--.*$", "", (DEPLOY / "accounts.sql").read_text(), flags=re.M)
    return [statement.strip() for statement in text.split(";\n") if statement.strip()]


def attempt(folder: Path, account: str, statements: list[str]) -> dict[str, str]:
    """Returns the error of each statement, empty if it succeeded, under the grants of an account; `administrator` may do all."""
    grants = [
        g.removesuffix(f" TO {account}") for g in accounts() if g.startswith("GRANT") and g.endswith(f" TO {account}")
    ]
    rights = "".join(f"<query>{grant}</query>" for grant in grants)
    rights = "<access_management>1</access_management>" if account == "administrator" else f"<grants>{rights}</grants>"
    user = "<password></password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>"
    (folder / f"{account}.users.xml").write_text(
        "<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users>"
        f"<default>{user}{rights}</default><ninezero_writer>{user}</ninezero_writer></users></clickhouse>"
    )
    (folder / f"{account}.xml").write_text(
        f"<clickhouse><users_config>{folder}/{account}.users.xml</users_config></clickhouse>"
    )
    done = subprocess.run(
        [sys.executable, "-c", TRY, f"{folder}/data?config-file={folder}/{account}.xml"],
        input=orjson.dumps(statements), capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-500:]
    answers: dict[str, str] = orjson.loads(done.stdout.splitlines()[-1])
    return answers


def reads(names: list[str]) -> list[str]:
    return [f"SELECT * FROM {name} LIMIT 1" for name in names]


def test_accounts_sql_sets_a_definer_for_every_view() -> None:
    defined = sorted(re.findall(r"ALTER TABLE (\S+) MODIFY SQL SECURITY", "\n".join(accounts())))
    assert defined == VIEWS


def test_with_grants_each_account_can_do_its_work_and_nothing_else(tmp_path: Path) -> None:
    asts = [f"EXPLAIN AST {statement}" for statement in accounts() if not statement.startswith("ALTER")]
    definers = [statement for statement in accounts() if statement.startswith("ALTER")]
    assert set(attempt(tmp_path, "administrator", ["migrate", *asts, *definers]).values()) == {""}
    for account, allowed in (("ninezero_reader", VIEWS), ("ninezero_public", PUBLISHED)):
        answers = attempt(tmp_path, account, [*reads(VIEWS + PUBLISHED + TABLES), *FORBIDDEN])
        assert {s for s, error in answers.items() if not error} == set(reads(allowed)), account
        errors = [e for s, e in answers.items() if s not in reads(allowed) and "merge(" not in s]
        assert [e for e in errors if "ACCESS_DENIED" not in e] == []
    work = ["INSERT INTO ninezero_data.site_register (site_id) SELECT 's'", "CREATE TABLE ninezero_data.no_screening_facts AS ninezero_data.screening_facts",
            "ALTER TABLE ninezero_data.screening_facts REPLACE PARTITION '2026-01-01' FROM ninezero_data.no_screening_facts",
            "DROP TABLE ninezero_data.no_screening_facts", "TRUNCATE TABLE ninezero_data.recorder_progress"]  # fmt: skip
    answers = attempt(
        tmp_path, "ninezero_writer", ["migrate", *work, *reads(VIEWS), "SELECT * FROM file('x.csv', 'CSV', 'x String')"]
    )
    assert [s for s, error in answers.items() if error] == ["SELECT * FROM file('x.csv', 'CSV', 'x String')"]


def test_the_writer_creates_the_schema_before_the_definers_are_set(tmp_path: Path) -> None:
    """The order on Kubernetes, where the administrator can be used only on the server itself."""
    assert attempt(tmp_path, "ninezero_writer", ["migrate"]) == {"migrate": ""}
    definers = [statement for statement in accounts() if statement.startswith("ALTER")]
    assert set(attempt(tmp_path, "administrator", definers).values()) == {""}
    answers = attempt(tmp_path, "ninezero_reader", reads(VIEWS + TABLES))
    assert {s for s, error in answers.items() if not error} == set(reads(VIEWS))
