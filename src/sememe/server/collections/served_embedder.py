"""A served model as collections want it: called from a thread, computed by the scheduler among all other requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from sememe.engine.engine import RawEmbedding
from sememe.engine.spans import Span, check_spans
from sememe.records import Embeddings, EmbedOptions, Tokens
from sememe.server.line import Line
from sememe.server.lines import SpanLine
from sememe.server.models import EmbeddingModel
from sememe.server.scheduler import Scheduler
from sememe.server.waiting import Lane

_AS_THE_CHECKPOINT_SAYS = EmbedOptions()


class ServedEmbedder:
    """A `TextEmbedder` whose batches are the scheduler's. Not to be called on the event loop, which it waits for."""

    def __init__(self, model: EmbeddingModel, scheduler: Scheduler, loop: asyncio.AbstractEventLoop) -> None:
        self._model, self._scheduler, self._loop = model, scheduler, loop
        embedder = model.embedder
        self.name, self.revision = embedder.name, embedder.revision
        self.dimension, self.max_tokens = embedder.dimension, embedder.max_tokens

    def fingerprint(self, options: EmbedOptions = _AS_THE_CHECKPOINT_SAYS) -> str:
        return self._model.fingerprint(options)

    def tokenize(self, inputs: Sequence[str], options: EmbedOptions = _AS_THE_CHECKPOINT_SAYS) -> list[Tokens]:
        return self._model.embedder.tokenize(inputs, options)

    def embed(self, inputs: Sequence[str], options: EmbedOptions = _AS_THE_CHECKPOINT_SAYS) -> Embeddings:
        """Raises InputError, Overloaded, Unavailable, CheckpointError."""
        lane: Lane = "interactive" if options.role == "query" else "bulk"
        return self._run(self._model.line(options), list(inputs), options, lane, lambda values: values)

    def embed_spans(
        self, text: str, spans: Sequence[Span], options: EmbedOptions = _AS_THE_CHECKPOINT_SAYS
    ) -> Embeddings:
        """As `Embedder.embed_spans`: a text with its spans is one input of the queue. Raises as `embed`."""
        line = SpanLine(self._model.name, self._model.engine, options)
        return self._run(line, [(text, tuple(spans))], options, "bulk", lambda values: values[0])

    def check_spans(self, options: EmbedOptions) -> None:
        """Raise InputError where `embed_spans` would, whatever the text."""
        check_spans(self._model.engine.checkpoint, options)

    def _run(
        self,
        line: Line,
        inputs: Sequence[Any],
        options: EmbedOptions,
        lane: Lane,
        rows: Callable[[list[Any]], list[RawEmbedding]],
    ) -> Embeddings:
        """rows: of the inputs' values."""
        started = time.perf_counter()

        def finish(values: list[Any]) -> Embeddings:
            return self._model.engine.finish(rows(values), options, time.perf_counter() - started)

        work = self._scheduler.run(line, inputs, finish, lane=lane, timeout_seconds=None)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
