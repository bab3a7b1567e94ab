"""Where a collection is kept outside of a folder, as an address: the one place that reads such addresses.

pgvector://USER:PASSWORD@HOST:PORT/DATABASE?collection=NAME     what libpq knows may stand after it: &sslmode=require
qdrant://KEY@HOST:PORT?collection=NAME                          qdrants:// over TLS
qdrant:///FOLDER?collection=NAME                                the client's local mode
milvus://USER:PASSWORD@HOST:PORT?collection=NAME                milvuss:// over TLS
milvus:///FILE.db?collection=NAME                               Milvus Lite
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from sememe.collections.about import About
from sememe.collections.store import VectorStore
from sememe.errors import InputError, NotFound

Kind = Literal["pgvector", "qdrant", "milvus"]

_SCHEMES: dict[str, tuple[Kind, str]] = {
    "pgvector": ("pgvector", "postgresql"),
    "qdrant": ("qdrant", "http"),
    "qdrants": ("qdrant", "https"),
    "milvus": ("milvus", "http"),
    "milvuss": ("milvus", "https"),
}


# What a collection is called where a request or an option names it.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class StorePlace:
    """kind: of the store. address: as its client takes it. name: of the collection. key: what opens it, if it is apart."""

    kind: Kind
    address: str
    name: str
    key: str | None = None


@dataclass(frozen=True)
class Opened:
    """A store, and what its collection says of itself."""

    store: VectorStore
    about: About


def is_address(text: str) -> bool:
    """Whether it is an address of a store, and no path."""
    return "://" in text


def shown(place: Path | str) -> str:
    """A collection's folder or address as it may be printed: without keys and passwords."""
    if isinstance(place, Path) or not is_address(place):
        return str(place)
    try:
        parts = urlsplit(place)
    except ValueError:
        return f"{place.partition('://')[0]}://***"
    user, at, host = parts.netloc.rpartition("@")
    if at:
        # The whole of what stands before a Qdrant server is its key; others have USER:PASSWORD.
        user = "" if parts.scheme.startswith("qdrant") else user.partition(":")[0]
    asked = [(key, "***" if "password" in key else value) for key, value in parse_qsl(parts.query)]
    netloc = f"{user or '***'}@{host}" if at else host
    # By hand: a path without a host keeps its three slashes.
    return f"{parts.scheme}://{netloc}{parts.path}?{urlencode(asked, quote_via=quote, safe='/*')}"


