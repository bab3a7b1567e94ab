"""The Model Context Protocol: assistants search our collections and read their documents.

Written against mcp 2.3; needs the extra `mcp`. `search` and `fetch` are named and answer as assistants' connectors expect
them: results with id, title and text, and one document by such an id.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

from sememe.collections.collection import Collection
from sememe.collections.documents import MetadataValue
from sememe.collections.hits import Hit
from sememe.errors import InputError, NotFound, SememeError

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

_INSTRUCTIONS = (
    "Search collections of documents by meaning and by words. Call list_collections for what there is, search for passages "
    "that answer a question, fetch for a whole document by the id of a result. Cite results by title and source."
)
_READS_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
_MOST_RESULTS = 100
# What a client's context holds of one document; the rest is fetched in pieces.
FETCHED_CHARACTERS = 100_000


class Library(Protocol):
    """Collections by name."""

    def names(self) -> Sequence[str]:
        """Every collection there is now; no name has a slash in it."""
        ...

    def collection(self, name: str) -> Collection:
        """The collection with its model. Raises NotFound."""
        ...

    def bare(self, name: str) -> Collection:
        """The collection without its model, to count and read in. Raises NotFound."""
        ...


@dataclass(frozen=True)
class CollectionSummary:
    """What a collection holds."""

    name: str
    documents: int
    chunks: int
    model: str
    language: str | None


@dataclass(frozen=True)
class Result:
    """A passage. id: of its document, for fetch. place: lines or pages in the source."""

    id: str
    title: str
    text: str
    source: str
    place: str | None
    heading: str
    score: float
    metadata: dict[str, MetadataValue]


@dataclass(frozen=True)
class Results:
    """The best passages, best first. warnings: what the filter asks in vain, where fewer came than were wanted."""

    results: list[Result]
    warnings: list[str]


@dataclass(frozen=True)
class FetchedDocument:
    """A document, or a piece of a long one. next_offset: where the next piece begins; null at the end."""

    id: str
    title: str
    text: str
    source: str
    metadata: dict[str, MetadataValue]
    n_characters: int
    next_offset: int | None


def build_server(library: Library, *, version: str) -> MCPServer[None]:
    """A server with the tools; `run("stdio")` or `run("streamable-http")` serves it."""
    server: MCPServer[None] = MCPServer("sememe", instructions=_INSTRUCTIONS, version=version)

    @server.tool(annotations=_READS_ONLY)
    async def list_collections() -> list[CollectionSummary]:
        """Every collection: its name, how many documents it holds, its embedding model and language."""
        return await _answered(lambda: list(_summaries(library)))

    @server.tool(annotations=_READS_ONLY)
    async def search(
        question: str,
        collection: str | None = None,
        k: int = 10,
        filter: dict[str, object] | None = None,
    ) -> Results:
        """The passages that answer a question best, by meaning and by words.

        collection: its name; may be left out where there is only one. k: 1 to 100 passages. filter: on the documents'
        metadata, for example {"year": {">=": 2020}, "language": {"in": ["de", "en"]}}; also and, or, not, prefix, exists;
        @id, @source and @title are the document's own fields.
        """
        return await _answered(lambda: _search(library, question, collection, k, filter))

    @server.tool(annotations=_READS_ONLY)
    async def fetch(id: str, offset: int = 0) -> FetchedDocument:
        """A document by the id of a search result. offset: where to go on reading a long one, from next_offset."""
        return await _answered(lambda: _fetch(library, id, offset))

    return server


async def _answered(work: Callable[[], Answer]) -> Answer:
    """Done in a thread, so that other calls go on; our errors are the tool's, in their own words."""
    try:
        return await asyncio.to_thread(work)
    except SememeError as exc:
        raise ToolError(str(exc)) from exc


def _summaries(library: Library) -> Iterator[CollectionSummary]:
    for name in library.names():
        try:
            yield _summary(library, name)
        except SememeError as exc:  # one that is damaged does not hide the others
            logger.warning("%s is left out of the list: %s", name, exc)


def _summary(library: Library, name: str) -> CollectionSummary:
    collection = library.bare(name)
    counts, about = collection.count(), collection.about
    return CollectionSummary(name, counts.documents, counts.chunks, about.model, about.options.language)


def _search(library: Library, question: str, name: str | None, k: int, where: Mapping[str, object] | None) -> Results:
    if not 1 <= k <= _MOST_RESULTS:
        raise InputError(f"k is {k}; expected 1 to {_MOST_RESULTS}.")
    if not question.strip():
        raise InputError("The question is empty.")
    name = _only_name(library) if name is None else name
    asked = library.collection(name)
    hits = asked.search(question, k, where=where)
    return Results([_result(name, hit) for hit in hits], asked.doubts(where) if len(hits) < k else [])


def _only_name(library: Library) -> str:
    names = library.names()
    if len(names) != 1:
        raise InputError(f"Name a collection; there are {', '.join(names) or 'none'}.")
    return names[0]


def _result(name: str, hit: Hit) -> Result:
    document, chunk = hit.document, hit.chunk
    return Result(
        id=f"{name}/{document.id}",
        title=document.title or document.source or document.id,
        text=chunk.text,
        source=document.source,
        place=None if chunk.place is None else str(chunk.place),
        heading=chunk.heading,
        score=hit.score,
        metadata=dict(document.metadata),
    )


def _fetch(library: Library, id: str, offset: int) -> FetchedDocument:
    name, slash, document_id = id.partition("/")
    if not slash:
        raise InputError(f"{id!r} is no id of a result; expected COLLECTION/DOCUMENT.")
    document = library.bare(name).get(document_id)
    n = len(document.text)
    if not 0 <= offset <= n:
        raise NotFound(f"{id!r} has {n:,} characters; there is none at {offset:,}.")
    end = offset + FETCHED_CHARACTERS
    return FetchedDocument(
        id=id,
        title=document.title,
        text=document.text[offset:end],
        source=document.source,
        metadata=dict(document.metadata),
        n_characters=n,
        next_offset=end if end < n else None,
    )
