"""Describes an error in a log line without quoting a record."""

from __future__ import annotations

from ninezero.schemas.formats import NeedsUpgradeFinish
from ninezero.streams.errors import UserError


def describe(error: BaseException) -> str:
    """Returns the type of an error and where it was raised. Its text is left out, since it may quote a record.

    The text of a `UserError` is returned: it quotes nothing.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, NeedsUpgradeFinish):
        return "needs_upgrade_finish: the format that is written cannot say it: finish the upgrade (ninezero upgrade finish)"
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace else "an unknown place"
    return f"{type(error).__name__} in {place}"
