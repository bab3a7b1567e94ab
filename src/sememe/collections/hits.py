"""What a search gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sememe.collections.documents import Chunk, Document
from sememe.collections.options import Retriever


@dataclass(frozen=True)
class RetrieverScore:
    """One retriever's own score of a hit, and its rank in that retriever's list, from 1."""

    retriever: Retriever
    score: float
    rank: int


@dataclass(frozen=True)
class Explanation:
    """Why a hit stands where it stands: what each word added to BM25, and what each retriever to the fused score."""

    words: Mapping[str, float]
    contributions: Mapping[Retriever, float]


@dataclass(frozen=True)
class Parent:
    """What a chunk stands in. kind: which it is. start, end: its characters in the document's text."""

    kind: Literal["paragraph", "section", "page", "document"]
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Hit:
    """A chunk that a search found. score: what it was ranked by, higher is better; its unit depends on the search.

    That is the similarity, BM25 or MaxSim of a single retriever, the fused score of several, or the reranker's. document: as
    stored, its text only if it was asked for. explanation, parent: if they were asked for.
    """

    chunk: Chunk
    document: Document
    score: float
    retrievers: tuple[RetrieverScore, ...]
    explanation: Explanation | None = None
    parent: Parent | None = None
