"""Which errors mean that Postgres is away for now, as opposed to a statement that is wrong."""

from __future__ import annotations

import errno
from socket import gaierror

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

RETRY_SECONDS = 5
BUSY_SECONDS = 1
AWAY = "The database does not answer now; try again"
BUSY = "The server is busy now; try again"

# Connection exceptions, resources used up, operator intervention (shutdown, starting up).
_CLASSES = ("08", "53", "57P")
# asyncio raises a plain OSError without a number where several addresses of one name were tried.
_NETWORK = (None, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH)


def busy(error: BaseException) -> bool:
    """Whether every connection of a pool was in use for too long: Postgres is there, and others have their turn."""
    return isinstance(error, NoConnectionFree)


def sentence(error: BaseException) -> str:
    """What a client is told of an error that is `unreachable`."""
    return BUSY if busy(error) else AWAY


def retry_seconds(error: BaseException) -> int:
    """When to come back after an error that is `unreachable`, in seconds."""
    return BUSY_SECONDS if busy(error) else RETRY_SECONDS


def unreachable(error: BaseException) -> bool:
    """Whether trying again later is all that the error asks for.

    A statement or a connection that took too long counts too, and so does a pool without a free connection, which
    `busy` tells apart.
    """
    match error:
        case DBAPIError():
            return error.connection_invalidated or _says_so(error.orig)
        case NoConnectionFree() | TimeoutError() | ConnectionError() | gaierror():
            return True
        case OSError():
            return error.errno in _NETWORK
        case asyncpg.PostgresError() | asyncpg.InterfaceError():
            return _says_so(error)
    return False


def _says_so(error: BaseException | None) -> bool:
    state = str(getattr(error, "sqlstate", None) or "")
    return state.startswith(_CLASSES) or "connection is closed" in str(error)
