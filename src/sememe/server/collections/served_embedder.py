"""A served model as collections want it: called from a thread, computed by the scheduler among all other requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from sememe.engine.engine import RawEmbedding
from sememe.records import Embeddings, EmbedOptions, Tokens
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
        started = time.perf_counter()
        engine = self._model.engine

        def finish(values: list[RawEmbedding]) -> Embeddings:
            return engine.finish(values, options, time.perf_counter() - started)

        lane: Lane = "interactive" if options.role == "query" else "bulk"
        work = self._scheduler.run(self._model.line(options), list(inputs), finish, lane=lane, timeout_seconds=None)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
