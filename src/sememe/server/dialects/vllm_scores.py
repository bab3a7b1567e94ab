"""vLLM's `/score` and `/classify`."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from sememe.records import TruncationSide
from sememe.server import asked
from sememe.server.answers import json_answer
from sememe.server.calls import ScoreCall, Scored
from sememe.server.dialects.vllm_answers import listed
from sememe.server.dialects.vllm_bodies import (
    ClassifyBody,
    ScoreBody,
)
from sememe.server.exchange import Given
from sememe.server.service import Service


class VllmScores:
    """The handlers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def score(self, body: ScoreBody, given: Given) -> Response:
        pairs, model = body.pairs(), self._service.models.scorer(body.model)
        queries = await self._service.cut_texts(model, [query for query, _ in pairs], body.max_tokens_per_query or None)
        documents = await self._service.cut_texts(model, [text for _, text in pairs], body.max_tokens_per_doc or None)
        call = ScoreCall(
            list(zip(queries, documents, strict=True)),
            body.model,
            "identity" if body.use_activation is False else "sigmoid",
            body.instruction,
            asked.allows_cutting(body.truncate),
            body.side(model.reranker.max_length),
            given.conditions,
        )
        scored = await self._service.rank(call)
        data = [{"index": i, "object": "score", "score": float(row[0])} for i, row in enumerate(scored.scores)]
        return json_answer(listed("score", scored.model, data, scored.n_tokens))

    async def classify(self, body: ClassifyBody, given: Given) -> Response:
        model = self._service.models.scorer(body.model)
        side = body.side(model.reranker.max_length)
        scored = await self.classified(
            body.inputs(), body.model, body.use_activation, asked.allows_cutting(body.truncate), side, given
        )
        labels = model.reranker.labels
        data = [
            {"index": i, "label": labels[int(row.argmax())], "probs": row, "num_classes": len(row)}
            for i, row in enumerate(scored.scores)
        ]
        return json_answer(listed("classify", scored.model, data, scored.n_tokens))

    async def classified(
        self,
        inputs: Sequence[str | Sequence[int]],
        name: str | None,
        activates: bool | None,
        truncate: bool,
        side: TruncationSide,
        given: Given,
    ) -> Scored:
        """Each input's labels' scores."""
        model = self._service.models.scorer(name)
        n_labels = model.reranker.n_labels
        call = ScoreCall(
            await self._service.texts_of(model, inputs),
            name,
            "identity" if activates is False else "sigmoid" if n_labels == 1 else "softmax",
            None,
            truncate,
            side,
            given.conditions,
        )
        return await self._service.score(call)
