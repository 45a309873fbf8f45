"""What is wrong with a command line, and how its options are shown. No message repeats a word that may be an identity.

A word of the command line is quoted only if it resembles a command or option, so that it is a spelling mistake of that name.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from typer.exceptions import TyperException


def commands(command: Any, name: str = "ninezero") -> Iterator[tuple[str, Any]]:
    """Yields a command and everything below it, each with its full name."""
    yield name, command
    for one, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {one}")


def hide_types_of_flags(command: Any) -> None:
    """Makes the help show a flag without a value. Typer 0.29 shows `<bool>` behind it."""
    for _, one in commands(command):
        for parameter in (*one.params, one.get_help_option(one.context_class(one))):
            if parameter is not None and getattr(parameter, "is_flag", False):
                parameter.metavar = ""


def describe(error: TyperException) -> str:
    """Returns one line about a wrong command line: what is wrong, then what to do."""
    context: Any = getattr(error, "ctx", None)
    path = context.command_path if context else "ninezero"
    problem = _problem(error, context, path)
    return problem if ": " in problem else f"{problem}: see {path} --help"


def _problem(error: TyperException, context: Any, path: str) -> str:
    """Returns what is wrong, and after a colon what to do if that is known."""
    parameter: Any = getattr(error, "param", None)
    match type(error).__name__:  # Typer 0.29 does not export these classes
        case "NoArgsIsHelpError":  # the help is on the screen
            return "no command was given: choose one of those above"
        case "NoSuchOption":
            return _no_such_option(str(getattr(error, "option_name", "")), context, path)
        case "BadOptionUsage":
            needs = (
                "needs a value: write it behind the option"
                if "requires" in error.message
                else "is a flag: write it without a value"
            )
            return f"{getattr(error, 'option_name', 'an option')} {needs}"
        case "MissingParameter" if parameter is not None:
            required = [_name(p) for p in context.command.params if p.required]
            needs = f": {path} needs {' and '.join(required)}" if len(required) > 1 else ""
            return f"{_name(parameter)} is missing{needs}"
        case "BadParameter" if parameter is not None:
            return f"{_name(parameter)} is wrong: {_expected(parameter)}"
    if hasattr(getattr(context, "command", None), "commands"):
        return _no_such_command(error, context, path)
    arguments = [_name(p) for p in context.command.params if p.param_type_name == "argument"] if context else []
    return f"one argument too many: {path} accepts {' and '.join(arguments) or 'options alone'}"


def _no_such_option(word: str, context: Any, path: str) -> str:
    known = [name for p in context.command.get_params(context) for name in p.opts if name.startswith("--")]
    close = get_close_matches(word, known, n=1)
    if close and re.fullmatch(r"--?[a-z][a-z-]*", word):
        return f"{path} has no option {word}: did you mean {close[0]}?"
    place = next((n for n, one in enumerate(sys.argv, 1) if one.partition("=")[0] == word), 0)
    return f"word {place} of the command line is no option of {path}" if place else f"{path} has no such option"


def _no_such_command(error: TyperException, context: Any, path: str) -> str:
    typed = re.match(r"No such command '([a-z-]+)'", error.message)  # Typer 0.29 has the word in its message alone
    close = get_close_matches(typed[1], context.command.commands, n=1) if typed else []
    if typed and close:
        return f"{path} has no command {typed[1]}: did you mean {path} {close[0]}?"
    return f"{path} has no such command"


def _name(parameter: Any) -> str:
    """Returns an option as it is written, or an argument as the help shows it."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    return str(max(parameter.opts, key=len))


def _expected(parameter: Any) -> str:
    """Returns the form of a value."""
    kind = parameter.type_descriptor
    if kind.is_choice:
        *others, last = map(str, kind.choices)
        return f"use {', '.join(others)} or {last}" if others else f"use {last}"
    form = {int: "a whole number", float: "a number"}.get(kind.annotation, "another value")
    low, high = getattr(parameter, "min", None), getattr(parameter, "max", None)
    if low is not None and high is not None:
        return f"give {form} from {low:g} to {high:g}"
    return f"give {form}" + (f", {low:g} or more" if low is not None else "")
