"""Errors that are shown to a user, and the mark of log records that report a failing dependency."""


class UserError(Exception):
    """The base of every error that is shown to a user in one line: what is wrong, and what to do. It quotes no input value.

    Attributes:
        chinese: the same in Chinese, of the errors that a guard sees at a device; empty for others.
    """

    def __init__(self, message: str = "", *, chinese: str = "") -> None:
        super().__init__(message)
        self.chinese = chinese


UNREADABLE = "unreadable_record"
"""Begins the message of an error about a record of an internal topic that cannot be read."""

DEPENDENCY = "dependency"
"""Attribute of a log record which reports that a dependency does not answer: `log.warning(…, extra={DEPENDENCY: "Kafka"})`.

The log output of a worker writes these records as one outage: a line when it begins, a line when it ends, and reminders.
"""
