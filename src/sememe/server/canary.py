"""One text through every model and the real queue: at the start to be ready, later to know that it still works."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import numpy as np
from numpy.typing import NDArray

from sememe.records import EmbedOptions
from sememe.server.calls import Conditions, EmbedCall, Embedded, ScoreCall, Scored
from sememe.server.models import Model, Models, ScoringModel
from sememe.server.workers import Unavailable

TEXT = "A canary in the coal mine: its vector is known."
# Its vector may differ from the one at the start by the order of sums in another batch, in bfloat16.
_COSINE = 0.995
_FIRST_SECONDS = 120.0


class Canary:
    """Sends the text, and remembers what the models that are always there made of it at the start."""

    def __init__(
        self,
        models: Models,
        embed: Callable[[EmbedCall], Awaitable[Embedded]],
        score: Callable[[ScoreCall], Awaitable[Scored]],
    ) -> None:
        self._models, self._embed, self._score = models, embed, score
        self._known: dict[str, NDArray[np.float32]] = {}

    async def warm_up(self) -> None:
        """Through every model once; the server is ready afterwards."""
        for model in self._models:
            self._known[model.name] = await self.send(model)

    async def check(self, timeout_seconds: float = 5.0) -> None:
        """Through every model, compared with the start. Raises Unavailable, TimeoutError, and what embedding raises."""
        if not self._known:
            raise Unavailable("The server is not ready: its models are warming up.")
        for model in self._models:
            if model.name not in self._known:  # loaded on demand: it may go at any time
                continue
            known, now = self._known[model.name], await self.send(model, timeout_seconds)
            lengths = float(np.linalg.norm(known) * np.linalg.norm(now))
            if not np.isfinite(now).all() or float(known @ now) < _COSINE * lengths:
                raise Unavailable(f"{model.name} gives another vector for the canary than at the start.")

    async def send(self, model: Model, timeout_seconds: float = _FIRST_SECONDS) -> NDArray[np.float32]:
        """Through one model: its vector, or its scores."""
        conditions = Conditions(timeout_seconds=timeout_seconds, lane="interactive")
        if isinstance(model, ScoringModel):
            call = ScoreCall([(TEXT, TEXT)], model.name, "identity", conditions=conditions)
            return (await self._score(call)).scores[0]
        options = EmbedOptions(prompt="", outputs=model.default_outputs)
        embeddings = (await self._embed(EmbedCall([TEXT], options, model.name, conditions))).embeddings
        if embeddings.dense is not None:
            return np.asarray(embeddings.dense[0], np.float32)
        if embeddings.multi_vector is not None:
            return np.asarray(embeddings.multi_vector[0].mean(0), np.float32)
        assert embeddings.sparse is not None
        return embeddings.sparse.values
