"""`Reranker`: scores of (query, document) pairs, read together. Names are those of sentence-transformers' CrossEncoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sememe.checkpoints.pair_heads import YesNo
from sememe.engine.encoding import as_tensor, progress_bar
from sememe.engine.engine import EngineOptions
from sememe.engine.loading import LoadedModel, LoadOptions, load_model
from sememe.engine.packing import pack
from sememe.engine.pipeline import Pipeline
from sememe.engine.precision import read_backend, read_precision
from sememe.errors import CheckpointError, InputError
from sememe.records import RankedDocument, Tokens, TruncationSide

ScoreActivation = Literal["sigmoid", "identity", "softmax"]
ActivationFunction = ScoreActivation | Callable[[Any], Any]


class Reranker:
    """A model that reads a query and a document together and gives a score.

    name: as for `Embedder`. Raises NotFound, CheckpointError, UnsupportedCheckpoint, InputError.
    """

    def __init__(
        self,
        model_name_or_path: str | Path,
        *,
        device: str | None = None,
        backend: str = "auto",
        precision: str = "auto",
        max_length: int | None = None,
        revision: str | None = None,
        offline: bool = False,
        local_files_only: bool = False,
        token: str | None = None,
        cache_folder: str | Path | None = None,
        n_threads: int = 0,
        allow_pickle: bool = False,
        progress: bool = False,
        like: str | None = None,
    ) -> None:
        """max_length: tokens that a pair may have; None is the model's own limit. like: see `Embedder`."""
        options = LoadOptions(
            revision=revision,
            offline=offline or local_files_only,
            token=token,
            progress=progress,
            cache_folder=None if cache_folder is None else Path(cache_folder),
            device=device or "auto",
            backend=read_backend(backend),
            precision=read_precision(precision),
            like=like,
            engine=EngineOptions(n_threads=n_threads),
            allow_pickle=allow_pickle,
        )
        self._take(load_model(str(model_name_or_path), options), str(model_name_or_path), max_length)

    @classmethod
    def of(cls, loaded: LoadedModel, name: str) -> Reranker:
        """Of a model that is loaded already, as `Embedder.loaded` has it. Raises InputError for one of embeddings."""
        made = cls.__new__(cls)
        made._take(loaded, name, None)
        return made

    def _take(self, loaded: LoadedModel, name: str, max_length: int | None) -> None:
        self._loaded, checkpoint = loaded, loaded.engine.checkpoint
        if checkpoint.recipe.pair is None:
            gives = ", ".join(checkpoint.recipe.outputs)
            raise InputError(f"{name} gives {gives} embeddings, not scores of pairs. Use Embedder.")
        self._checkpoint, self._head = checkpoint, checkpoint.recipe.pair
        if max_length is not None and max_length < 1:
            raise InputError(f"max_length is {max_length}; expected 1 or more.")
        self.max_length = min(max_length or checkpoint.max_tokens, checkpoint.max_tokens)
        self._pipeline: Pipeline[tuple[list[int], NDArray[np.float32]]] = Pipeline()

    @property
    def n_labels(self) -> int:
        """Scores of one pair: 1 for a reranker."""
        return self._head.n_labels

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels' names, in the order of the scores."""
        return self._head.labels

    @property
    def default_activation(self) -> ScoreActivation:
        """What `predict` applies where the call does not say."""
        return self._head.default_activation

    def predict(
        self,
        inputs: Sequence[Sequence[str]],
        *,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        activation_fn: ActivationFunction | None = None,
        apply_softmax: bool = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        instruction: str | None = None,
    ) -> NDArray[np.float32]:
        """(N,) scores of (query, document) pairs, (N, labels) for a classifier with several. Raises InputError.

        One pair instead of a list gives its score. activation_fn: `identity` gives the raw logit (the log-odds of "yes"
        for Qwen3-Reranker), `sigmoid` a value from 0 to 1, or a function of arrays or, from torch, of tensors; None does
        what the checkpoint says. apply_softmax: over the labels, if there are several, after that. instruction: for
        models that take one. batch_size is accepted and not needed: batches are made by tokens.
        """
        is_one = len(inputs) > 0 and isinstance(inputs[0], str)
        pairs = [_pair(i, pair) for i, pair in enumerate([inputs] if is_one else inputs)]
        self.check_instruction(instruction)
        logits = np.empty((len(pairs), self.n_labels), np.float32)
        with progress_bar(len(pairs), show_progress_bar, "pair") as advance:
            for indices, values in self._work(pairs, instruction):
                logits[indices] = values
                if advance is not None:
                    advance(len(indices))
        scores = activated(logits, self.default_activation if activation_fn is None else activation_fn)
        if self.n_labels == 1:
            scores = scores[:, 0]
        elif apply_softmax:
            scores = activated(scores, "softmax")
        result = scores[0] if is_one else scores
        return as_tensor(np.asarray(result)) if convert_to_tensor else result  # type: ignore[no-any-return]

    def _work(
        self, pairs: Sequence[tuple[str, str]], instruction: str | None
    ) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """Indices and logits of one batch after another, the longest pairs first."""
        return self._pipeline.run(
            [len(query) + len(document) for query, document in pairs],
            lambda indices: self.tokenize([pairs[i] for i in indices], instruction),
            lambda indices, tokens: (indices, self.compute(tokens)),
            self._loaded.engine.options.token_budget,
        )

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,
        *,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        activation_fn: ActivationFunction | None = None,
        instruction: str | None = None,
    ) -> list[RankedDocument]:
        """The documents, best first: `corpus_id`, `score`, and `text` if asked for; see `predict`. Raises InputError."""
        if self.n_labels != 1:
            raise InputError(f"This model gives {self.n_labels} labels a pair; only one can be ranked by. Use predict.")
        if top_k is not None and top_k < 1:
            raise InputError(f"top_k is {top_k}; expected 1 or more.")
        if isinstance(documents, str):
            raise InputError("The documents are one text; expected a list of texts.")
        texts = list(documents)
        scores = self.predict(
            [(query, text) for text in texts],
            show_progress_bar=show_progress_bar,
            activation_fn=activation_fn,
            instruction=instruction,
        )
        order = np.argsort(-scores, kind="stable")[:top_k]
        ranked = [RankedDocument(corpus_id=int(i), score=float(scores[i])) for i in order]
        if return_documents:
            for hit in ranked:
                hit["text"] = texts[hit["corpus_id"]]
        return ranked

    def close(self) -> None:
        """Let the threads go; the reranker cannot be used afterwards."""
        self._pipeline.close()
        self._loaded.engine.close()

    # ── the steps one by one, for a scheduler that makes batches across callers ──────────────────────────────────────

    @property
    def loaded(self) -> LoadedModel:
        """Where the files came from, the backend, the precision with its reason, and the self-check's verdict."""
        return self._loaded

    def check_instruction(self, instruction: str | None) -> None:
        """Raise InputError for an instruction to a model that takes none."""
        if instruction is not None and not (isinstance(self._head, YesNo) and self._head.prompt is not None):
            raise InputError("This reranker takes no instruction; Qwen3-Reranker and its kind do.")

    def tokenize(
        self, pairs: Sequence[tuple[str, str]], instruction: str | None, side: TruncationSide = "right"
    ) -> list[Tokens]:
        """The pairs as the model will see them. side: where longer texts lose tokens. Raises InputError."""
        return self._head.tokenize(self._checkpoint.tokenizer, pairs, self.max_length, instruction, side)

    def tokenize_texts(self, texts: Sequence[str], side: TruncationSide = "right") -> list[Tokens]:
        """Single texts, for classifiers of sentences. Raises InputError."""
        return self._head.tokenize_texts(self._checkpoint.tokenizer, texts, self.max_length, side)

    def compute(self, tokens: Sequence[Tokens]) -> NDArray[np.float32]:
        """(B, labels) logits of one batch of pairs. Raises CheckpointError."""
        batch = pack(tokens, self._checkpoint.positions)
        values = self._loaded.engine.program((), None)(batch)["score"]
        if not np.isfinite(values).all():
            raise CheckpointError(
                "The model gave NaN or infinity; nothing was returned. Load it with precision='float32'."
            )
        return self._head.logits(values)


def _pair(i: int, pair: Any) -> tuple[str, str]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
        raise InputError(f"Pair {i} is {type(pair).__name__}; expected (query, document), both texts.")
    return pair[0], pair[1]


def activated(logits: NDArray[np.float32], activation: ActivationFunction) -> NDArray[np.float32]:
    """(N, labels) scores from logits. Raises InputError for an unknown activation."""
    if callable(activation):
        is_torch = type(activation).__module__.partition(".")[0] == "torch"
        return np.asarray(activation(as_tensor(logits) if is_torch else logits), np.float32)
    if activation == "identity":
        return logits
    if activation == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))), np.float32)
    if activation == "softmax":
        weights = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)
    raise InputError(f"Activation {activation!r} is not one of sigmoid, identity, softmax.")
