"""`Embedder`: what users make. Names and defaults are those of sentence-transformers 6 where they make sense."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sememe import similarity as similarities
from sememe.catalogue import DEFAULT_MODEL
from sememe.checkpoints.recipe import PoolingMode, RecipeChanges
from sememe.engine.engine import EngineOptions
from sememe.engine.loading import LoadedModel, LoadOptions, load_model
from sememe.engine.precision import read_backend, read_precision
from sememe.engine.quantize import quantize_embeddings
from sememe.errors import InputError
from sememe.records import Embeddings, EmbedOptions, OutputDtype, Role, SimilarityName, Tokens

_AS_THE_CHECKPOINT_SAYS = EmbedOptions()


class EncodeArguments(TypedDict, total=False):
    """What `encode_query` and `encode_document` take besides the inputs: the arguments of `encode`."""

    prompt_name: str | None
    prompt: str | None
    batch_size: int
    show_progress_bar: bool | None
    output_value: Literal["sentence_embedding"]
    precision: OutputDtype
    convert_to_numpy: bool
    convert_to_tensor: bool
    device: str | None
    normalize_embeddings: bool
    truncate_dim: int | None


@dataclass(frozen=True)
class _EncodeArguments:
    """The same with the defaults of `encode`; an unknown name is a TypeError here."""

    prompt_name: str | None = None
    prompt: str | None = None
    batch_size: int = 32
    show_progress_bar: bool | None = None
    output_value: str = "sentence_embedding"
    precision: OutputDtype = "float32"
    convert_to_numpy: bool = True
    convert_to_tensor: bool = False
    device: str | None = None
    normalize_embeddings: bool = False
    truncate_dim: int | None = None


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
    ) -> None:
        """pooling, normalize, prompts: over what the checkpoint's files say.

        like: for a folder whose files do not say how it is used, the catalogue's model whose recipe it takes.
        offline and local_files_only: no call leaves this machine.
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
        engine = EngineOptions(n_threads=n_threads) if token_budget is None else EngineOptions(token_budget, n_threads)
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

    def embed_stream(
        self, inputs: Iterable[str], options: EmbedOptions = _AS_THE_CHECKPOINT_SAYS, *, window: int = 4096
    ) -> Iterator[NDArray[Any]]:
        """One vector (D,) after another, for inputs that need not fit in memory; `window` of them are held."""
        texts = iter(inputs)
        while piece := list(islice(texts, window)):
            dense = self.embed(piece, options).dense
            assert dense is not None
            yield from dense

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
    ) -> NDArray[Any]:
        """(N, D) float32 for a list, (D,) for one text, as sentence-transformers' `encode`. Raises InputError.

        batch_size is accepted and not needed: batches are made by tokens. normalize_embeddings: False leaves it to
        the model's own modules. precision: of the vectors; for int8 and uint8 the value ranges come from this call,
        as there. convert_to_tensor gives a torch tensor (extra `torch`). show_progress_bar: None means where the
        logger `sememe` lets INFO through.
        """
        arguments = _EncodeArguments(
            prompt_name=prompt_name, prompt=prompt, batch_size=batch_size, show_progress_bar=show_progress_bar,
            output_value=output_value, precision=precision, convert_to_numpy=convert_to_numpy,
            convert_to_tensor=convert_to_tensor, device=device, normalize_embeddings=normalize_embeddings,
            truncate_dim=truncate_dim,
        )  # fmt: skip
        return self._encode(inputs, None, arguments)

    def encode_query(self, inputs: str | Sequence[str], **arguments: Unpack[EncodeArguments]) -> NDArray[Any]:
        """`encode` with the model's prompt for queries, where it has one and the call gives none."""
        return self._encode(inputs, "query", _EncodeArguments(**arguments))

    def encode_document(self, inputs: str | Sequence[str], **arguments: Unpack[EncodeArguments]) -> NDArray[Any]:
        """`encode` with the model's prompt for documents, where it has one and the call gives none."""
        return self._encode(inputs, "document", _EncodeArguments(**arguments))

    def _encode(self, inputs: str | Sequence[str], role: Role | None, asked: _EncodeArguments) -> NDArray[Any]:
        if isinstance(inputs, Mapping):
            raise InputError("Inputs are a mapping; expected a text or a list of texts.")
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        if asked.output_value != "sentence_embedding":
            raise InputError(f"output_value is {asked.output_value!r}; encode gives 'sentence_embedding'.")
        if asked.device not in (None, self.device):
            raise InputError(
                f"This model computes on {self.device}; make another Embedder for device {asked.device!r}."
            )
        explicit = asked.prompt is not None or asked.prompt_name is not None
        options = EmbedOptions(
            role=None if explicit else role,
            prompt_name=asked.prompt_name,
            prompt=asked.prompt,
            dimensions=asked.truncate_dim,
            normalize=True if asked.normalize_embeddings else None,
        )
        with _progress_bar(len(texts), asked.show_progress_bar) as advance:
            dense = self._loaded.engine.embed(texts, options, on_progress=advance).dense
        vectors = quantize_embeddings(np.asarray(dense, np.float32), asked.precision)
        result = vectors[0] if isinstance(inputs, str) else vectors
        return _as_tensor(result) if asked.convert_to_tensor else result

    def tokenize(self, inputs: Sequence[str], options: EmbedOptions = _AS_THE_CHECKPOINT_SAYS) -> list[Tokens]:
        """The inputs' tokens as the model would see them, prompt and special tokens included. Raises InputError."""
        return self._loaded.engine.tokenize(inputs, options)

    # ── similarity ───────────────────────────────────────────────────────────────────────────────────────────────

    def similarity(self, embeddings1: ArrayLike, embeddings2: ArrayLike) -> NDArray[np.float32]:
        """(N, D) and (M, D) to (N, M) scores by the model's own similarity; higher is nearer."""
        return similarities.similarity(embeddings1, embeddings2, self.similarity_fn_name)

    def similarity_pairwise(self, embeddings1: ArrayLike, embeddings2: ArrayLike) -> NDArray[np.float32]:
        """(N, D) and (N, D) to (N,) scores by the model's own similarity."""
        return similarities.similarity_pairwise(embeddings1, embeddings2, self.similarity_fn_name)

    def close(self) -> None:
        """Let the threads go; the embedder cannot be used afterwards."""
        self._loaded.engine.close()


@contextmanager
def _progress_bar(n_inputs: int, wanted: bool | None) -> Iterator[Callable[[int], None] | None]:
    """A bar over the inputs; None means where the logger `sememe` lets INFO through, as sentence-transformers does."""
    if not (logging.getLogger("sememe").isEnabledFor(logging.INFO) if wanted is None else wanted):
        yield None
        return
    from tqdm.auto import tqdm

    with tqdm(total=n_inputs, desc="embedding", unit="text") as bar:
        yield lambda n: cast("None", bar.update(n))


def _as_tensor(vectors: NDArray[Any]) -> Any:
    try:
        from sememe.ops.torch import as_tensor
    except ModuleNotFoundError as exc:
        raise InputError("convert_to_tensor needs the extra: pip install 'sememe[torch]'.") from exc
    return as_tensor(vectors)
