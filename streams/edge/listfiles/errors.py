"""The error that reading, checking and writing files of a push raises."""

from ninezero.streams.errors import UserError


class ListFileError(UserError):
    """A file of a push cannot be used.

    The message is one line: the file's number on the command line, what is wrong, and what to do. It quotes nothing of the
    file, and not the file's name, because a name can contain an identity.
    """
