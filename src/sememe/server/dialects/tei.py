"""Text Embeddings Inference 1.9: `/embed`, `/embed_sparse`, `/rerank`, `/similarity`, `/tokenize`, `/info`, … and `/`.

Source: TEI 1.9.3 `router/src/http/{types,server}.rs`. Answers are bare lists. On purpose as there: vectors are given
length 1 unless the request says `normalize: false`, whatever the checkpoint's own modules do.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field

from sememe import __version__
from sememe.engine.reranker import ScoreActivation
from sememe.records import EmbedOptions
from sememe.server import asked
from sememe.server.asked import Resolved
from sememe.server.exchange import Asked, Route, json_answer, route, vectors_answer
from sememe.server.models import EmbeddingModel
from sememe.server.problems import Kind, Problem, ProblemError
from sememe.server.service import EmbedCall, Embedded, ScoreCall, Service

_TYPES: dict[Kind, tuple[int, str]] = {
    "input": (422, "Validation"),
    "empty": (400, "Empty"),
    "body": (422, "Validation"),
    "overloaded": (429, "Overloaded"),
    "unavailable": (503, "Unhealthy"),
    "unsupported": (424, "Backend"),
    "model": (424, "Backend"),
    "internal": (424, "Backend"),
}


class TeiDialect:
    """Errors as TEI writes them."""

    name = "tei"

    def error(self, problem: Problem) -> tuple[int, Any]:
        """Flat, with an `error_type`; a missing key has no body."""
        if problem.kind == "unauthorized":
            return 401, None
        status, kind = _TYPES.get(problem.kind, (problem.status, "Validation" if problem.status < 500 else "Backend"))
        return status, {"error": problem.message, "error_type": kind}


DIALECT = TeiDialect()

_Ids = Annotated[list[Annotated[int, Field(strict=True)]], Field(min_length=1)]
_Input = asked.Text | _Ids | list[asked.Text | _Ids]


class EmbedBody(asked.Asked):
    """What `/embed` takes. Token ids are of the model's own vocabulary, as there."""

    inputs: _Input
    normalize: bool = True
    truncation_direction: Literal["Left", "Right", "left", "right"] | None = None

    def resolved(self, model: EmbeddingModel, **changes: Any) -> Resolved:
        """The options; cutting at the left is `truncate: start`."""
        resolved = self.resolve(model, normalize=self.normalize, **changes)
        from_left = resolved.cut == "end" and (self.truncation_direction or "Right").lower() == "left"
        return Resolved(resolved.options, "start" if from_left else resolved.cut)


class RerankBody(BaseModel):
    """What TEI's `/rerank` takes."""

    model_config = ConfigDict(extra="ignore")

    query: asked.Text
    texts: list[asked.Text]
    truncate: asked.Truncate | None = None
    raw_scores: bool = False
    return_text: bool = False
    instruction: asked.Text | None = None


class PredictBody(BaseModel):
    """What `/predict` takes: a pair, or a list of pairs."""

    model_config = ConfigDict(extra="ignore")

    inputs: asked.Text | list[asked.Text] | list[list[asked.Text]]
    raw_scores: bool = False


class SimilarityInputs(BaseModel):
    """One text, and those it is compared with."""

    source_sentence: asked.Text
    sentences: list[asked.Text]


class SimilarityBody(BaseModel):
    """What `/similarity` takes."""

    model_config = ConfigDict(extra="ignore")

    inputs: SimilarityInputs
    parameters: asked.Asked | None = None


class TokenizeBody(BaseModel):
    """What TEI's `/tokenize` takes."""

    model_config = ConfigDict(extra="ignore")

    inputs: asked.Text | list[asked.Text]
    add_special_tokens: bool = True


class DecodeBody(BaseModel):
    """What `/decode` takes."""

    model_config = ConfigDict(extra="ignore")

    ids: _Ids | list[_Ids]
    skip_special_tokens: bool = True


class SparseValue(BaseModel):
    """One token's weight."""

    index: int
    value: float


class Rank(BaseModel):
    """One text's place among those ranked."""

    index: int
    score: float
    text: str | None = None


