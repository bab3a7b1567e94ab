"""Requests about a server's collections, and how their answers are read: what both clients share.

Bodies and answers are those of `server/collections/bodies.py`; a field that has its default is not sent.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from sememe.collections.chunking.options import ChunkOptions
from sememe.collections.context import Context, ContextPassage
from sememe.collections.documents import Chunk, Document, Place
from sememe.collections.hits import Explanation, Hit, Parent, RetrieverScore
from sememe.collections.options import CollectionOptions, SearchOptions
from sememe.collections.store import Counts
from sememe.collections.upserting import UpsertReport, each_once
from sememe.errors import InputError, RemoteError

logger = logging.getLogger(__name__)

T = TypeVar("T")

_ALL = "/v1/collections"
# JSON of one request: a server of ours takes 32 MB.
_BATCH_BYTES = 8_000_000


@dataclass(frozen=True)
class CollectionInfo:
    """What a collection of a server is. model: as requests name it, where it is served there. fingerprint: of its space.

    generation grows with every change. chunking: as `ChunkOptions` writes it. created: UTC, ISO 8601.
    """

    name: str
    documents: int
    chunks: int
    generation: int
    model: str
    revision: str
    fingerprint: str
    dimension: int
    chunking: str
    created: str


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and what its answer means. body: None for none. read: of the answer's JSON."""

    method: str
    path: str
    body: Mapping[str, Any] | None
    read: Callable[[Any], T]

    def result(self, answer: Any) -> T:
        """What the answer says. Raises RemoteError for one of another form."""
        try:
            return self.read(answer)
        except (KeyError, TypeError, ValueError, AttributeError, InputError) as exc:
            raise RemoteError(f"The answer to {self.path} is not of our form: {type(exc).__name__} {exc}.") from exc


# ── collections ──────────────────────────────────────────────────────────────────────────────────────────────────────


def list_call() -> Call[list[CollectionInfo]]:
    """All there are; what cannot be opened is logged."""

    def read(answer: Any) -> list[CollectionInfo]:
        for name, why in answer["unreachable"].items():
            logger.warning("the server cannot open its collection %s, which is left out: %s", name, why)
        return [_info(one) for one in answer["collections"]]

    return Call("GET", _ALL, None, read)


def create_call(
    name: str, model: str | None, options: CollectionOptions, chunking: ChunkOptions
) -> Call[CollectionInfo]:
    """A new collection."""
    body = {"name": name, **_given(options, CollectionOptions())}
    if model is not None:
        body["model"] = model
    if cut := _given(chunking, ChunkOptions()):
        body["chunking"] = cut
    return Call("POST", _ALL, body, _info)


def info_call(name: str) -> Call[CollectionInfo]:
    """What a collection is."""
    return Call("GET", _path(name), None, _info)


def count_call(name: str) -> Call[Counts]:
    """How much a collection holds."""
    return Call("GET", _path(name), None, lambda answer: _counts(_info(answer)))


def drop_call(name: str) -> Call[None]:
    """Delete a collection."""
    return Call("DELETE", _path(name), None, lambda answer: None)


# ── documents ────────────────────────────────────────────────────────────────────────────────────────────────────────


def upsert_calls(name: str, documents: Iterable[Document], batch_size: int) -> Iterator[Call[UpsertReport]]:
    """Documents to store, some at a time. Raises InputError for an id that comes twice."""
    some: list[dict[str, Any]] = []
    n_bytes = 0
    for document in each_once(documents):
        body = _body_of(document)
        size = len(json.dumps(body))
        if some and (len(some) == batch_size or n_bytes + size > _BATCH_BYTES):
            yield _upsert_call(name, some)
            some, n_bytes = [], 0
        some.append(body)
        n_bytes += size
    if some:
        yield _upsert_call(name, some)


def _upsert_call(name: str, bodies: Sequence[Mapping[str, Any]]) -> Call[UpsertReport]:
    def read(answer: Any) -> UpsertReport:
        counts = (answer[key] for key in ("added", "changed", "described", "unchanged", "chunks"))
        return UpsertReport(*map(int, counts))

    return Call("POST", _path(name, "documents"), {"documents": list(bodies)}, read)


def delete_call(name: str, ids: Sequence[str] | None, where: Mapping[str, object] | None) -> Call[int]:
    """Remove documents; gives how many there were."""
    if (ids is None) == (where is None):
        raise InputError("Delete by ids or by a filter: give one of both.")
    body = {"ids": list(ids)} if ids is not None else {"where": dict(where or {})}
    return Call("POST", _path(name, "documents", "delete"), body, lambda answer: int(answer["deleted"]))


