"""A server's collection with the methods of `Collection`: for code that waits, and for code in an event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from sememe.client import collection_calls as calls
from sememe.client.collection_calls import Asked, Call, CollectionInfo
from sememe.collections.context import Context
from sememe.collections.documents import Document
from sememe.collections.hits import Hit
from sememe.collections.options import SearchOptions
from sememe.collections.store import Counts
from sememe.collections.upserting import UpsertReport

T = TypeVar("T")


class Ask(Protocol):
    """Sends a request, and gives what its answer means."""

    def __call__(self, call: Call[T]) -> T: ...


class AskLater(Protocol):
    """The same, to be awaited."""

    def __call__(self, call: Call[T]) -> Awaitable[T]: ...


class RemoteCollection:
    """A collection of a server: `Client.collection` and `Client.create_collection` give one.

    Its methods are those of `Collection`, with the same values in and out; texts are embedded by the server. Raises NotFound,
    InputError, CollectionMismatch, Overloaded, RemoteError.
    """

    def __init__(self, name: str, ask: Ask, batch_size: int) -> None:
        """For `Client`. batch_size: documents of one request."""
        self.name, self._ask, self._batch_size = name, ask, batch_size

    def info(self) -> CollectionInfo:
        """What it is: its model, its space, how much it holds."""
        return self._ask(calls.info_call(self.name))

    def count(self) -> Counts:
        """As `Collection.count`."""
        return self._ask(calls.count_call(self.name))

    def upsert(
        self, documents: Iterable[Document], *, on_progress: Callable[[UpsertReport], object] | None = None
    ) -> UpsertReport:
        """As `Collection.upsert`, some documents a request; on_progress gets what each request did."""
        total = UpsertReport()
        for call in calls.upsert_calls(self.name, documents, self._batch_size):
            report = self._ask(call)
            total += report
            if on_progress is not None:
                on_progress(report)
        return total

    def delete(self, *, ids: Sequence[str] | None = None, where: Mapping[str, object] | None = None) -> int:
        """As `Collection.delete`."""
        return self._ask(calls.delete_call(self.name, ids, where))

    def get(self, document_id: str) -> Document:
        """As `Collection.get`."""
        return self._ask(calls.get_call(self.name, document_id))

    def search(
        self,
        query: str,
        k: int = 10,
        options: SearchOptions | None = None,
        *,
        where: Mapping[str, object] | None = None,
        rerank: str | None = None,
        with_text: bool = False,
    ) -> list[Hit]:
        """As `Collection.search`. rerank: the name of a reranker of the server, "" is its first."""
        asked = Asked(k, options or SearchOptions(), where, rerank)
        return self._ask(calls.search_call(self.name, query, asked, with_text=with_text))

    def search_by_vector(
        self,
        vector: NDArray[np.generic],
        k: int = 10,
        options: SearchOptions | None = None,
        *,
        where: Mapping[str, object] | None = None,
        with_text: bool = False,
    ) -> list[Hit]:
        """As `Collection.search_by_vector`, by the vector (D,) alone."""
        asked = Asked(k, options or SearchOptions(), where)
        return self._ask(calls.vector_call(self.name, vector, asked, with_text=with_text))

    def more_like(self, document_id: str, k: int = 10, *, where: Mapping[str, object] | None = None) -> list[Hit]:
        """As `Collection.more_like`."""
        return self._ask(calls.more_like_call(self.name, document_id, k, where))

    def context(
        self,
        question: str,
        max_tokens: int = 1000,
        *,
        k: int = 20,
        options: SearchOptions | None = None,
        where: Mapping[str, object] | None = None,
        rerank: str | None = None,
    ) -> Context:
        """As `Collection.context`, tokens counted by the collection's own model; rerank as in `search`."""
        asked = Asked(k, options or SearchOptions(), where, rerank)
        return self._ask(calls.context_call(self.name, question, max_tokens, asked))


class AsyncRemoteCollection:
    """`RemoteCollection` with methods to await; the same arguments, answers and errors."""

    def __init__(self, name: str, ask: AskLater, batch_size: int) -> None:
        """For `AsyncClient`."""
        self.name, self._ask, self._batch_size = name, ask, batch_size

    async def info(self) -> CollectionInfo:
        """As `RemoteCollection.info`."""
        return await self._ask(calls.info_call(self.name))

    async def count(self) -> Counts:
        """As `RemoteCollection.count`."""
        return await self._ask(calls.count_call(self.name))

    async def upsert(
        self, documents: Iterable[Document], *, on_progress: Callable[[UpsertReport], object] | None = None
    ) -> UpsertReport:
        """As `RemoteCollection.upsert`."""
        total = UpsertReport()
        for call in calls.upsert_calls(self.name, documents, self._batch_size):
            report = await self._ask(call)
            total += report
            if on_progress is not None:
                on_progress(report)
        return total

    async def delete(self, *, ids: Sequence[str] | None = None, where: Mapping[str, object] | None = None) -> int:
        """As `RemoteCollection.delete`."""
        return await self._ask(calls.delete_call(self.name, ids, where))

    async def get(self, document_id: str) -> Document:
        """As `RemoteCollection.get`."""
        return await self._ask(calls.get_call(self.name, document_id))

    async def search(
        self,
        query: str,
        k: int = 10,
        options: SearchOptions | None = None,
        *,
        where: Mapping[str, object] | None = None,
        rerank: str | None = None,
        with_text: bool = False,
    ) -> list[Hit]:
        """As `RemoteCollection.search`."""
        asked = Asked(k, options or SearchOptions(), where, rerank)
        return await self._ask(calls.search_call(self.name, query, asked, with_text=with_text))

    async def search_by_vector(
        self,
        vector: NDArray[np.generic],
        k: int = 10,
        options: SearchOptions | None = None,
        *,
        where: Mapping[str, object] | None = None,
        with_text: bool = False,
    ) -> list[Hit]:
        """As `RemoteCollection.search_by_vector`."""
        asked = Asked(k, options or SearchOptions(), where)
        return await self._ask(calls.vector_call(self.name, vector, asked, with_text=with_text))

    async def more_like(self, document_id: str, k: int = 10, *, where: Mapping[str, object] | None = None) -> list[Hit]:
        """As `RemoteCollection.more_like`."""
        return await self._ask(calls.more_like_call(self.name, document_id, k, where))

    async def context(
        self,
        question: str,
        max_tokens: int = 1000,
        *,
        k: int = 20,
        options: SearchOptions | None = None,
        where: Mapping[str, object] | None = None,
        rerank: str | None = None,
    ) -> Context:
        """As `RemoteCollection.context`."""
        asked = Asked(k, options or SearchOptions(), where, rerank)
        return await self._ask(calls.context_call(self.name, question, max_tokens, asked))
