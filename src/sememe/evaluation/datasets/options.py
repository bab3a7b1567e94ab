"""What to read of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from sememe.errors import InputError
from sememe.evaluation.records import TASK_KINDS, TaskKind

Item = TypeVar("Item")

OTHER_SPLITS = ("dev", "validation", "valid", "val", "train")


@dataclass(frozen=True)
class DataOptions:
    """kind: None recognises it by the files. split: which part is tested; None is `test`, else the only one there is.

    languages: only these, where a set has several; empty is all. limit: so many queries, pairs or texts, evenly spaced,
    since files are often sorted by label; documents are never left out, as fewer would make the task easier.
    allow_unknown: judgements of documents that are not there count as not found rather than being an error.
    """

    kind: TaskKind | None = None
    split: str | None = None
    languages: tuple[str, ...] = ()
    limit: int | None = None
    allow_unknown: bool = False

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in TASK_KINDS:
            raise InputError(f"No task {self.kind!r}. Known: {', '.join(TASK_KINDS)}.")
        if self.limit is not None and self.limit < 1:
            raise InputError(f"limit is {self.limit}; expected 1 or more.")


def evenly(items: Sequence[Item], limit: int | None) -> list[Item]:
    """So many of the items, evenly spaced and in their order; all where there is no limit."""
    n = len(items)
    return list(items) if limit is None or limit >= n else [items[i * n // limit] for i in range(limit)]