def get_call(name: str, document_id: str) -> Call[Document]:
    """A document as it was given."""
    if not document_id:
        raise InputError("A document's id is a string of at least one character; got ''.")
    return Call("GET", _path(name, "documents", document_id), None, _document)


# ── finding ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Asked:
    """What the searches share: k hits, how, among which documents, reranked by which model of the server."""

    k: int
    options: SearchOptions
    where: Mapping[str, object] | None = None
    rerank: str | None = None

    def body(self) -> dict[str, Any]:
        """The fields of `FindBody` that are not as the server would have them."""
        body: dict[str, Any] = {"k": self.k, **_given(self.options, SearchOptions())}
        if "weights" in body:
            body["weights"] = dict(self.options.weights)
        if self.where is not None:
            body["where"] = dict(self.where)
        if self.rerank is not None:
            body["rerank"] = self.rerank
        return body


def search_call(name: str, query: str, asked: Asked, *, with_text: bool) -> Call[list[Hit]]:
    """The best chunks for a question."""
    return Call("POST", _path(name, "query"), {**asked.body(), "query": query, "with_text": with_text}, _hits)


def vector_call(name: str, vector: NDArray[np.generic], asked: Asked, *, with_text: bool) -> Call[list[Hit]]:
    """The chunks nearest to a vector."""
    body = {**asked.body(), "vector": np.asarray(vector, np.float32).tolist(), "with_text": with_text}
    return Call("POST", _path(name, "query"), body, _hits)


def more_like_call(name: str, document_id: str, k: int, where: Mapping[str, object] | None) -> Call[list[Hit]]:
    """The documents nearest to a stored one."""
    body: dict[str, Any] = {"id": document_id, "k": k}
    if where is not None:
        body["where"] = dict(where)
    return Call("POST", _path(name, "more-like"), body, _hits)


def context_call(name: str, question: str, max_tokens: int, asked: Asked) -> Call[Context]:
    """Passages for a language model."""
    body = {**asked.body(), "question": question, "max_tokens": max_tokens}
    body.pop("explain", None)  # it is hits that are explained

    def read(answer: Any) -> Context:
        _log_warnings(answer)
        return Context(question, tuple(map(_passage, answer["passages"])), int(answer["n_tokens"]))

    return Call("POST", _path(name, "context"), body, read)


# ── forms ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _path(name: str, *rest: str) -> str:
    """Every part whole, whatever it holds; two dots are no way up."""
    return "/".join([_ALL, *(quote(part, safe="").replace(".", "%2E") for part in (name, *rest))])


def _given(options: Any, defaults: Any) -> dict[str, Any]:
    """The fields of options that are not the defaults."""
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    return {key: value for key, value in values.items() if value != getattr(defaults, key)}


def _info(answer: Any) -> CollectionInfo:
    return CollectionInfo(**{field.name: answer[field.name] for field in fields(CollectionInfo)})


def _counts(info: CollectionInfo) -> Counts:
    return Counts(info.documents, info.chunks, info.generation)


def _body_of(document: Document) -> dict[str, Any]:
    return {
        "id": document.id,
        "text": document.text,
        "title": document.title,
        "source": document.source,
        "metadata": dict(document.metadata),
    }


def _document(answer: Any) -> Document:
    return Document(answer["id"], answer["text"], answer["title"], answer["source"], answer["metadata"])


def _place(answer: Any) -> Place | None:
    return None if answer is None else Place(answer["unit"], answer["first"], answer["last"])


def _hits(answer: Any) -> list[Hit]:
    _log_warnings(answer)
    return [_hit(one) for one in answer["hits"]]


def _log_warnings(answer: Any) -> None:
    """As `Collection.search` logs them; an older server gives none."""
    for warning in answer.get("warnings", ()):
        logger.warning("%s", warning)


def _hit(answer: Any) -> Hit:
    document = _document(answer["document"])
    position = int(answer["id"].rpartition("#")[2])
    chunk = Chunk(
        document.id,
        position,
        answer["text"],
        answer["start"],
        answer["end"],
        _place(answer["place"]),
        answer["heading"],
    )
    why, parent = answer["explanation"], answer["parent"]
    return Hit(
        chunk,
        document,
        answer["score"],
        tuple(RetrieverScore(one["retriever"], one["score"], one["rank"]) for one in answer["retrievers"]),
        None if why is None else Explanation(why["words"], why["contributions"]),
        None if parent is None else Parent(parent["kind"], parent["text"], parent["start"], parent["end"]),
    )


def _passage(answer: Any) -> ContextPassage:
    document, place = _document(answer["document"]), _place(answer["place"])
    return ContextPassage(answer["number"], answer["text"], document, place, answer["heading"], answer["score"])
