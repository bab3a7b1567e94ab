"""How a collection is laid out, and how it is searched: every default stands here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sememe.errors import InputError
from sememe.fusion import RRF_K
from sememe.records import Output

StoredDtype = Literal["float32", "float16", "int8", "binary"]
Metric = Literal["cosine", "dot", "euclidean"]
Mode = Literal["auto", "dense", "lexical", "sparse", "multi_vector", "hybrid"]
Retriever = Literal["dense", "lexical", "sparse", "multi_vector"]
ParentKind = Literal["none", "auto", "paragraph", "section", "page", "document"]
Fusion = Literal["weighted", "rrf"]


# Of the retrievers in a fusion.
DEFAULT_WEIGHTS: dict[Retriever, float] = {"dense": 1.0, "lexical": 1.0, "sparse": 1.0, "multi_vector": 1.0}


@dataclass(frozen=True)
class CollectionOptions:
    """What a collection keeps of every chunk; fixed when it is made.

    outputs: the kinds of vectors that the embedder gives. lexical: keep words for BM25. language: of the texts, ISO 639-1,
    chooses stemmer and case folding of the words; None treats all alike. similarity: of dense vectors. dtype: of the
    stored dense vectors; int8 has one scale a vector; binary keeps signs only. dimensions: keep so many values of each
    vector (Matryoshka). first_pass_dimensions: the first pass over many vectors reads only so many values, and the
    candidates are scored again in full. with_title: the title is embedded and searched before each chunk's text.
    """

    outputs: tuple[Output, ...] = ("dense",)
    lexical: bool = True
    language: str | None = None
    similarity: Metric = "cosine"
    dtype: StoredDtype = "float32"
    dimensions: int | None = None
    first_pass_dimensions: int | None = None
    with_title: bool = True

    def __post_init__(self) -> None:
        if not self.outputs and not self.lexical:
            raise InputError("A collection without vectors and without words can find nothing; keep one of them.")
        if self.dtype == "binary" and self.similarity == "euclidean":
            raise InputError("Binary vectors have no euclidean distance to a query; expected cosine or dot.")
        for name, value in (("dimensions", self.dimensions), ("first_pass_dimensions", self.first_pass_dimensions)):
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; expected 1 or more.")


@dataclass(frozen=True)
class SearchOptions:
    """How a search goes.

    mode: which retrievers; `auto` is hybrid where the collection keeps words and vectors, else what it has. n_candidates: how
    many each retriever hands on to fusion, reranking and diversity; at least k. fusion: `rrf`, reciprocal rank
    fusion, sums weight / (rrf_k + rank); `weighted` sums weight × the score brought to 0 … 1 within its list. weights: of
    the retrievers, 1 where not named. mmr: 0 … 1, the share of relevance against diversity (maximal marginal relevance);
    None leaves the order. group_by_document: only a document's best chunk. min_score: least final score of a hit.
    n_rerank: how many of the best the reranker reads. parent: the text around a hit that comes with it, see `parents`.
    """

    mode: Mode = "auto"
    n_candidates: int = 100
    fusion: Fusion = "weighted"
    weights: tuple[tuple[Retriever, float], ...] = ()
    rrf_k: float = RRF_K
    mmr: float | None = None
    group_by_document: bool = False
    min_score: float | None = None
    n_rerank: int = 50
    explain: bool = False
    parent: ParentKind = "none"

    def __post_init__(self) -> None:
        if self.mmr is not None and not 0 <= self.mmr <= 1:
            raise InputError(f"mmr is {self.mmr}; expected 0 (diverse) to 1 (relevant), or None.")
        if self.n_candidates < 1 or self.n_rerank < 1 or self.rrf_k < 0:
            raise InputError(
                f"n_candidates {self.n_candidates}, n_rerank {self.n_rerank} and rrf_k {self.rrf_k}: expected 1 or "
                "more, 1 or more, and 0 or more."
            )
        for name, weight in self.weights:
            if name not in DEFAULT_WEIGHTS or not 0 <= weight < float("inf"):
                raise InputError(
                    f"The weight of {name!r} is {weight}; expected 0 or more of one of {', '.join(DEFAULT_WEIGHTS)}."
                )
