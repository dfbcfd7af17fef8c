"""Errors whose message is for the person who made the mistake."""


class UserError(ValueError):
    """An error that its reader can put right: a wrong value, a missing file, a lost connection.

    The message says what was given, what was expected and what to do. The commands show it alone,
    and any other error with its traceback.
    """

    # AutoGraph raises an error of a traced function again, with the place in its message. It keeps
    # the class of an error if the constructor is Exception's, and of other classes no base either.
    __init__ = Exception.__init__


class FileError(UserError, OSError):
    """A file or a folder that cannot be read or written."""


class NetworkError(FileError, ConnectionError):
    """A server that cannot be reached, or that sends something else than what was asked for."""


class PackageError(UserError, ImportError):
    """A package that is missing or cannot be imported."""
