"""The page of commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from ninezero.agents.cli.main import app
from ninezero.agents.reference import markdown
from ninezero.streams.edge.device.passage_fields import fields


def page() -> str:
    """Returns `docs/reference/commands.md`."""
    sections = []
    for name, command in _commands("ninezero", typer.main.get_command(app)):
        parameters = [p for p in command.params if p.name != "help" and not p.hidden]
        usage = [name, *(_usage(p) for p in parameters if p.param_type_name == "argument")]
        if any(p.param_type_name == "option" for p in parameters):
            usage.insert(1, "[OPTIONS]")
        sections += [f"## {name}", _help(command.help), f"```\n{' '.join(usage)}\n```"]
        if parameters:
            rows = [(_names(p), markdown.sentence(_plain(p.help)), _default(p)) for p in parameters]
            sections.append(markdown.table(("argument or option", "meaning", "default"), rows))
        if name == "ninezero scan":
            sections += ["A passage is a JSON object; a message about a wrong line names the field.", _passage()]
    return markdown.page(
        "Commands",
        "A command that fails prints one line on standard error and ends with status 1. `--help` of a command shows what is written here.",
        *sections,
    )


def _passage() -> str:
    """Returns the table of the fields of a passage."""
    rows = [
        (markdown.code(one.place), one.form, "required" if one.required else "", markdown.sentence(one.meaning))
        for one in fields()
    ]
    return markdown.table(("field", "form", "", "meaning"), rows)


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Yields each command with its full name, the groups resolved."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    if len(command.params) > 1:  # more than --help
        yield name, command
    for one, inner in command.commands.items():
        if not inner.hidden:
            yield from _commands(f"{name} {one}", inner)


def _help(text: str | None) -> str:
    return re.sub(r"(?<!\n)\n(?!\n)", " ", (text or "").strip())


def _plain(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").strip()


def _usage(parameter: Any) -> str:
    name = parameter.metavar or str(parameter.name).upper()
    return name if parameter.required or name.startswith("[") else f"[{name}]"


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return markdown.code(parameter.metavar or str(parameter.name).upper())
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    return markdown.code(names if parameter.is_flag else f"{names} {_value(parameter)}")


_VALUES = {str: "TEXT", int: "INTEGER", float: "NUMBER", Path: "PATH", list[str]: "TEXT", list[Path]: "PATH"}


def _value(parameter: Any) -> str:
    kind = parameter.type_descriptor
    if parameter.metavar is None and kind.is_choice:
        return "|".join(map(str, kind.choices))
    return parameter.metavar or _VALUES.get(kind.annotation, "VALUE")


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    default = parameter.default
    if default is None or default is False or default == "":
        return ""
    return markdown.code(f"{default:g}" if isinstance(default, float) else str(default))
