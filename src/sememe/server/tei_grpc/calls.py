"""What each method of `tei.proto` does with one message: message in, the service called, message out."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sememe import __version__
from sememe.errors import InputError
from sememe.records import EmbedOptions, TruncationSide
from sememe.server.calls import Conditions, EmbedCall, Embedded, ScoreCall
from sememe.server.models import EmbeddingModel
from sememe.server.problems import Problem, ProblemError
from sememe.server.service import Service
from sememe.server.tei_grpc import messages

_Embedding = messages.EmbedRequest | messages.EmbedSparseRequest | messages.EmbedAllRequest


@dataclass(frozen=True)
class Given:
    """What a call says besides its message: the client's deadline, and in the metadata `if-fingerprint`, `x-priority`.

    model: of the metadata, for which TEI's messages have no field; None is the first that can do it.
    """

    conditions: Conditions
    model: str | None = None


@dataclass(frozen=True)
class Calls:
    """The methods. They raise what the service raises."""

    service: Service

    async def embed(self, request: messages.EmbedRequest, given: Given) -> messages.EmbedResponse:
        """One dense vector."""
        started = time.perf_counter_ns()
        dimensions = request.dimensions if request.HasField("dimensions") else None
        self.service.models.embedder(given.model).check_gives("dense")
        options = self._options(request, normalize=request.normalize, dimensions=dimensions)
        embedded = await self.service.embed(EmbedCall([request.inputs], options, given.model, given.conditions))
        dense = np.asarray(embedded.embeddings.dense, np.float32)
        return messages.EmbedResponse(embeddings=dense[0], metadata=_metadata(request.inputs, embedded, started))

    async def embed_sparse(self, request: messages.EmbedSparseRequest, given: Given) -> messages.EmbedSparseResponse:
        """The weights that are not zero."""
        started = time.perf_counter_ns()
        model = self.service.models.embedder(given.model, "sparse")
        model.check_gives("sparse")
        options = self._options(request, outputs=("sparse",))
        embedded = await self.service.embed(EmbedCall([request.inputs], options, model.name, given.conditions))
        sparse = embedded.embeddings.sparse
        assert sparse is not None
        values = [messages.SparseValue(index=i, value=weight) for i, weight in sparse.weights(0).items()]
        return messages.EmbedSparseResponse(
            sparse_embeddings=values, metadata=_metadata(request.inputs, embedded, started)
        )

    async def embed_all(self, request: messages.EmbedAllRequest, given: Given) -> messages.EmbedAllResponse:
        """A vector a token: the model's own multi-vectors, or, where it has none, the hidden states."""
        started = time.perf_counter_ns()
        model = self.service.models.embedder(given.model)
        if "multi_vector" in model.embedder.outputs:
            options = self._options(request, outputs=("multi_vector",))
            embedded = await self.service.embed(EmbedCall([request.inputs], options, given.model, given.conditions))
        else:
            call = EmbedCall([request.inputs], self._options(request), given.model, given.conditions)
            embedded = await self.service.embed_tokens(call)
        vectors = embedded.embeddings.multi_vector
        assert vectors is not None
        return messages.EmbedAllResponse(
            token_embeddings=[messages.TokenEmbedding(embeddings=row) for row in vectors[0]],
            metadata=_metadata(request.inputs, embedded, started),
        )

    def _options(self, request: _Embedding, **changes: Any) -> EmbedOptions:
        options = EmbedOptions(
            prompt_name=request.prompt_name if request.HasField("prompt_name") else None,
            truncate=request.truncate,
            truncation_side=_side(request.truncation_direction),
        )
        return replace(options, **changes)

    async def predict(self, request: messages.PredictRequest, given: Given) -> messages.PredictResponse:
        """A text's labels, best first."""
        return await self._predicted([request.inputs], request, given)

    async def predict_pair(self, request: messages.PredictPairRequest, given: Given) -> messages.PredictResponse:
        """A pair's labels, best first."""
        if len(request.inputs) not in (1, 2):
            raise InputError(f"inputs has {len(request.inputs)} texts; expected one, or a pair.")
        return await self._predicted(list(request.inputs), request, given)

    async def _predicted(
        self, texts: list[str], request: messages.PredictRequest | messages.PredictPairRequest, given: Given
    ) -> messages.PredictResponse:
        started = time.perf_counter_ns()
        reranker = self.service.models.scorer(given.model).reranker
        call = ScoreCall(
            texts if len(texts) == 1 else [(texts[0], texts[1])],
            given.model,
            "identity" if request.raw_scores else "sigmoid" if reranker.n_labels == 1 else "softmax",
            None,
            request.truncate,
            _side(request.truncation_direction),
            given.conditions,
        )
        scored = await self.service.score(call)
        row = scored.scores[0]
        predictions = [
            messages.Prediction(score=float(row[k]), label=reranker.labels[k]) for k in np.argsort(-row, kind="stable")
        ]
        return messages.PredictResponse(predictions=predictions, metadata=_counts(texts, scored.n_tokens, started))

    async def rerank(self, request: messages.RerankRequest, given: Given) -> messages.RerankResponse:
        """The texts, best first."""
        started = time.perf_counter_ns()
        if not request.texts:
            raise ProblemError(Problem("empty", "texts is empty; expected at least one."))
        texts = list(request.texts)
        call = ScoreCall(
            [(request.query, text) for text in texts],
            given.model,
            "identity" if request.raw_scores else "sigmoid",
            None,
            request.truncate,
            _side(request.truncation_direction),
            given.conditions,
        )
        scored = await self.service.rank(call)
        ranks = [
            messages.Rank(index=i, text=texts[i] if request.return_text else None, score=score)
            for i, score in scored.ranked()
        ]
        return messages.RerankResponse(ranks=ranks, metadata=_counts(texts, scored.n_tokens, started))

    async def rerank_stream(
        self, requests: AsyncIterator[messages.RerankStreamRequest], given: Given
    ) -> messages.RerankResponse:
        """The stream's texts, best first. The first message's flags count."""
        asked: list[messages.RerankStreamRequest] = []
        async for request in requests:
            if len(asked) == self.service.max_inputs:  # here, for nothing else bounds what is kept of a stream
                raise InputError(f"The stream has more texts than {len(asked):,}, which this server takes at once.")
            asked.append(request)
        if not asked:
            raise ProblemError(Problem("empty", "The stream had no text; expected at least one."))
        first = asked[0]
        if any(request.query != first.query for request in asked):
            raise InputError("The stream has several queries; expected one, with its texts.")
        whole = messages.RerankRequest(
            query=first.query,
            texts=[request.text for request in asked],
            truncate=first.truncate,
            raw_scores=first.raw_scores,
            return_text=first.return_text,
            truncation_direction=first.truncation_direction,
        )
        return await self.rerank(whole, given)

    async def tokenize(self, request: messages.EncodeRequest, given: Given) -> messages.EncodeResponse:
        """A text's tokens, with the characters that they stand for."""
        model = self.service.models.find(given.model)
        recipe, tokenizer = model.engine.checkpoint.recipe, model.engine.checkpoint.tokenizer
        prompt = recipe.named_prompt(request.prompt_name) if request.HasField("prompt_name") else ""
        special = request.add_special_tokens
        (spelled,) = await self.service.spell(model, [request.inputs], special=special, prompt=prompt)
        text = prompt + request.inputs
        tokens = [
            messages.SimpleToken(id=token_id, text=tokenizer.token(token_id) or "", special=True)
            if start < 0
            else messages.SimpleToken(id=token_id, text=text[start:stop], start=start, stop=stop)
            for token_id, (start, stop) in zip(spelled.ids.tolist(), spelled.offsets.tolist(), strict=True)
        ]
        return messages.EncodeResponse(tokens=tokens)

    async def decode(self, request: messages.DecodeRequest, given: Given) -> messages.DecodeResponse:
        """The text of token ids."""
        model, special = self.service.models.find(given.model), not request.skip_special_tokens
        (text,) = await self.service.decode(model, [list(request.ids)], special=special)
        return messages.DecodeResponse(text=text)

    async def info(self, request: messages.InfoRequest, given: Given) -> messages.InfoResponse:
        """What is served."""
        model = self.service.models.find(given.model)
        is_embedder = isinstance(model, EmbeddingModel)
        loaded = model.embedder.loaded if isinstance(model, EmbeddingModel) else model.reranker.loaded
        kind = messages.MODEL_TYPE_RERANKER if model.kind == "reranker" else messages.MODEL_TYPE_CLASSIFIER
        return messages.InfoResponse(
            version=__version__,
            model_id=model.name,
            model_sha=loaded.found.revision,
            model_dtype=model.engine.precision,
            model_type=messages.MODEL_TYPE_EMBEDDING if is_embedder else kind,
            max_concurrent_requests=self.service.max_inputs,
            max_input_length=model.engine.checkpoint.max_tokens,
            max_batch_tokens=model.engine.options.token_budget,
            max_client_batch_size=self.service.max_inputs,
            tokenization_workers=1,
        )


def _side(direction: messages.TruncationDirection) -> TruncationSide:
    return "left" if direction == messages.TRUNCATION_DIRECTION_LEFT else "right"


def _metadata(text: str, embedded: Embedded, started: int) -> messages.Metadata:
    return _counts([text], embedded.embeddings.usage.n_tokens, started)


def _counts(texts: Sequence[str], n_tokens: int, started: int) -> messages.Metadata:
    return messages.Metadata(
        compute_chars=sum(map(len, texts)), compute_tokens=n_tokens, total_time_ns=time.perf_counter_ns() - started
    )
