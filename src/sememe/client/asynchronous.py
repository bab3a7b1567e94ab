"""`AsyncClient`: a server as an embedder, and its collections, for code that runs in an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, TypeVar

import httpx2
from numpy.typing import NDArray

from sememe.client import collection_calls as calls
from sememe.client.collection_calls import Call, CollectionInfo
from sememe.client.collections import AsyncRemoteCollection
from sememe.client.exchange import (
    Answer,
    batches,
    check_options,
    embed_body,
    joined,
    no_unicode,
    rank_body,
    read_embeddings,
    read_ranking,
    space_of,
)
from sememe.client.retrying import Tries
from sememe.client.settings import ClientOptions, headers_of
from sememe.collections.chunking.options import ChunkOptions
from sememe.collections.options import CollectionOptions
from sememe.records import Embeddings, EmbedOptions, RankedDocument

T = TypeVar("T")

_AS_THE_MODEL_SAYS = EmbedOptions()


class AsyncClient:
    """`Client` with methods to await; the same arguments, answers and errors."""

    def __init__(
        self, url: str, *, model: str | None = None, api_key: str | None = None, options: ClientOptions | None = None
    ) -> None:
        """As `Client`."""
        self.url, self.model = url.rstrip("/"), model
        self._options = options or ClientOptions()
        self._http = httpx2.AsyncClient(
            base_url=self.url, headers=headers_of(self.url, api_key), timeout=self._options.timeout_seconds
        )
        self._room = asyncio.Semaphore(self._options.concurrency)

    async def embed(self, inputs: Sequence[str], options: EmbedOptions = _AS_THE_MODEL_SAYS) -> Embeddings:
        """As `Client.embed`."""
        check_options(options)
        started = time.perf_counter()
        space = space_of(self.url, self.model, options)

        async def ask(texts: Sequence[str]) -> Embeddings:
            async with self._room:
                answer = await self._post("/v1/embeddings", embed_body(texts, self.model, options))
            return read_embeddings(answer, len(texts), options, space)

        parts = await asyncio.gather(*(ask(texts) for texts in batches(inputs, self._options.batch_size)))
        return joined(parts, options, space, time.perf_counter() - started)

    async def encode(self, inputs: str | Sequence[str], options: EmbedOptions = _AS_THE_MODEL_SAYS) -> NDArray[Any]:
        """As `Client.encode`."""
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        dense = (await self.embed(texts, options)).dense
        assert dense is not None
        return dense[0] if isinstance(inputs, str) else dense

    async def encode_query(
        self, inputs: str | Sequence[str], options: EmbedOptions = _AS_THE_MODEL_SAYS
    ) -> NDArray[Any]:
        """As `Client.encode_query`."""
        return await self.encode(inputs, replace(options, role="query"))

    async def encode_document(
        self, inputs: str | Sequence[str], options: EmbedOptions = _AS_THE_MODEL_SAYS
    ) -> NDArray[Any]:
        """As `Client.encode_document`."""
        return await self.encode(inputs, replace(options, role="document"))

    async def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,
        *,
        instruction: str | None = None,
    ) -> list[RankedDocument]:
        """As `Client.rank`."""
        if not documents:
            return []
        body = rank_body(self.model, query, documents, top_k, instruction)
        return read_ranking(await self._post("/v1/rerank", body), documents, with_texts=return_documents)

    # ── collections ──────────────────────────────────────────────────────────────────────────────────────────────

    async def collections(self) -> list[CollectionInfo]:
        """As `Client.collections`."""
        return await self._ask(calls.list_call())

    def collection(self, name: str) -> AsyncRemoteCollection:
        """As `Client.collection`."""
        return AsyncRemoteCollection(name, self._ask, self._options.batch_size)

    async def create_collection(
        self,
        name: str,
        options: CollectionOptions | None = None,
        *,
        chunking: ChunkOptions | None = None,
        model: str | None = None,
    ) -> AsyncRemoteCollection:
        """As `Client.create_collection`."""
        await self._ask(
            calls.create_call(name, model or self.model, options or CollectionOptions(), chunking or ChunkOptions())
        )
        return self.collection(name)

    async def delete_collection(self, name: str) -> None:
        """As `Client.delete_collection`."""
        await self._ask(calls.drop_call(name))

    async def _ask(self, call: Call[T]) -> T:
        return call.result((await self._send(call.method, call.path, call.body)).body)

    async def _post(self, path: str, body: Mapping[str, Any]) -> Answer:
        return await self._send("POST", path, body)

    async def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> Answer:
        tries = Tries(self._options.retries, f"{self.url}{path}")
        while True:
            try:
                outcome: httpx2.Response | httpx2.HTTPError = await self._http.request(method, path, json=body)
            except httpx2.HTTPError as exc:
                outcome = exc
            except UnicodeEncodeError as exc:
                raise no_unicode(exc) from exc
            following = tries.after(outcome)
            if isinstance(following, Answer):
                return following
            await asyncio.sleep(following)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
