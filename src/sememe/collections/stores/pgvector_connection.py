"""Connections to PostgreSQL: how they are made, and what their errors mean to us."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

from sememe.errors import InputError, Overloaded, RemoteError, SememeError

# How long a change waits for another writer.
WAIT_SECONDS = 30


def check_name(name: str) -> None:
    """Raises InputError for what is no name of a collection, which is a schema."""
    if not name or len(name.encode()) > 63 or '"' in name or "\0" in name or name.startswith("pg_"):
        raise InputError(
            f'A collection in PostgreSQL is a schema; {name!r} is no name for one (1 to 63 bytes, no ", not pg_…).'
        )


def connect(conninfo: str, name: str | None) -> Any:
    """A connection that sees the collection's tables; name None sees none. Raises RemoteError, without the password."""
    try:
        import psycopg
    except ImportError as exc:
        raise InputError("PostgreSQL needs the extra pgvector: pip install 'sememe[pgvector]'.") from exc
    try:
        connection = psycopg.connect(conninfo, autocommit=True, connect_timeout=10, client_encoding="utf8")
    except (psycopg.OperationalError, psycopg.ProgrammingError) as exc:
        said = _without_password(str(exc).strip(), conninfo)
        raise RemoteError(
            f"PostgreSQL cannot be reached: {said}. Check the address and that the server runs."
        ) from None
    if name is not None:
        use_schema(connection, name)
    return connection


def _without_password(text: str, conninfo: str) -> str:
    """libpq repeats parts of an address that it cannot read."""
    mark = re.match(r"\w+://[^/@]*?:([^/@]+)@", conninfo)
    return text.replace(mark[1], "…") if mark else text


def use_schema(connection: Any, name: str) -> None:
    """Let the connection see this collection's tables."""
    connection.execute("SELECT set_config('search_path', %s, false)", (f'"{name}", public',))


@contextmanager
def translated() -> Iterator[None]:
    """psycopg's errors as ours."""
    import psycopg

    try:
        yield
    except psycopg.errors.LockNotAvailable as exc:
        raise Overloaded(
            f"Another process has been writing to the collection for {WAIT_SECONDS} s. Try again when it is done.",
            retry_after_seconds=WAIT_SECONDS,
        ) from exc
    except (psycopg.OperationalError, psycopg.InterfaceError) as exc:
        raise RemoteError(
            f"PostgreSQL does not answer: {exc}. What was acknowledged is stored; open the collection again."
        ) from exc
    except psycopg.DatabaseError as exc:
        raise SememeError(f"PostgreSQL refused a statement: {exc}") from exc


def statement(text: str) -> LiteralString:
    """Statements are put together from our own words only; every value of a user is a parameter."""
    return text  # type: ignore[return-value]
