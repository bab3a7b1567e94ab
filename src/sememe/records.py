"""The values that travel between the steps, and the protocol of anything that embeds.

Letters for shapes, here and everywhere: N inputs of a call, B sequences in a batch, T tokens in a batch,
n tokens of one input, H hidden width, D embedding width, V vocabulary, K results wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

Role = Literal["query", "document"]
Output = Literal["dense", "sparse", "multi_vector"]
ProgramOutput = Output | Literal["hidden"]
"""What a program computes; `hidden`: (T, H) states before pooling."""
OutputDtype = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary"]
TruncationSide = Literal["right", "left"]
SimilarityName = Literal["cosine", "dot", "euclidean", "manhattan", "maxsim"]

OUTPUTS: tuple[Output, ...] = ("dense", "sparse", "multi_vector")
OUTPUT_DTYPES: tuple[OutputDtype, ...] = ("float32", "float16", "int8", "uint8", "binary", "ubinary")

# Names that columns of texts and of row ids have in practice, the likeliest first.
TEXT_COLUMNS = (
    "text", "sentence", "content", "document", "passage", "body", "chunk", "paragraph", "query", "question",
    "abstract", "description", "title",
)  # fmt: skip
ID_COLUMNS = ("id", "_id", "doc_id", "docid", "document_id", "uuid")


@dataclass(frozen=True)
class Tokens:
    """One input after tokenizing, as the model will see it (prompt and special tokens included).

    ids: (n,) int32. type_ids: (n,) int32, the segment of each token (0 but for the second text of a pair).
    n_prompt: leading tokens that pooling leaves out, 0 unless the checkpoint says `include_prompt: false`.
    n_unseen: trailing tokens that no other token attends to, which late interaction fills queries with.
    n_dropped: tokens that truncation cut off. An input cut by characters first counts the tokens of the cut part
    by the rate of the part that was read, so for very long inputs the figure is an estimate.
    """

    ids: NDArray[np.int32]
    type_ids: NDArray[np.int32]
    n_prompt: int = 0
    n_dropped: int = 0
    n_unseen: int = 0

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Batch:
    """Sequences laid end to end; no padding.

    token_ids, type_ids, positions: (T,) int32. cu_seqlens: (B+1,) int32, where each sequence starts, and T at the end.
    n_prompt: (B,) int32, leading tokens of each sequence that pooling leaves out. n_unseen: (B,) int32, trailing tokens
    of each sequence that are no keys of attention; None where there are none, as in nearly every batch.
    """

    token_ids: NDArray[np.int32]
    type_ids: NDArray[np.int32]
    positions: NDArray[np.int32]
    cu_seqlens: NDArray[np.int32]
    n_prompt: NDArray[np.int32]
    n_unseen: NDArray[np.int32] | None = None

    @property
    def n_sequences(self) -> int:
        return len(self.cu_seqlens) - 1

    @property
    def n_tokens(self) -> int:
        return len(self.token_ids)

    @property
    def lengths(self) -> NDArray[np.int32]:
        """(B,) tokens of each sequence."""
        return self.cu_seqlens[1:] - self.cu_seqlens[:-1]  # np.diff takes ten times as long for a few


@dataclass(frozen=True)
class Usage:
    """Counts and seconds of one call.

    n_tokens counts what was computed or came from the cache, special tokens and prompts included; n_dropped_tokens
    what truncation cut off. n_cached inputs came from the embedding cache.
    """

    n_inputs: int = 0
    n_tokens: int = 0
    n_dropped_tokens: int = 0
    n_truncated: int = 0
    n_cached: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class EmbedOptions:
    """How to embed; the same for every input of a call.

    role: `query` or `document` chooses the checkpoint's prompt for that role, if it has one, and how the input is laid
    out, where that differs; None applies the checkpoint's default prompt, if it names one. prompt_name chooses a prompt
    by name, prompt gives the text itself, one of the two at most; they go before the role's. A prompt given as "" means
    none.
    instruction: what a query is for, filled into the prompt of models that take one. examples: (query, response) pairs
    put before it, for models that learn in context. task: the adapter and its prompt, for models that have several.
    dimensions: keep the first so many values (Matryoshka), then normalise again where the vectors were normalised.
    normalize: None does what the checkpoint's own modules do. dtype: of the vectors, see `engine.quantize`.
    truncate: False makes an input over `max_tokens` an InputError. max_tokens: at most the model's own limit.
    truncation_side: where a longer input loses tokens: at its end (right) or at its start, after the prompt (left).
    outputs: the kinds wanted, from one pass.
    """

    role: Role | None = None
    prompt_name: str | None = None
    prompt: str | None = None
    instruction: str | None = None
    examples: tuple[tuple[str, str], ...] = ()
    task: str | None = None
    dimensions: int | None = None
    normalize: bool | None = None
    dtype: OutputDtype = "float32"
    truncate: bool = True
    max_tokens: int | None = None
    truncation_side: TruncationSide = "right"
    outputs: tuple[Output, ...] = ("dense",)


def _joined_bounds(bounds: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    counts = np.concatenate([np.empty(0, np.int64), *map(np.diff, bounds)])
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


@dataclass(frozen=True)
class SparseEmbeddings:
    """N sparse vectors as one CSR triple: row i has `indices[indptr[i]:indptr[i+1]]`, strictly ascending token ids.

    indptr: (N+1,) int64. indices: (nnz,) int32. values: (nnz,) float32, all above 0. n_columns: V.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float32]
    n_columns: int

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @classmethod
    def joined(cls, parts: Sequence[SparseEmbeddings]) -> SparseEmbeddings:
        """Several one after another, as wide as the widest; none gives no rows."""
        return cls(
            _joined_bounds([part.indptr for part in parts]),
            np.concatenate([np.empty(0, np.int32), *(part.indices for part in parts)]),
            np.concatenate([np.empty(0, np.float32), *(part.values for part in parts)]),
            max((part.n_columns for part in parts), default=0),
        )

    def weights(self, i: int) -> dict[int, float]:
        """Input i's weights by token id."""
        span = slice(self.indptr[i], self.indptr[i + 1])
        return dict(zip(self.indices[span].tolist(), self.values[span].tolist(), strict=True))

    def to_scipy(self) -> Any:
        """The (N, V) matrix as `scipy.sparse.csr_array`; needs scipy."""
        from scipy.sparse import csr_array

        return csr_array((self.values, self.indices, self.indptr), shape=(len(self), self.n_columns))


