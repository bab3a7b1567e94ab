"""A served model as collections want it: called from a thread, computed by the scheduler among all other requests.

It outlives the model: one that was loaded on demand and has gone is loaded again when it is next used, and held meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any, TypeVar

from sememe.engine.engine import RawEmbedding
from sememe.engine.spans import Span, check_spans
from sememe.errors import CollectionMismatch, NotFound
from sememe.records import Embeddings, EmbedOptions, Tokens
from sememe.server.line import Line
from sememe.server.lines import SpanLine
from sememe.server.models import EmbeddingModel
from sememe.server.service import Service
from sememe.server.waiting import Lane

Result = TypeVar("Result")

_AS_THE_CHECKPOINT_SAYS = EmbedOptions()


@contextmanager
def held(name: str, service: Service, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """For a thread: while it uses the model of that name, which is loaded first if it is not there.

    Raises CheckpointError, Unavailable.
    """
    holding = AsyncExitStack()
    _wait_for(holding.enter_async_context(service.on_demand.held(name)), loop)
    try:
        yield
    finally:
        _wait_for(holding.aclose(), loop)


def _wait_for(work: Coroutine[Any, Any, Result], loop: asyncio.AbstractEventLoop) -> Result:
    return asyncio.run_coroutine_threadsafe(work, loop).result()


class ServedEmbedder:
    """A `TextEmbedder` whose batches are the scheduler's. Not to be called on the event loop, which it waits for."""

    def __init__(self, model: EmbeddingModel, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        self._served, self._service, self._loop = model.name, service, loop
        embedder = model.embedder
        self.name, self.revision = embedder.name, embedder.revision
        self.dimension, self.max_tokens = embedder.dimension, embedder.max_tokens
        self._space = model.fingerprint(_AS_THE_CHECKPOINT_SAYS)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the model here meanwhile. Raises as `embed`."""
        with held(self._served, self._service, self._loop):
            yield

    def fingerprint(self, options: EmbedOptions = _AS_THE_CHECKPOINT_SAYS) -> str:
        return self._model().fingerprint(options)

    def tokenize(self, inputs: Sequence[str], options: EmbedOptions = _AS_THE_CHECKPOINT_SAYS) -> list[Tokens]:
        return self._model().embedder.tokenize(inputs, options)

    def embed(self, inputs: Sequence[str], options: EmbedOptions = _AS_THE_CHECKPOINT_SAYS) -> Embeddings:
        """Raises InputError, Overloaded, Unavailable, CheckpointError, CollectionMismatch for a model that is another now."""
        lane: Lane = "interactive" if options.role == "query" else "bulk"
        return self._run(lambda model: model.line(options), list(inputs), options, lane, lambda values: values)

    def embed_spans(
        self, text: str, spans: Sequence[Span], options: EmbedOptions = _AS_THE_CHECKPOINT_SAYS
    ) -> Embeddings:
        """As `Embedder.embed_spans`: a text with its spans is one input of the queue. Raises as `embed`."""

        def line(model: EmbeddingModel) -> Line:
            return SpanLine(model.name, model.engine, options)

        return self._run(line, [(text, tuple(spans))], options, "bulk", lambda values: values[0])

    def check_spans(self, options: EmbedOptions) -> None:
        """Raise InputError where `embed_spans` would, whatever the text."""
        check_spans(self._model().engine.checkpoint, options)

    def _model(self) -> EmbeddingModel:
        """For what needs no threads of the model's, so that it may go meanwhile."""
        try:
            return self._present()
        except NotFound:  # it was loaded on demand, and has gone
            with self.held():
                return self._present()

    def _present(self) -> EmbeddingModel:
        model = self._service.models.embedder(self._served)
        if (space := model.fingerprint(_AS_THE_CHECKPOINT_SAYS)) != self._space:
            raise CollectionMismatch(
                f"{self._served} was loaded again and gives vectors of the space {space} now, not of {self._space}: its "
                "files are others. Bring them back, or make the collection anew."
            )
        return model

    def _run(
        self,
        line: Callable[[EmbeddingModel], Line],
        inputs: Sequence[Any],
        options: EmbedOptions,
        lane: Lane,
        rows: Callable[[list[Any]], list[RawEmbedding]],
    ) -> Embeddings:
        """line: of the model that is there. rows: of the inputs' values."""

        async def work() -> Embeddings:
            async with self._service.on_demand.held(self._served):
                model, started = self._present(), time.perf_counter()

                def finish(values: list[Any]) -> Embeddings:
                    return model.engine.finish(rows(values), options, time.perf_counter() - started)

                return await self._service.scheduler.run(line(model), inputs, finish, lane=lane, timeout_seconds=None)

        return _wait_for(work(), self._loop)
