"""`Client`: a server as an embedder, and its collections, for code that waits."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Self, TypeVar

import httpx2
import numpy as np
from numpy.typing import NDArray

from sememe.client import collection_calls as calls
from sememe.client.collection_calls import Call, CollectionInfo
from sememe.client.collections import RemoteCollection
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
from sememe.errors import RemoteError
from sememe.records import Embeddings, EmbedOptions, RankedDocument, SimilarityName
from sememe.similarity import similarity, similarity_pairwise

T = TypeVar("T")

_AS_THE_MODEL_SAYS = EmbedOptions()


class Client:
    """A running server, ours or any that speaks OpenAI's embeddings, as something that embeds (`records.TextEmbedder`).

        with Client("http://127.0.0.1:8080") as model:
            scores = model.similarity(model.encode_query("…"), model.encode_document(["…", "…"]))

        with Client("http://127.0.0.1:8080") as server:
            hits = server.collection("handbook").search("how do refunds work")

    May be used from several threads at once. Raises InputError, NotFound, CollectionMismatch, Overloaded, RemoteError.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        api_key: str | None = None,
        options: ClientOptions | None = None,
    ) -> None:
        """model: the name that requests give; None is the server's first. api_key: sent as a bearer token."""
        self.url, self.model = url.rstrip("/"), model
        self._options = options or ClientOptions()
        self._http = httpx2.Client(
            base_url=self.url, headers=headers_of(self.url, api_key), timeout=self._options.timeout_seconds
        )
        self._sending = ThreadPoolExecutor(self._options.concurrency, thread_name_prefix="sememe-client")
        self._fingerprints: dict[EmbedOptions, str] = {}
        self._info: Mapping[str, Any] | None = None
        self._dimension: int | None = None

    # ── what it is ───────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def name(self) -> str:
        """The model as requests name it, or the server's first."""
        return self.model or str(self._server_info().get("model_id") or self.url)

    @property
    def revision(self) -> str:
        """Of the model, where the server says it; else its address."""
        return str(self._server_info().get("model_sha") or self.url)

    @property
    def dimension(self) -> int:
        """D: asked once, by a text of one word."""
        if self._dimension is None:
            dense = self.embed(["a"]).dense
            assert dense is not None
            self._dimension = dense.shape[1]
        return self._dimension

    @property
    def max_tokens(self) -> int:
        """Of the model. Raises RemoteError where the server does not say."""
        limit = self._server_info().get("max_input_length")
        if not isinstance(limit, int):
            raise RemoteError(f"{self.url} does not say how many tokens its model reads (GET /info).")
        return limit

    def fingerprint(self, options: EmbedOptions = _AS_THE_MODEL_SAYS) -> str:
        """The name of the vector space: the server's own, asked once for each options, else one of address and model."""
        if options not in self._fingerprints:
            self._fingerprints[options] = self.embed(["a"], options).fingerprint
        return self._fingerprints[options]

    def _server_info(self) -> Mapping[str, Any]:
        if self._info is None:
            try:
                answer = self._http.get("/info", params={"model": self.model} if self.model else None)
                self._info = answer.json() if answer.status_code == 200 else {}
            except (httpx2.HTTPError, ValueError) as exc:
                raise RemoteError(f"{self.url}/info: {exc}") from exc
        return self._info

    # ── embedding ────────────────────────────────────────────────────────────────────────────────────────────────

    def embed(self, inputs: Sequence[str], options: EmbedOptions = _AS_THE_MODEL_SAYS) -> Embeddings:
        """Embed a list of texts, some at a time: vectors, token counts where the server gives them, the fingerprint."""
        check_options(options)
        started = time.perf_counter()
        space = space_of(self.url, self.model, options)

        def ask(texts: Sequence[str]) -> Embeddings:
            answer = self._post("/v1/embeddings", embed_body(texts, self.model, options))
            return read_embeddings(answer, len(texts), options, space)

        parts = list(self._sending.map(ask, batches(inputs, self._options.batch_size)))
        return joined(parts, options, space, time.perf_counter() - started)

    def encode(self, inputs: str | Sequence[str], options: EmbedOptions = _AS_THE_MODEL_SAYS) -> NDArray[Any]:
        """(N, D) for a list, (D,) for one text."""
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        dense = self.embed(texts, options).dense
        assert dense is not None
        return dense[0] if isinstance(inputs, str) else dense

    def encode_query(self, inputs: str | Sequence[str], options: EmbedOptions = _AS_THE_MODEL_SAYS) -> NDArray[Any]:
        """`encode` as a query, with the model's prompt for queries."""
        return self.encode(inputs, replace(options, role="query"))

    def encode_document(self, inputs: str | Sequence[str], options: EmbedOptions = _AS_THE_MODEL_SAYS) -> NDArray[Any]:
        """`encode` as a document, with the model's prompt for documents."""
        return self.encode(inputs, replace(options, role="document"))

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,
        *,
        instruction: str | None = None,
    ) -> list[RankedDocument]:
        """The documents by the server's reranker, best first; none gives none.

        As `Reranker.rank`, but the scores are the server's: from 0 to 1, whatever the model's own activation is.
        """
        if not documents:
            return []
        body = rank_body(self.model, query, documents, top_k, instruction)
        return read_ranking(self._post("/v1/rerank", body), documents, with_texts=return_documents)

    def similarity(
        self, embeddings1: NDArray[Any], embeddings2: NDArray[Any], function: SimilarityName = "cosine"
    ) -> NDArray[np.float32]:
        """(N, M) scores; higher is nearer."""
        return similarity(embeddings1, embeddings2, function)

    def similarity_pairwise(
        self, embeddings1: NDArray[Any], embeddings2: NDArray[Any], function: SimilarityName = "cosine"
    ) -> NDArray[np.float32]:
        """(N,) scores of row with row."""
        return similarity_pairwise(embeddings1, embeddings2, function)

    # ── collections ──────────────────────────────────────────────────────────────────────────────────────────────

    def collections(self) -> list[CollectionInfo]:
        """Every collection of the server; those that it cannot open are logged."""
        return self._ask(calls.list_call())

    def collection(self, name: str) -> RemoteCollection:
        """One of them by its name. Nothing is asked yet: that there is none is said by its methods."""
        return RemoteCollection(name, self._ask, self._options.batch_size)

    def create_collection(
        self,
        name: str,
        options: CollectionOptions | None = None,
        *,
        chunking: ChunkOptions | None = None,
        model: str | None = None,
    ) -> RemoteCollection:
        """Begin one. model: None is this client's, else the server's first. Raises InputError where there is one already."""
        self._ask(
            calls.create_call(name, model or self.model, options or CollectionOptions(), chunking or ChunkOptions())
        )
        return self.collection(name)

    def delete_collection(self, name: str) -> None:
        """Delete one with all it holds. Raises NotFound."""
        self._ask(calls.drop_call(name))

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _ask(self, call: Call[T]) -> T:
        return call.result((self._send(call.method, call.path, call.body)).body)

    def _post(self, path: str, body: Mapping[str, Any]) -> Answer:
        return self._send("POST", path, body)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> Answer:
        tries = Tries(self._options.retries, f"{self.url}{path}")
        while True:
            try:
                outcome: httpx2.Response | httpx2.HTTPError = self._http.request(method, path, json=body)
            except httpx2.HTTPError as exc:
                outcome = exc
            except UnicodeEncodeError as exc:
                raise no_unicode(exc) from exc
            following = tries.after(outcome)
            if isinstance(following, Answer):
                return following
            time.sleep(following)

    def close(self) -> None:
        """Close the connections; the client cannot be used afterwards."""
        self._sending.shutdown(cancel_futures=True)
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
