"""The queries where systems differ most, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sememe.evaluation.compare.records import Comparison, System
from sememe.evaluation.datasets.records import RetrievalTask
from sememe.evaluation.records import Found, ItemResult

_N_SIDES = 4
_N_FOUND = 3
_N_EXPECTED = 3
_CHARACTERS = 180


@dataclass(frozen=True)
class Hit:
    """A document that was found, or should have been. is_relevant: as it was judged."""

    id: str
    text: str
    is_relevant: bool


@dataclass(frozen=True)
class Contrast:
    """One query: what each system scored on it and found first. expected: relevant documents, and how many more."""

    task: str
    query_id: str
    query: str
    metric: str
    sides: tuple[tuple[str, float, tuple[Hit, ...]], ...]
    expected: tuple[Hit, ...]
    n_expected: int


def shown_systems(found: Comparison) -> tuple[System, ...]:
    """At most four, as different as there are: the best, the recommended one, BM25, and each model's best."""
    systems = found.systems
    chosen = [systems[0], found.system(found.recommended)]
    chosen += [s for s in systems if s.kind == "lexical"]
    chosen += list({s.model: s for s in reversed([s for s in systems if s.kind == "dense"])}.values())
    chosen += [s for s in systems if s.kind == "dense"][-1:]
    return tuple({system.name: system for system in chosen}.values())[:_N_SIDES]


def contrasts(found: Comparison, n: int) -> tuple[Contrast, ...]:
    """For each retrieval task the `n` queries on which the shown systems' main metrics lie furthest apart."""
    systems = shown_systems(found)
    chosen = []
    for task in found.tasks:
        there = [system for system in systems if task.name in system.results]
        if not isinstance(task, RetrievalTask) or len(there) < 2:
            continue
        texts = dict(zip(task.document_ids, task.documents, strict=True))
        main = there[0].results[task.name].main
        rows = list(zip(*(system.results[task.name].items for system in there), strict=True))
        spread = [max(i.values[main] for i in row) - min(i.values[main] for i in row) for row in rows]
        for i in sorted(range(len(rows)), key=lambda i: -spread[i])[:n]:
            if spread[i] > 0:
                chosen.append(_contrast(task, i, there, rows[i], main, texts))
    return tuple(chosen)


def _contrast(
    task: RetrievalTask,
    i: int,
    systems: Sequence[System],
    items: Sequence[ItemResult],
    main: str,
    texts: dict[str, str],
) -> Contrast:
    expected = items[0].expected
    return Contrast(
        task=task.name,
        query_id=task.query_ids[i],
        query=task.queries[i],
        metric=main,
        sides=tuple(
            (system.name, item.values[main], tuple(_hit(found, texts) for found in item.found[:_N_FOUND]))
            for system, item in zip(systems, items, strict=True)
        ),
        expected=tuple(Hit(name, _short(texts.get(name, "")), True) for name in expected[:_N_EXPECTED]),
        n_expected=len(expected),
    )


def _hit(found: Found, texts: dict[str, str]) -> Hit:
    return Hit(found.id, _short(texts[found.id]), (found.grade or 0) >= 1)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 1].rsplit(" ", 1)[0] + " …"
