"""Questions with what was retrieved for them, read from rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sememe.errors import InputError
from sememe.evaluation.datasets.rows import Row, read_rows


@dataclass(frozen=True)
class RagRow:
    """contexts: what was retrieved, best first. is_relevant: whether each belongs, by the labels.

    n_expected: contexts that should have been found. answer: what was generated, "" if there is none.
    """

    id: str
    question: str
    contexts: tuple[str, ...]
    is_relevant: tuple[bool, ...]
    n_expected: int
    answer: str


def read_rag(path: Path, limit: int | None = None) -> list[RagRow]:
    """Rows of `question`, `contexts` and labels: `reference_contexts` (texts), or `relevant` (true or false of each).

    With `relevant`, contexts that were not retrieved are unknown unless `n_relevant` gives how many there are in all.
    `answer` is for the judge. Raises InputError.
    """
    rows = [_read(row, number) for number, row in enumerate(read_rows(path), 1)]
    if not rows:
        raise InputError(f"{path} has no row.")
    return rows[:limit]


def _read(row: Row, number: int) -> RagRow:
    question, contexts = row.text("question"), row.texts("contexts")
    name, answer = row.text_or("_id", str(number)), row.text_or("answer", "")
    if "reference_contexts" in row.values:
        expected = {_same(text) for text in row.texts("reference_contexts")}
        relevant = tuple(_same(text) in expected for text in contexts)
        n_expected = len(expected)
    else:
        relevant = _labels(row, len(contexts))
        n_expected = row.integer("n_relevant") if "n_relevant" in row.values else sum(relevant)
    if n_expected < 1:
        raise InputError(f"{row.where} has no relevant context, so recall is not defined. Label one, or drop the row.")
    return RagRow(name, question, contexts, relevant, n_expected, answer)


def _labels(row: Row, n: int) -> tuple[bool, ...]:
    labels = row.values.get("relevant")
    if not isinstance(labels, list) or len(labels) != n or not all(label in (0, 1) for label in labels):
        raise InputError(
            f"{row.where}: expected `reference_contexts` (texts), or `relevant` with true or false for each of the {n} "
            "contexts."
        )
    return tuple(bool(label) for label in labels)


def _same(text: str) -> str:
    """Equal but for white space."""
    return " ".join(text.split())
