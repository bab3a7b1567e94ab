"""Where a collection is kept outside of a folder, as an address: the one place that reads such addresses.

pgvector://USER:PASSWORD@HOST:PORT/DATABASE?collection=NAME     what libpq knows may stand after it: &sslmode=require
qdrant://KEY@HOST:PORT?collection=NAME                          qdrants:// over TLS
qdrant:///FOLDER?collection=NAME                                the client's local mode
milvus://USER:PASSWORD@HOST:PORT?collection=NAME                milvuss:// over TLS
milvus:///FILE.db?collection=NAME                               Milvus Lite
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from sememe.collections.about import About
from sememe.collections.store import VectorStore
from sememe.errors import InputError

Kind = Literal["pgvector", "qdrant", "milvus"]

_SCHEMES: dict[str, tuple[Kind, str]] = {
    "pgvector": ("pgvector", "postgresql"),
    "qdrant": ("qdrant", "http"),
    "qdrants": ("qdrant", "https"),
    "milvus": ("milvus", "http"),
    "milvuss": ("milvus", "https"),
}


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

            return qdrant.create(qdrant.connect(place.address, key=place.key), place.name, about)
        case "milvus":
            from sememe.collections.stores import milvus

            return milvus.create(milvus.connect(place.address, key=place.key), place.name, about)


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

            store = qdrant.open_store(qdrant.connect(place.address, key=place.key), place.name)
            return Opened(store, store.about)
        case "milvus":
            from sememe.collections.stores import milvus

            store = milvus.open_store(milvus.connect(place.address, key=place.key), place.name)
            return Opened(store, store.about)
