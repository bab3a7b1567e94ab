"""Bodies of the collections' routes. A field that nobody knows is an error here: a filter with a typing error finds too much."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from sememe.collections.chunking.options import By, ChunkOptions
from sememe.collections.options import (
    CollectionOptions,
    Fusion,
    Metric,
    Mode,
    ParentKind,
    Retriever,
    SearchOptions,
    StoredDtype,
)
from sememe.records import Output
from sememe.server import asked
from sememe.server.asked import Count, Flag, Text

Metadata = dict[str, str | int | float | bool]
Number = Annotated[float, Field(allow_inf_nan=False)]
Candidates = Annotated[int, Field(ge=1, le=10_000, strict=True)]
Hits = Annotated[int, Field(ge=1, le=1000, strict=True)]


class Body(asked.Body, BaseModel):  # said twice for linters, which do not look into the other file
    """A body with the fields that it names and no others."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class ChunkingBody(Body):
    """How documents are cut; see `ChunkOptions`."""

    by: By = ChunkOptions.by
    size: Count | None = None
    overlap: Annotated[int, Field(ge=0, le=1_000_000, strict=True)] | None = None
    late: Flag = ChunkOptions.late


class CreateBody(Body):
    """A new collection. model: None is the server's first embedder. The rest: see `CollectionOptions`."""

    name: Text
    model: Text | None = None
    chunking: ChunkingBody = ChunkingBody()
    outputs: list[Output] = list(CollectionOptions.outputs)
    lexical: Flag = CollectionOptions.lexical
    language: Text | None = None
    similarity: Metric = CollectionOptions.similarity
    dtype: StoredDtype = CollectionOptions.dtype
    dimensions: Count | None = None
    first_pass_dimensions: Count | None = None
    with_title: Flag = CollectionOptions.with_title


class DocumentBody(Body):
    """One document. kind: `markdown` or `rst` among the metadata lets its headings be seen."""

    id: Text
    text: Text
    title: Text = ""
    source: Text = ""
    metadata: Metadata = {}


class UpsertBody(Body):
    """Documents to add, or to replace those of their ids."""

    documents: Annotated[list[DocumentBody], Field(min_length=1)]


class DeleteBody(Body):
    """Which documents go: by id, or by filter; one of both."""

    ids: list[Text] | None = None
    where: dict[str, Any] | None = None


class FindBody(Body):
    """How a search goes; see `SearchOptions`, which has the same names. rerank: a reranker of this server, "" is its first."""

    k: Hits = 10
    where: dict[str, Any] | None = None
    mode: Mode = SearchOptions.mode
    n_candidates: Candidates = SearchOptions.n_candidates
    fusion: Fusion = SearchOptions.fusion
    weights: dict[Retriever, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}
    rrf_k: Annotated[float, Field(ge=0, allow_inf_nan=False)] = SearchOptions.rrf_k
    mmr: Annotated[float, Field(ge=0, le=1)] | None = None
    group_by_document: Flag = SearchOptions.group_by_document
    parent: ParentKind = SearchOptions.parent
    min_score: Number | None = None
    rerank: Text | None = None
    n_rerank: Candidates = SearchOptions.n_rerank

    def options(self, *, explain: bool = False) -> SearchOptions:
        """As the collection takes it."""
        return SearchOptions(
            mode=self.mode,
            n_candidates=self.n_candidates,
            fusion=self.fusion,
            weights=tuple(self.weights.items()),
            rrf_k=self.rrf_k,
            mmr=self.mmr,
            group_by_document=self.group_by_document,
            parent=self.parent,
            min_score=self.min_score,
            n_rerank=self.n_rerank,
            explain=explain,
        )


class QueryBody(FindBody):
    """A question, or a vector of the collection's space; one of both. with_text: the documents' whole text too."""

    query: Text | None = None
    vector: Annotated[list[Number], Field(min_length=1)] | None = None
    explain: Flag = SearchOptions.explain
    with_text: Flag = False


class MoreLikeBody(Body):
    """The documents nearest to a stored one, by its id."""

    id: Text
    k: Hits = 10
    where: dict[str, Any] | None = None


class ContextBody(FindBody):
    """A question, and how many tokens its passages may have."""

    question: Text
    max_tokens: Count = 1000
    k: Hits = 20


class Nothing(Body):
    """A body without fields: `{}`."""


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class CollectionAnswer(BaseModel):
    """What a collection is. model: as requests name it, where it is served here. fingerprint: its vector space.

    generation grows with every change.
    """

    name: str
    documents: int
    chunks: int
    generation: int
    model: str
    revision: str
    fingerprint: str
    dimension: int
    chunking: str
    created: str


class CollectionsAnswer(BaseModel):
    """Every collection there is now. unreachable: names of those that cannot be opened, and why: a store that does not
    answer, a file that is damaged or of a newer version."""

    collections: list[CollectionAnswer]
    unreachable: dict[str, str]


class UpsertAnswer(BaseModel):
    """What an upsert did, in documents. described: only title, source or metadata changed. cut_titles: too long to be
    embedded whole before each chunk."""

    added: int
    changed: int
    described: int
    unchanged: int
    chunks: int
    cut_titles: int


class DeletedAnswer(BaseModel):
    """How many documents went."""

    deleted: int


class DocumentAnswer(BaseModel):
    """A document as it was given."""

    id: str
    text: str
    title: str
    source: str
    metadata: Metadata


class PlaceAnswer(BaseModel):
    """Lines, pages or rows, counted from 1."""

    unit: str
    first: int
    last: int


class RetrieverAnswer(BaseModel):
    """One retriever's own score of a hit, and its rank, from 1."""

    retriever: str
    score: float
    rank: int


class ExplanationAnswer(BaseModel):
    """What each word added to BM25, and what each retriever to the score."""

    words: dict[str, float]
    contributions: dict[str, float]


class ParentAnswer(BaseModel):
    """What a chunk stands in: its kind, and its characters in the document's text."""

    kind: str
    text: str
    start: int
    end: int


class HitAnswer(BaseModel):
    """A chunk that was found. document: its text is empty unless `with_text`. parent: unless it was none."""

    id: str
    score: float
    text: str
    start: int
    end: int
    place: PlaceAnswer | None
    heading: str
    document: DocumentAnswer
    retrievers: list[RetrieverAnswer]
    explanation: ExplanationAnswer | None
    parent: ParentAnswer | None


class QueryAnswer(BaseModel):
    """The best chunks, best first. warnings: what the filter asks in vain, looked for where fewer came than were wanted."""

    hits: list[HitAnswer]
    warnings: list[str] = []


class PassageAnswer(BaseModel):
    """One passage of a context. document: without its text. place, heading: of its first chunk to its last."""

    number: int
    citation: str
    document_id: str
    document: DocumentAnswer
    place: PlaceAnswer | None
    heading: str
    text: str
    score: float


class ContextAnswer(BaseModel):
    """Passages for a language model, and all of them as one text. warnings: what the filter asks in vain, where none came."""

    text: str
    n_tokens: int
    passages: list[PassageAnswer]
    warnings: list[str] = []
