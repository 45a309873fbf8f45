"""The accounts of the native server: read from its settings file, and enforced by the engine.

chDB runs every statement as its one user `default`. So each account is also a role with the same grants, and a connection switches to
the role of its account (`SET ROLE`). The engine enforces the grants, and a view reads with the rights of its definer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

_ADMINISTRATOR = "GRANT ALL ON *.* WITH GRANT OPTION"

_OPEN_SYSTEM_TABLES = frozenset(
    {
        "one", "numbers", "numbers_mt", "zeros", "zeros_mt", "contributors", "licenses", "time_zones", "collations", "formats",
        "privileges", "data_type_families", "database_engines", "table_engines", "table_functions",
        "aggregate_function_combinators", "functions", "databases", "tables", "columns", "settings", "current_roles",
        "enabled_roles", "quota_usage",
    }
)  # fmt: skip
"""The tables of `system` that a server with `select_from_system_db_requires_grant`, which its packages set, shows to every account."""


class Denied(Exception):
    """A statement or a login is refused, with an error code of ClickHouse."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {text}")


@dataclass(frozen=True)
class Account:
    """An account of the server."""

    name: str
    password: str = ""
    readonly: bool = False
    """Whether its profile sets `readonly` to 1."""
    grants: tuple[str, ...] | None = None
    """Statements `GRANT … ON …` and `REVOKE … ON …`, without the grantee; None: everything."""

    @property
    def role(self) -> str:
        """The role that its connections use."""
        return f"role_of_{self.name}"

    def check(self, sql: str) -> None:
        """Refuses a statement that reads a system table without a grant.

        chDB lets every account read every system table; it does not have the server's `select_from_system_db_requires_grant`.

        Raises:
            Denied: the account may not read a table that the statement names.
        """
        for table in [] if self.grants is None else re.findall(r"\bsystem\.(\w+)", sql):
            granted = any(re.search(rf"\bGRANT .* ON system\.({table}\b|\*)", grant) for grant in self.grants or ())
            if table not in _OPEN_SYSTEM_TABLES and not granted:
                raise Denied(
                    497,
                    f"{self.name}: Not enough privileges. To execute this query, it's necessary to have the grant SELECT ON system.{table}. (ACCESS_DENIED)",
                )

    def as_definer(self, sql: str) -> str:
        """Returns the statement with this account as the definer of a view that it creates, instead of the engine's one user."""
        if self.grants is None or "SQL SECURITY DEFINER" not in sql:
            return sql
        return re.sub(
            r"(?:DEFINER = CURRENT_USER )?SQL SECURITY DEFINER", f"DEFINER = {self.name} SQL SECURITY DEFINER", sql
        )


def read_accounts(settings: Mapping[str, Any]) -> dict[str, Account]:
    """Returns the accounts that the settings of the server name."""
    return {
        name: Account(
            name,
            fields.get("password", ""),
            fields.get("readonly", False),
            None if fields.get("grants") is None else tuple(fields["grants"]),
        )
        for name, fields in settings["accounts"].items()
    }


def log_in(settings_file: Path, name: str, password: str) -> Account:
    """Returns the account of a connection. The settings are read again, so a password can change while the server runs.

    Raises:
        Denied: there is no such account, or the password is wrong.
    """
    account = read_accounts(json.loads(settings_file.read_text())).get(name)
    if account is None or account.password != password:
        raise Denied(
            516,
            f"{name}: Authentication failed: password is incorrect, or there is no user with such name. (AUTHENTICATION_FAILED)",
        )
    return account


def users_xml(accounts: Mapping[str, Account]) -> str:
    """Returns the configuration of users that gives the engine the roles and the definers."""
    roles, users = "", ""
    user = "<password></password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>"
    for account in accounts.values():
        queries = [_ADMINISTRATOR] if account.grants is None else account.grants
        grants = "".join(f"<query>{escape(grant)}</query>" for grant in queries)
        definer = f"<query>GRANT SET DEFINER ON {account.name}</query>"
        roles += f"<{account.role}><grants>{grants}{definer}</grants></{account.role}>"
        if account.name != "default":
            users += f"<{account.name}>{user}<grants>{grants}</grants></{account.name}>"
    every_role = ", ".join(account.role for account in accounts.values())
    return (
        # Two settings that only the embedded engine has set; a server has not.
        "<clickhouse><profiles><default><implicit_select>0</implicit_select>"
        "<allow_introspection_functions>0</allow_introspection_functions></default></profiles><quotas><default/></quotas>"
        f"<roles>{roles}</roles>"
        f"<users><default>{user}<grants><query>GRANT {every_role}</query></grants></default>{users}</users></clickhouse>"
    )
