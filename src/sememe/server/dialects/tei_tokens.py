"""TEI's `/tokenize` and `/decode`."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from sememe.server.answers import json_answer
from sememe.server.dialects.tei_bodies import (
    DecodeBody,
    TokenizeBody,
)
from sememe.server.exchange import Given
from sememe.server.problems import Problem, ProblemError
from sememe.server.service import Service


class TeiTokens:
    """The handlers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def tokenize(self, body: TokenizeBody, given: Given) -> Response:
        """Each text's tokens, with the characters that they stand for."""
        texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
        if not texts:
            raise ProblemError(Problem("empty", "`inputs` cannot be empty", "inputs"))
        model = self._service.models.find(body.model)
        recipe, tokenizer = model.engine.checkpoint.recipe, model.engine.checkpoint.tokenizer
        prompt = "" if body.prompt_name is None else recipe.named_prompt(body.prompt_name)
        found = await self._service.spell(model, texts, special=body.add_special_tokens is not False, prompt=prompt)

        def token(token_id: int, start: int, stop: int, text: str) -> dict[str, Any]:
            is_special = start < 0
            said = tokenizer.token(token_id) or "" if is_special else text[start:stop]
            places = (None, None) if is_special else (start, stop)
            return {"id": token_id, "text": said, "special": is_special, "start": places[0], "stop": places[1]}

        def answer() -> Response:
            return json_answer(
                [
                    [
                        token(token_id, start, stop, prompt + text)
                        for token_id, (start, stop) in zip(spelled.ids.tolist(), spelled.offsets.tolist(), strict=True)
                    ]
                    for text, spelled in zip(texts, found, strict=True)
                ]
            )

        return await asyncio.to_thread(answer)

    async def decode(self, body: DecodeBody, given: Given) -> Response:
        """Texts of token ids."""
        numbers = [one for one in body.ids if isinstance(one, int)]
        rows = [numbers] if numbers else [one for one in body.ids if not isinstance(one, int)]
        if not rows:
            raise ProblemError(Problem("empty", "`ids` cannot be empty", "ids"))
        model = self._service.models.find(body.model)
        return json_answer(await self._service.decode(model, rows, special=body.skip_special_tokens is False))
