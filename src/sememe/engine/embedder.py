"""`Embedder`: what users make. Names and defaults are those of sentence-transformers 6 where they make sense."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Unpack, cast, overload

import numpy as np
from numpy.typing import NDArray

from sememe.catalogue import DEFAULT_MODEL
from sememe.checkpoints.recipe import PoolingMode, RecipeChanges
from sememe.engine.encoding import AskedEncode, EncodeArguments, progress_bar
from sememe.engine.engine import EngineOptions, UntrainedDims
from sememe.engine.loading import LoadedModel, LoadOptions, load_model
from sememe.engine.precision import read_backend, read_precision
from sememe.engine.spans import Span, embed_spans, embed_tokens
from sememe.errors import InputError
from sememe.records import (
    Embeddings,
    EmbedOptions,
    Output,
    OutputDtype,
    Role,
    SimilarityName,
    SparseEmbeddings,
    Tokens,
)
from sememe.similarity import Comparable, Scoring, compare, compare_pairwise

_AS_THE_CHECKPOINT_SAYS = EmbedOptions()


class Embedder:
    """An embedding model, ready to use.

    name: a folder, a hub id (`BAAI/bge-small-en-v1.5`, also with `@revision`), or a short name of the catalogue.
    Raises NotFound, CheckpointError, UnsupportedCheckpoint, InputError.

    Every argument but the name has sentence-transformers' name where it has one. Two differences on purpose: no code
    of a checkpoint is ever run (there is no `trust_remote_code`), and a vector that is cut to `truncate_dim` is
    normalised again where the model normalises.
    """

    def __init__(
        self,
        model_name_or_path: str | Path = DEFAULT_MODEL,
        *,
        device: str | None = None,
        backend: str = "auto",
        precision: str = "auto",
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        similarity_fn_name: SimilarityName | None = None,
        truncate_dim: int | None = None,
        pooling: PoolingMode | Literal["pooler"] | None = None,
        normalize: bool | None = None,
        max_seq_length: int | None = None,
        revision: str | None = None,
        offline: bool = False,
        local_files_only: bool = False,
        token: str | None = None,
        cache_folder: str | Path | None = None,
        embedding_cache: str | Path | None = None,
        n_threads: int = 0,
        token_budget: int | None = None,
        allow_pickle: bool = False,
        progress: bool = False,
        like: str | None = None,
        untrained_dims: UntrainedDims = "warn",
    ) -> None:
        """pooling, normalize, prompts: over what the checkpoint's files say.

        like: for a folder whose files do not say how it is used, the catalogue's model whose recipe it takes.
        offline and local_files_only: no call leaves this machine. untrained_dims: whether a width that the model was
        not trained to be cut to, as far as anybody says, is a warning or an InputError.
        """
        changes = RecipeChanges(
            pooling=pooling,
            normalize=normalize,
            max_tokens=max_seq_length,
            prompts=prompts,
            default_prompt_name=default_prompt_name,
            similarity=similarity_fn_name,
            truncate_dim=truncate_dim,
        )
        engine = EngineOptions(n_threads=n_threads, untrained_dims=untrained_dims)
        if token_budget is not None:
            engine = replace(engine, token_budget=token_budget)
        self._name = str(model_name_or_path)
        self._loaded: LoadedModel = load_model(
            self._name,
            LoadOptions(
                revision=revision,
                like=like,
                offline=offline or local_files_only,
                token=token,
                progress=progress,
                cache_folder=None if cache_folder is None else Path(cache_folder),
                device=device or "auto",
                backend=read_backend(backend),
                precision=read_precision(precision),
                changes=changes,
                engine=engine,
                embedding_cache=None if embedding_cache is None else Path(embedding_cache),
                allow_pickle=allow_pickle,
            ),
        )

    # ── what it is ───────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def name(self) -> str:
        """The model as it was named."""
        return self._name

    @property
    def revision(self) -> str:
        """The files' commit, or `sha256:…` of their weights where they have none."""
        return self._loaded.found.revision

    @property
    def loaded(self) -> LoadedModel:
        """Where the files came from, the backend, the precision with its reason, and the self-check's verdict."""
        return self._loaded

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The kinds of embeddings that the model gives; none for a reranker, which `Reranker` uses."""
        return self._loaded.engine.checkpoint.recipe.outputs

    @property
    def dimension(self) -> int:
        """D: the width of an embedding, after `truncate_dim` where it was given."""
        checkpoint = self._loaded.engine.checkpoint
        return checkpoint.recipe.truncate_dim or checkpoint.dimension

    def get_embedding_dimension(self) -> int:
        """`dimension`, by sentence-transformers' name."""
        return self.dimension

    get_sentence_embedding_dimension = get_embedding_dimension

    @property
    def max_tokens(self) -> int:
        """Tokens that one input may have, prompt and special tokens included; what is longer is cut."""
        return self._loaded.engine.checkpoint.max_tokens

    @property
    def max_seq_length(self) -> int:
        """`max_tokens`, by sentence-transformers' name."""
        return self.max_tokens

    @property
    def prompts(self) -> Mapping[str, str]:
        """The model's prompts by name."""
        return self._loaded.engine.checkpoint.recipe.prompts

    @property
    def default_prompt_name(self) -> str | None:
        """The prompt that `encode` applies by itself, if any."""
        return self._loaded.engine.checkpoint.recipe.default_prompt_name

    @property
    def similarity_fn_name(self) -> SimilarityName:
        """The similarity the model was trained for."""
        return self._loaded.engine.checkpoint.recipe.similarity

    @property
    def device(self) -> str:
        """Where it computes."""
        return self._loaded.backend.device

    def fingerprint(self, options: EmbedOptions = _AS_THE_CHECKPOINT_SAYS) -> str:
        """The name of the vector space that `embed` gives with these options; never compare vectors of two."""
        return self._loaded.engine.fingerprint(options)

    # ── embedding ────────────────────────────────────────────────────────────────────────────────────────────────

    def embed(self, inputs: Sequence[str], options: EmbedOptions = _AS_THE_CHECKPOINT_SAYS) -> Embeddings:
        """Embed a list of texts: vectors, token counts, usage and the space's fingerprint. Raises InputError."""
        return self._loaded.engine.embed(inputs, options)

    def embed_spans(
        self, text: str, spans: Sequence[Span], options: EmbedOptions = _AS_THE_CHECKPOINT_SAYS
    ) -> Embeddings:
        """Late chunking: a vector for each span of characters, from one pass over the text; see `spans.embed_spans`."""
        return embed_spans(self._loaded.engine, text, spans, options)

    def embed_tokens(
        self, inputs: Sequence[str], options: EmbedOptions = _AS_THE_CHECKPOINT_SAYS
    ) -> list[NDArray[np.float32]]:
        """(n, H) hidden states of each text's tokens, before pooling, prompt and special tokens included."""
        return embed_tokens(self._loaded.engine, inputs, options)

    def embed_stream(
        self, inputs: Iterable[str], options: EmbedOptions = _AS_THE_CHECKPOINT_SAYS, *, window: int = 4096
    ) -> Iterator[NDArray[Any]]:
        """One dense vector (D,) after another, for inputs that need not fit in memory; `window` of them are held."""
        texts = iter(inputs)
        while piece := list(islice(texts, window)):
            dense = self.embed(piece, options).dense
            assert dense is not None
            yield from dense

    @overload
    def encode(
        self,
        inputs: str | Sequence[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: Literal["sentence_embedding"] = "sentence_embedding",
        precision: OutputDtype = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        *,
        outputs: None = None,
        instruction: str | None = None,
        examples: Sequence[tuple[str, str]] = (),
        task: str | None = None,
    ) -> NDArray[Any]: ...
    @overload
    def encode(
        self, inputs: str | Sequence[str], *, outputs: Sequence[Output], **arguments: Unpack[EncodeArguments]
    ) -> Embeddings: ...

    def encode(
        self,
        inputs: str | Sequence[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: Literal["sentence_embedding"] = "sentence_embedding",
        precision: OutputDtype = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        *,
        outputs: Sequence[Output] | None = None,
        instruction: str | None = None,
        examples: Sequence[tuple[str, str]] = (),
        task: str | None = None,
    ) -> NDArray[Any] | Embeddings:
        """(N, D) float32 for a list, (D,) for one text, as sentence-transformers' `encode`. Raises InputError.

        A model without dense vectors gives what it has: sparse ones as `SparseEmbeddings`, or one array (n, D) for each
        input in a list (for one text, that array). outputs: the kinds wanted, from one pass: then the answer is the
        `Embeddings` record with a value for each, and token counts; `precision` is that of `EmbedOptions`.
        instruction, examples, task: see `EmbedOptions`.
        batch_size is accepted and not needed: batches are made by tokens. normalize_embeddings: False leaves it to
        the model's own modules. precision: of the vectors; for int8 and uint8 the value ranges come from this call,
        as there. convert_to_tensor gives a torch tensor (extra `torch`). show_progress_bar: None means where the
        logger `sememe` lets INFO through.
        """
        asked = AskedEncode(
            prompt_name=prompt_name, prompt=prompt, batch_size=batch_size, show_progress_bar=show_progress_bar,
            output_value=output_value, precision=precision, convert_to_numpy=convert_to_numpy,
            convert_to_tensor=convert_to_tensor, device=device, normalize_embeddings=normalize_embeddings,
            truncate_dim=truncate_dim, instruction=instruction, examples=examples, task=task,
        )  # fmt: skip
        return self._encode(inputs, None, asked, outputs)

    @overload
    def encode_query(
        self, inputs: str | Sequence[str], *, outputs: None = None, **arguments: Unpack[EncodeArguments]
    ) -> NDArray[Any]: ...
    @overload
    def encode_query(
        self, inputs: str | Sequence[str], *, outputs: Sequence[Output], **arguments: Unpack[EncodeArguments]
    ) -> Embeddings: ...

    def encode_query(
        self,
        inputs: str | Sequence[str],
        *,
        outputs: Sequence[Output] | None = None,
        **arguments: Unpack[EncodeArguments],
    ) -> NDArray[Any] | Embeddings:
        """`encode` as a query: with the model's prompt, adapter and layout for queries; a prompt given goes first.

        A model whose queries take an instruction has its own, or the usual one for web search, unless `instruction`
        says what is looked for.
        """
        return self._encode(inputs, "query", AskedEncode(**arguments), outputs)

    @overload
    def encode_document(
        self, inputs: str | Sequence[str], *, outputs: None = None, **arguments: Unpack[EncodeArguments]
    ) -> NDArray[Any]: ...
    @overload
    def encode_document(
        self, inputs: str | Sequence[str], *, outputs: Sequence[Output], **arguments: Unpack[EncodeArguments]
    ) -> Embeddings: ...

    def encode_document(
        self,
        inputs: str | Sequence[str],
        *,
        outputs: Sequence[Output] | None = None,
        **arguments: Unpack[EncodeArguments],
    ) -> NDArray[Any] | Embeddings:
        """`encode` as a document: with the model's prompt, adapter and layout for documents."""
        return self._encode(inputs, "document", AskedEncode(**arguments), outputs)

    def _encode(
        self, inputs: str | Sequence[str], role: Role | None, asked: AskedEncode, outputs: Sequence[Output] | None
    ) -> NDArray[Any] | Embeddings:
        if isinstance(inputs, Mapping | bytes) or not isinstance(inputs, Iterable):
            raise InputError(f"Inputs are {type(inputs).__name__}; expected a text or a list of texts.")
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        asked.check(self.device)
        if outputs is not None and asked.convert_to_tensor:
            raise InputError("convert_to_tensor is for one kind of vectors; leave it or `outputs` out.")
        kinds = self.outputs[:1] if outputs is None else tuple(outputs)
        options = asked.options(role, kinds, "float32" if outputs is None else asked.precision)
        with progress_bar(len(texts), asked.show_progress_bar) as advance:
            found = self._loaded.engine.embed(texts, options, on_progress=advance)
        if outputs is not None:
            return found
        # The type that users of dense models, nearly all, can work with; the docstring names the other two.
        return cast("NDArray[Any]", asked.result(found, is_one=isinstance(inputs, str)))

    def decode(self, embeddings: SparseEmbeddings, top_k: int | None = None) -> list[list[tuple[str, float]]]:
        """For each sparse embedding its tokens with their weights, the largest first, as SparseEncoder's `decode`."""
        tokenizer = self._loaded.engine.checkpoint.tokenizer
        found = []
        for i in range(len(embeddings)):
            by_weight = sorted(embeddings.weights(i).items(), key=lambda item: -item[1])[:top_k]
            found.append([(tokenizer.token(token_id) or f"[{token_id}]", weight) for token_id, weight in by_weight])
        return found

    def tokenize(self, inputs: Sequence[str], options: EmbedOptions = _AS_THE_CHECKPOINT_SAYS) -> list[Tokens]:
        """The inputs' tokens as the model would see them, prompt and special tokens included. Raises InputError."""
        return self._loaded.engine.tokenize(inputs, options)

    # ── similarity ───────────────────────────────────────────────────────────────────────────────────────────────

    def similarity(
        self, embeddings1: Comparable, embeddings2: Comparable, *, weights: Mapping[Output, float] | None = None
    ) -> NDArray[np.float32]:
        """(N, M) scores by the model's own similarity; higher is nearer. Raises InputError.

        Takes what `encode` gives, of one kind on both sides: dense vectors, sparse ones (dot product), lists of vectors
        (MaxSim, queries first). Of two `Embeddings` records, the mean over the kinds that both have, weighted by
        `weights` or the model's own.
        """
        return compare(embeddings1, embeddings2, self._scoring(weights))

    def similarity_pairwise(
        self, embeddings1: Comparable, embeddings2: Comparable, *, weights: Mapping[Output, float] | None = None
    ) -> NDArray[np.float32]:
        """(N,) scores of row with row, as `similarity`."""
        return compare_pairwise(embeddings1, embeddings2, self._scoring(weights))

    @property
    def scoring(self) -> Scoring:
        """How the model's embeddings of each kind are compared."""
        return self._loaded.engine.checkpoint.recipe.scoring

    def _scoring(self, weights: Mapping[Output, float] | None) -> Scoring:
        return self.scoring if weights is None else replace(self.scoring, weights=weights)

    def close(self) -> None:
        """Let the threads go; the embedder cannot be used afterwards."""
        self._loaded.engine.close()