@dataclass(frozen=True)
class MultiVectorEmbeddings:
    """N lists of vectors laid end to end: input i has `vectors[offsets[i]:offsets[i+1]]`.

    vectors: (sum of vectors, D) float32. offsets: (N+1,) int64.
    """

    vectors: NDArray[np.float32]
    offsets: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence[MultiVectorEmbeddings]) -> MultiVectorEmbeddings:
        """Several one after another; none gives no lists, of width 0."""
        vectors = np.concatenate([part.vectors for part in parts]) if parts else np.empty((0, 0), np.float32)
        return cls(vectors, _joined_bounds([part.offsets for part in parts]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> NDArray[np.float32]:
        """Input i's vectors: (n, D); counted from the end where i is negative."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"{i} of {len(self)} inputs")
        i %= len(self)
        return self.vectors[self.offsets[i] : self.offsets[i + 1]]


@dataclass(frozen=True)
class Embeddings:
    """The answer to one call, one row for each input, in the caller's order.

    dense: (N, D), or (N, ceil(D/8)) bytes for the binary dtypes; None unless asked for. So for the other two.
    n_tokens, n_dropped: (N,) int32 for each input. fingerprint: names the vector space; vectors of two
    fingerprints must not be compared.
    """

    dense: NDArray[np.generic] | None
    sparse: SparseEmbeddings | None
    multi_vector: MultiVectorEmbeddings | None
    n_tokens: NDArray[np.int32]
    n_dropped: NDArray[np.int32]
    usage: Usage
    fingerprint: str


class RankedDocument(TypedDict, total=False):
    """One result of `rank`: the document's index, its score (higher is more relevant), and its text if asked for."""

    corpus_id: int
    score: float
    text: str


class TextEmbedder(Protocol):
    """Anything that embeds texts: the engine, a remote server, a fake of twenty lines.

    Collections, evaluation, tables and the server are written against this. (`sememe.Embedder` is the class that
    users make; it satisfies this protocol.)
    """

    @property
    def name(self) -> str:
        """The model as the user named it."""
        ...

    @property
    def revision(self) -> str:
        """Which version of the model's files: a commit, or the hash of the weights."""
        ...

    @property
    def dimension(self) -> int:
        """D at full width."""
        ...

    @property
    def max_tokens(self) -> int:
        """Tokens that one input may have, prompt and special tokens included."""
        ...

    def fingerprint(self, options: EmbedOptions = ...) -> str:
        """Name of the vector space that `embed` with these options gives."""
        ...

    def embed(self, inputs: Sequence[str], options: EmbedOptions = ...) -> Embeddings:
        """Embed the inputs; an empty list gives zero rows. Raises InputError."""
        ...


@dataclass(frozen=True)
class Document:
    """One document as it was read.

    id: unique within its collection or file. title may be empty. metadata: flat values a filter can use.
    """

    id: str
    text: str
    title: str = ""
    metadata: dict[str, str | int | float | bool] = field(default_factory=dict)