class SimpleToken(BaseModel):
    """One token; offsets are not given by this version."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


def routes(service: Service) -> list[Route]:
    """The paths of this dialect but those that it shares."""
    tei = Tei(service)
    vectors, nested = list[list[float]], list[list[list[float]]]
    return [
        route("/embed", DIALECT, EmbedBody, tei.embed, answer=vectors, summary="Dense embeddings"),
        route("/embed_all", DIALECT, EmbedBody, tei.embed_all, answer=nested, summary="A vector for each token"),
        route("/embed_sparse", DIALECT, EmbedBody, tei.embed_sparse, answer=list[list[SparseValue]], summary="Sparse"),
        route("/predict", DIALECT, PredictBody, tei.predict, summary="Labels of pairs"),
        route("/similarity", DIALECT, SimilarityBody, tei.similarity, answer=list[float], summary="Cosines"),
        route("/decode", DIALECT, DecodeBody, tei.decode, answer=list[str], summary="Token ids to texts"),
        Route("/info", tei.info, DIALECT, method="GET", answer=dict[str, Any], summary="What is served"),
    ]


class Tei:
    """The handlers; those of shared paths (`/rerank`, `/tokenize`, `/`) are asked for by whoever tells them apart."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def _embedded(self, body: EmbedBody, given: Asked, **changes: Any) -> Embedded:
        model = self._service.models.embedder(None)
        texts = await self._texts(body.inputs, model)
        resolved = body.resolved(model, **changes)
        return await self._service.embed(EmbedCall(texts, resolved.options, None, resolved.cut, given.conditions))

    async def _texts(self, inputs: Any, model: EmbeddingModel) -> list[str]:
        given = [inputs] if isinstance(inputs, str) or (inputs and isinstance(inputs[0], int)) else inputs
        if not given:
            raise ProblemError(Problem("empty", "`inputs` cannot be empty", "inputs"))
        ids = [one for one in given if not isinstance(one, str)]
        decoded = iter(await self._service.decode(model, ids)) if ids else iter(())
        return [one if isinstance(one, str) else next(decoded) for one in given]

    async def embed(self, body: EmbedBody, given: Asked) -> Response:
        """A list of vectors, also for one input."""
        started = time.perf_counter()
        embeddings = (await self._embedded(body, given)).embeddings
        if embeddings.dense is None:
            raise ProblemError(Problem("unsupported", "/embed gives dense vectors; ask /embed_sparse or /embed_all."))
        answer = await vectors_answer(lambda: embeddings.dense, embeddings)
        milliseconds = str(round((time.perf_counter() - started) * 1e3))
        answer.headers.update(
            {
                "x-compute-type": f"sememe-{self._service.models.embedder(None).embedder.device}",
                "x-compute-tokens": str(embeddings.usage.n_tokens),
                "x-compute-time": milliseconds,
                "x-total-time": milliseconds,
            }
        )
        return answer

    async def embed_all(self, body: EmbedBody, given: Asked) -> Response:
        """A list of vectors for each input."""
        self._need("multi_vector")
        embeddings = (await self._embedded(body, given, outputs=("multi_vector",))).embeddings
        vectors = embeddings.multi_vector
        assert vectors is not None
        return await vectors_answer(lambda: [vectors[i] for i in range(len(vectors))], embeddings)

    async def embed_sparse(self, body: EmbedBody, given: Asked) -> Response:
        """Index and value of what is not zero."""
        self._need("sparse")
        embeddings = (await self._embedded(body, given, outputs=("sparse",))).embeddings
        sparse = embeddings.sparse
        assert sparse is not None

        def make() -> Any:
            return [
                [{"index": index, "value": value} for index, value in sparse.weights(i).items()]
                for i in range(len(sparse))
            ]

        return await vectors_answer(make, embeddings)

    def _need(self, output: Literal["sparse", "multi_vector"]) -> None:
        model = self._service.models.embedder(None)
        outputs = model.engine.checkpoint.recipe.outputs
        if output not in outputs:
            message = f"{model.name} gives {', '.join(outputs)} embeddings, not {output.replace('_', '-')} ones."
            raise ProblemError(Problem("unsupported", message))

    async def rerank(self, body: RerankBody, given: Asked) -> Response:
        """The texts, best first."""
        if not body.texts:
            raise ProblemError(Problem("empty", "`texts` cannot be empty", "texts"))
        call = ScoreCall(
            [(body.query, text) for text in body.texts],
            activation="identity" if body.raw_scores else "sigmoid",
            instruction=body.instruction,
            truncate=body.truncate not in (False, "error", "none"),
            conditions=given.conditions,
        )
        scored = await self._service.score(call)
        if scored.scores.shape[1] != 1:
            raise ProblemError(
                Problem("unsupported", f"{scored.model} is a classifier of several labels. Ask /predict.")
            )
        texts = body.texts if body.return_text else None
        ranks = [{"index": i, "score": s} | ({"text": texts[i]} if texts else {}) for i, s in scored.ranked()]
        return json_answer(ranks)

    async def predict(self, body: PredictBody, given: Asked) -> Response:
        """Scores by label, best first; a flat list of two texts is one pair."""
        given_inputs = body.inputs
        is_one = isinstance(given_inputs, str) or bool(given_inputs and isinstance(given_inputs[0], str))
        pairs = [given_inputs] if is_one else list(given_inputs)
        if not pairs:
            raise ProblemError(Problem("empty", "`inputs` cannot be empty", "inputs"))
        if any(isinstance(pair, str) or len(pair) != 2 for pair in pairs):
            raise ProblemError(Problem("input", "inputs: this model scores pairs; expected [text, text].", "inputs"))
        model = self._service.models.scorer(None)
        activation: ScoreActivation = "sigmoid" if model.reranker.n_labels == 1 else "softmax"
        texts = [(str(pair[0]), str(pair[1])) for pair in pairs]
        call = ScoreCall(texts, activation="identity" if body.raw_scores else activation, conditions=given.conditions)
        scored = await self._service.score(call)
        answers = [
            [{"score": float(row[k]), "label": f"LABEL_{k}"} for k in np.argsort(-row, kind="stable")]
            for row in scored.scores
        ]
        return json_answer(answers[0] if is_one else answers)

    async def similarity(self, body: SimilarityBody, given: Asked) -> Response:
        """Cosine of the source with each sentence."""
        if not body.inputs.sentences:
            raise ProblemError(Problem("empty", "`inputs.sentences` cannot be empty", "inputs"))
        model = self._service.models.embedder(None)
        resolved = (body.parameters or asked.Asked()).resolve(
            model, normalize=True, dtype="float32", outputs=("dense",)
        )
        texts = [body.inputs.source_sentence, *body.inputs.sentences]
        call = EmbedCall(texts, resolved.options, None, resolved.cut, given.conditions)
        vectors = np.asarray((await self._service.embed(call)).embeddings.dense, np.float32)
        return json_answer(vectors[1:] @ vectors[0])

    async def tokenize(self, body: TokenizeBody, given: Asked) -> Response:
        """Each text's tokens as the vocabulary spells them."""
        texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
        if not texts:
            raise ProblemError(Problem("empty", "`inputs` cannot be empty", "inputs"))
        model = self._service.models.find(None)
        tokenizer = model.engine.checkpoint.tokenizer
        found = await self._service.tokenize(model, texts, special=body.add_special_tokens)
        return json_answer(
            [
                [
                    {
                        "id": token_id,
                        "text": tokenizer.token(token_id) or "",
                        "special": token_id in tokenizer.special.all,
                        "start": None,
                        "stop": None,
                    }
                    for token_id in tokens.ids.tolist()
                ]
                for tokens in found
            ]
        )

    async def decode(self, body: DecodeBody, given: Asked) -> Response:
        """Texts of token ids."""
        ids = [body.ids] if isinstance(body.ids[0], int) else body.ids
        return json_answer(await self._service.decode(self._service.models.find(None), ids))  # type: ignore[arg-type]

    async def info(self, request: Request) -> Response:
        """What is served, in TEI's words."""
        model = self._service.models.find(None)
        if isinstance(model, EmbeddingModel):
            pooling = model.engine.checkpoint.recipe.pooling
            model_type: dict[str, Any] = {"embedding": {"pooling": pooling.modes[0] if pooling else "none"}}
            sha, max_tokens = model.embedder.revision, model.embedder.max_tokens
        else:
            labels = {str(k): f"LABEL_{k}" for k in range(model.reranker.n_labels)}
            names = {"id2label": labels, "label2id": {label: int(k) for k, label in labels.items()}}
            model_type = {"reranker" if len(labels) == 1 else "classifier": names}
            sha, max_tokens = model.reranker.loaded.found.revision, model.reranker.max_length
        return json_answer(
            {
                "model_id": model.name,
                "model_sha": sha,
                "model_dtype": model.engine.precision,
                "served_model_name": model.name,
                "model_type": model_type,
                "max_concurrent_requests": self._service.max_inputs,
                "max_input_length": max_tokens,
                "max_batch_tokens": model.engine.options.token_budget,
                "max_batch_requests": None,
                "max_client_batch_size": self._service.max_inputs,
                "auto_truncate": True,
                "tokenization_workers": 1,
                "version": __version__,
                "sha": None,
                "docker_label": None,
                "fingerprint": model.fingerprint(EmbedOptions(outputs=model.default_outputs))
                if isinstance(model, EmbeddingModel)
                else None,
            }
        )