def read_address(text: str) -> StorePlace:
    """Raises InputError that says what is missing; it shows nothing of the address, which may hold a password."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as exc:
        raise InputError(f"The address of the store cannot be read: {exc}.") from exc
    if parts.scheme not in _SCHEMES:
        raise InputError(
            f"There is no store {parts.scheme!r}; expected one of {', '.join(f'{s}://' for s in _SCHEMES)}."
        )
    if parts.netloc.count("@") > 1:
        raise InputError("The address of the store has a second @ before its host; write the one of a password as %40.")
    kind, scheme = _SCHEMES[parts.scheme]
    asked = parse_qsl(parts.query, keep_blank_values=True)
    names = [value for key, value in asked if key == "collection"]
    if len(names) != 1 or not names[0]:
        raise InputError(f"The address of a {kind} store names its collection once: …?collection=NAME.")
    others = [(key, value) for key, value in asked if key != "collection"]
    if kind == "pgvector":
        query = urlencode(others, quote_via=quote)
        return StorePlace(kind, SplitResult(scheme, parts.netloc, parts.path, query, "").geturl(), names[0])
    if others:
        raise InputError(f"The address of a {kind} store has {others[0][0]!r}; it takes collection alone.")
    return _of_rows(kind, scheme, parts, names[0])


def _of_rows(kind: Kind, scheme: str, parts: SplitResult, name: str) -> StorePlace:
    """Qdrant and Milvus: a server by its host, the local mode by its path."""
    if not parts.netloc:
        if not parts.path.strip("/"):
            raise InputError(f"The address of a {kind} store has neither a host nor a path.")
        return StorePlace(kind, unquote(parts.path), name)
    if parts.path.strip("/"):
        raise InputError(f"The address of a {kind} store has a host and the path {parts.path!r}; expected one of both.")
    user, at, host = parts.netloc.rpartition("@")
    return StorePlace(kind, f"{scheme}://{host}", name, unquote(user) if at else None)


def create_store(text: str, about: About) -> VectorStore:
    """Begin a collection at an address. Raises InputError where one is already, SememeError where nobody answers."""
    place = read_address(text)
    match place.kind:
        case "pgvector":
            from sememe.collections.stores.pgvector import PgVectorStore

            return PgVectorStore.create(place.address, place.name, about)
        case "qdrant":
            from sememe.collections.stores import qdrant

            qdrant_client = qdrant.connect(place.address, key=place.key)
            with _closed_on_error(qdrant_client):
                return qdrant.create(qdrant_client, place.name, about)
        case "milvus":
            from sememe.collections.stores import milvus

            milvus_client = milvus.connect(place.address, key=place.key)
            with _closed_on_error(milvus_client):
                return milvus.create(milvus_client, place.name, about)


def open_store(text: str) -> Opened:
    """Open what is stored at an address. Raises NotFound, and SememeError where nobody answers."""
    place = read_address(text)
    match place.kind:
        case "pgvector":
            from sememe.collections.stores.pgvector import PgVectorStore

            opened = PgVectorStore.open(place.address, place.name)
            return Opened(opened, opened.about)
        case "qdrant":
            from sememe.collections.stores import qdrant

            qdrant_client = qdrant.connect(place.address, key=place.key)
            with _closed_on_error(qdrant_client):
                store = qdrant.open_store(qdrant_client, place.name)
            return Opened(store, store.about)
        case "milvus":
            from sememe.collections.stores import milvus

            milvus_client = milvus.connect(place.address, key=place.key)
            with _closed_on_error(milvus_client):
                store = milvus.open_store(milvus_client, place.name)
            return Opened(store, store.about)


def read_named(text: str) -> tuple[str, str]:
    """`NAME=ADDRESS` as both. Raises InputError, which shows nothing of the address."""
    name, equals, address = text.partition("=")
    if not equals or not name or is_address(name):
        raise InputError("A collection in a store is named as NAME=ADDRESS, such as docs=pgvector://…?collection=docs.")
    if not NAME.fullmatch(name):
        raise InputError(
            f"{name[:100]!r} is no name of a collection; expected letters, digits, _, . and -, at most 100, not first a dot."
        )
    read_address(address)
    return name, address


class _Client(Protocol):
    def close(self) -> None: ...


@contextmanager
def _closed_on_error(client: _Client) -> Iterator[None]:
    """A local mode locks its folder until it is closed."""
    try:
        yield
    except BaseException:
        client.close()
        raise


def store_exists(text: str) -> bool:
    """Whether a collection is at this address. Raises SememeError where nobody answers."""
    try:
        open_store(text).store.close()
    except NotFound:
        return False
    return True


def drop_store(text: str) -> None:
    """Delete the collection at an address with all it holds. Raises NotFound, SememeError where nobody answers."""
    open_store(text).store.close()  # an address with a typing error deletes nothing, and says so
    place = read_address(text)
    match place.kind:
        case "pgvector":
            from sememe.collections.stores.pgvector import PgVectorStore

            PgVectorStore.drop(place.address, place.name)
        case "qdrant":
            from sememe.collections.stores import qdrant

            with closing(qdrant.connect(place.address, key=place.key)) as qdrant_client:
                qdrant.drop(qdrant_client, place.name)
        case "milvus":
            from sememe.collections.stores import milvus

            with closing(milvus.connect(place.address, key=place.key)) as milvus_client:
                milvus.drop(milvus_client, place.name)
