"""A retrieval test made from documents alone, where nobody has labelled anything.

Known-item queries: something that a passage says, taken out of it, has to find the rest of that passage again. Titles
and headings are the nearest to what people type; sentences are easier than real questions, since they share the
passage's own words. Scores are good for comparing models on these documents, not with other data; every result says
that it is synthetic.
Source of the idea: Azzopardi, de Rijke & Balog 2007, "Building simulated queries for known-item topics".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sememe.errors import InputError
from sememe.evaluation.datasets.records import RetrievalTask
from sememe.records import Document

QueryKind = Literal["title", "heading", "question", "sentence", "generated"]
KINDS: tuple[QueryKind, ...] = ("title", "heading", "question", "sentence")

_FROM: dict[QueryKind, str] = {kind: f"from {kind}s" for kind in KINDS} | {"generated": "by a language model"}

NOTE = "SYNTHETIC: the queries were made from the documents; use it to compare models, not as a measure of quality"

_PASSAGE_WORDS = 200
_LEAST_WORDS = 4  # of a sentence that may be a query; a title may have two
_HEADING = re.compile(r"^(?:#{1,6}\s+(?P<atx>.+?)\s*#*|(?P<line>.+)\n(?:={3,}|-{3,}))\s*$", re.MULTILINE)
_SENTENCE = re.compile(r"[^.!?。！？؟]+[.!?。！？؟]+(?=\s|$|[^\x00-\x7f])", re.UNICODE)
_QUESTION = ("?", "？", "؟")
_WORD = re.compile(r"\w+")

AskQuestion = Callable[[str], str]
"""A passage to a question that it answers, by a language model."""


@dataclass(frozen=True)
class SyntheticOptions:
    """kinds: where queries come from. n_queries: at most so many, spread over the kinds and the documents."""

    kinds: tuple[QueryKind, ...] = KINDS
    n_queries: int = 300
    seed: int = 0


@dataclass(frozen=True)
class _Passage:
    id: str
    document: str
    heading: str
    text: str


@dataclass(frozen=True)
class _Candidate:
    """A query, and the passages that it should find."""

    kind: QueryKind
    text: str  # "" of one that is still to be asked for
    relevant: tuple[str, ...]


def make_test_set(
    name: str,
    documents: Iterable[Document],
    options: SyntheticOptions | None = None,
    *,
    ask: AskQuestion | None = None,
) -> RetrievalTask:
    """A retrieval task of passages and known-item queries. ask: one more query for passages, by a language model.

    Raises InputError where there are fewer than two passages, or nothing to make a query of.
    """
    options = options or SyntheticOptions()
    documents = [document for document in documents if document.text.strip()]
    passages = [passage for document in documents for passage in _passages(document)]
    if len(passages) < 2:
        found = "only one passage" if passages else "no passage"
        raise InputError(f"{name} has {found} of text; finding one again needs two at least.")
    generator = np.random.default_rng(options.seed)
    by_kind = {
        "title": _titles(documents, passages),
        "heading": _headings(passages),
        "question": _sentences(passages, "question"),
        "sentence": _sentences(passages, "sentence"),
    }
    if ask is not None:
        by_kind["generated"] = [
            _Candidate("generated", "", (passages[i].id,))
            for i in sorted(generator.permutation(len(passages))[: options.n_queries].tolist())
        ]
    kinds = [kind for kind in by_kind if kind == "generated" or kind in options.kinds]
    pools = [[by_kind[kind][i] for i in generator.permutation(len(by_kind[kind]))] for kind in kinds]
    chosen = _spread(pools, options.n_queries)
    if ask is not None:  # of those alone that are wanted: an answer may cost money
        text_of = {passage.id: passage.text for passage in passages}
        asked = [c if c.text else replace(c, text=ask(text_of[c.relevant[0]]).strip()) for c in chosen]
        chosen = [c for c in asked if c.text]
    if not chosen:
        raise InputError(f"{name} has no titles, headings or sentences to make queries of.")
    return _task(name, passages, chosen)


def _task(name: str, passages: Sequence[_Passage], chosen: Sequence[_Candidate]) -> RetrievalTask:
    held_out = {(c.relevant[0], c.text) for c in chosen if c.kind in ("question", "sentence")}
    texts = [_without(passage, [text for where, text in held_out if where == passage.id]) for passage in passages]
    counts = {kind: sum(c.kind == kind for c in chosen) for kind in dict.fromkeys(c.kind for c in chosen)}
    ids = [f"{c.kind}-{i}" for i, c in enumerate(chosen, 1)]
    return RetrievalTask(
        name=name,
        query_ids=tuple(ids),
        queries=tuple(c.text for c in chosen),
        document_ids=tuple(passage.id for passage in passages),
        documents=tuple(texts),
        qrels={i: dict.fromkeys(c.relevant, 1) for i, c in zip(ids, chosen, strict=True)},
        notes=(NOTE, "queries: " + ", ".join(f"{n} {_FROM[kind]}" for kind, n in counts.items())),
        synthetic=True,
    )


def _passages(document: Document) -> Iterator[_Passage]:
    """About 200 words each, never across a heading; the headings themselves are left out, since they are queries."""
    number = 0
    for heading, text in _sections(document.text):
        words: list[str] = []
        for paragraph in [*re.split(r"\n\s*\n", text), None]:
            size = len(paragraph.split()) if paragraph else 0
            if words and (paragraph is None or sum(len(w.split()) for w in words) + size > _PASSAGE_WORDS):
                number += 1
                yield _Passage(f"{document.id}#{number}", document.id, heading, "\n\n".join(words))
                words = []
            if paragraph and paragraph.strip():
                words.append(paragraph.strip())


def _sections(text: str) -> Iterator[tuple[str, str]]:
    at, heading = 0, ""
    for found in _HEADING.finditer(text):
        yield heading, text[at : found.start()]
        at, heading = found.end(), (found["atx"] or found["line"] or "").strip()
    yield heading, text[at:]


def _titles(documents: Sequence[Document], passages: Sequence[_Passage]) -> list[_Candidate]:
    found = []
    for document in documents:
        own = tuple(passage.id for passage in passages if passage.document == document.id)
        if own and len(_WORD.findall(document.title)) >= 2:
            found.append(_Candidate("title", document.title.strip(), own))
    return _unambiguous(found)


def _headings(passages: Sequence[_Passage]) -> list[_Candidate]:
    sections: dict[tuple[str, str], list[str]] = {}
    for passage in passages:
        if len(_WORD.findall(passage.heading)) >= 2:
            sections.setdefault((passage.document, passage.heading), []).append(passage.id)
    return _unambiguous([_Candidate("heading", heading, tuple(own)) for (_, heading), own in sections.items()])


def _sentences(passages: Sequence[_Passage], kind: QueryKind) -> list[_Candidate]:
    """One sentence of each passage that has three at least: a question where that is wanted, else the middle one."""
    found = []
    for passage in passages:
        sentences = [s.strip() for s in _SENTENCE.findall(passage.text)]
        if len(sentences) < 3:
            continue
        asked = [s for s in sentences if s.endswith(_QUESTION) == (kind == "question")]
        long = [s for s in asked if len(_WORD.findall(s)) >= _LEAST_WORDS]
        if long:
            found.append(_Candidate(kind, long[len(long) // 2], (passage.id,)))
    return _unambiguous(found)


def _unambiguous(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """Without texts that stand in several places, such as "Getting started"."""
    counts: dict[str, int] = {}
    for candidate in candidates:
        counts[candidate.text.casefold()] = counts.get(candidate.text.casefold(), 0) + 1
    return [candidate for candidate in candidates if counts[candidate.text.casefold()] == 1]


def _spread(pools: Sequence[list[_Candidate]], n: int) -> list[_Candidate]:
    """At most n, one of each kind in turn while there are any."""
    chosen = []
    for i in range(max(map(len, pools), default=0)):
        chosen += [pool[i] for pool in pools if i < len(pool)]
    return chosen[:n]


def _without(passage: _Passage, sentences: Sequence[str]) -> str:
    text = passage.text
    for sentence in sentences:
        text = text.replace(sentence, " ", 1)
    return text.strip()
