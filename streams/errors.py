"""The root of every error that a user is shown."""


class UserError(Exception):
    """One line: what is wrong and what to do. It quotes no input value."""
