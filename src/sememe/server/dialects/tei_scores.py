"""TEI's `/rerank` and `/predict`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from starlette.responses import Response

from sememe.errors import InputError
from sememe.server import asked
from sememe.server.answers import json_answer
from sememe.server.calls import ScoreCall, Scored
from sememe.server.dialects.tei_bodies import (
    PredictBody,
    RerankBody,
    side,
)
from sememe.server.dialects.tei_headers import compute_headers
from sememe.server.exchange import Given
from sememe.server.problems import Problem, ProblemError
from sememe.server.service import Service


class TeiScores:
    """The handlers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def rerank(self, body: RerankBody, given: Given) -> Response:
        """The texts, best first."""
        started = time.perf_counter()
        if not body.texts:
            raise ProblemError(Problem("empty", "`texts` cannot be empty", "texts"))
        call = ScoreCall(
            [(body.query, text) for text in body.texts],
            body.model,
            "identity" if body.raw_scores else "sigmoid",
            body.instruction,
            asked.allows_cutting(body.truncate),
            side(body.truncate, body.truncation_direction),
            given.conditions,
        )
        scored = await self._service.rank(call)
        texts = body.texts if body.return_text else None
        ranks = [{"index": i, "score": s} | ({"text": texts[i]} if texts else {}) for i, s in scored.ranked()]
        n_characters = sum(len(body.query) + len(text) for text in body.texts)
        return json_answer(ranks, self._scored_headers(body.model, n_characters, [scored], started))

    def _scored_headers(
        self, name: str | None, n_characters: int, scored: Sequence[Scored], started: float
    ) -> dict[str, str]:
        device = self._service.models.scorer(name).reranker.loaded.backend.device
        n_tokens = sum(one.n_tokens for one in scored)
        return compute_headers(device, n_characters, n_tokens, [one.times for one in scored], started)

    async def predict(self, body: PredictBody, given: Given) -> Response:
        """Scores by label, best first; a flat list of two texts is one pair."""
        started = time.perf_counter()
        is_one = isinstance(body.inputs, str) or bool(body.inputs and isinstance(body.inputs[0], str))
        rows: list[str | list[str]] = [body.inputs] if is_one else list(body.inputs)  # type: ignore[list-item]
        if not rows:
            raise ProblemError(Problem("empty", "`inputs` cannot be empty", "inputs"))
        inputs = [_text_or_pair(i, row) for i, row in enumerate(rows)]
        model = self._service.models.scorer(body.model)
        activation = "identity" if body.raw_scores else "sigmoid" if model.reranker.n_labels == 1 else "softmax"
        labels = model.reranker.labels
        singles = [one for one in inputs if isinstance(one, str)]
        pairs = [one for one in inputs if not isinstance(one, str)]
        calls = [
            ScoreCall(
                some,
                body.model,
                activation,  # type: ignore[arg-type]
                truncate=asked.allows_cutting(body.truncate),
                side=side(body.truncate, body.truncation_direction),
                conditions=given.conditions,
            )
            for some in (singles, pairs)
            if some
        ]
        found = await asyncio.gather(*map(self._service.score, calls))
        scored = iter(found)
        of_texts = iter(_predictions(next(scored), labels) if singles else ())
        of_pairs = iter(_predictions(next(scored), labels) if pairs else ())
        answers = [next(of_texts if isinstance(one, str) else of_pairs) for one in inputs]
        n_characters = sum(map(len, singles)) + sum(len(text) for pair in pairs for text in pair)
        headers = self._scored_headers(body.model, n_characters, found, started)
        return json_answer(answers[0] if is_one else answers, headers)


def _text_or_pair(i: int, row: str | list[str]) -> str | tuple[str, str]:
    texts = [row] if isinstance(row, str) else row
    if len(texts) not in (1, 2):
        raise InputError(f"Input {i} has {len(texts)} texts; expected one, or a pair.")
    return texts[0] if len(texts) == 1 else (texts[0], texts[1])


def _predictions(scored: Scored, labels: Sequence[str]) -> list[list[dict[str, Any]]]:
    return [
        [{"score": float(row[k]), "label": labels[k]} for k in np.argsort(-row, kind="stable")] for row in scored.scores
    ]
