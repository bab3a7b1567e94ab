"""vLLM's `/score` and `/classify`."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from sememe.server import asked
from sememe.server.answers import json_answer
from sememe.server.calls import ScoreCall, Scored
from sememe.server.dialects.vllm_answers import listed
from sememe.server.dialects.vllm_bodies import (
    ClassifyBody,
    ScoreBody,
)
from sememe.server.exchange import Given
from sememe.server.problems import Problem, ProblemError
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
            asked.cut_side(body.truncate),
            given.conditions,
        )
        scored = await self._service.rank(call)
        data = [{"index": i, "object": "score", "score": float(row[0])} for i, row in enumerate(scored.scores)]
        return json_answer(listed("score", scored.model, data, scored.n_tokens))

    async def classify(self, body: ClassifyBody, given: Given) -> Response:
        texts = [body.input] if isinstance(body.input, str) else body.input
        scored = await self.classified(texts, body.model, body.use_activation, body.truncate, given)
        labels = self._service.models.scorer(body.model).reranker.labels
        data = [
            {"index": i, "label": labels[int(row.argmax())], "probs": row, "num_classes": len(row)}
            for i, row in enumerate(scored.scores)
        ]
        return json_answer(listed("classify", scored.model, data, scored.n_tokens))

    async def classified(
        self, texts: Sequence[str], model: str | None, activates: bool | None, truncate: bool | str | None, given: Given
    ) -> Scored:
        """Each text's labels' scores. Raises ProblemError for no text."""
        if not texts:
            raise ProblemError(Problem("empty", "input is an empty list; expected at least one text.", "input"))
        n_labels = self._service.models.scorer(model).reranker.n_labels
        call = ScoreCall(
            list(texts),
            model,
            "identity" if activates is False else "sigmoid" if n_labels == 1 else "softmax",
            None,
            asked.allows_cutting(truncate),
            asked.cut_side(truncate),
            given.conditions,
        )
        return await self._service.score(call)
