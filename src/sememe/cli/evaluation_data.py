"""Evaluation data for the commands: sets in files, or a folder of documents that a test is made from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sememe.errors import InputError, NotFound

if TYPE_CHECKING:
    from sememe.evaluation.datasets import DataOptions, Task
    from sememe.evaluation.datasets.records import RetrievalTask
    from sememe.evaluation.rag.judge import Judge


def read_data(path: Path, options: DataOptions, judge: Judge | None = None) -> list[Task]:
    """The tasks of a data set, or one made of a folder of documents. Raises NotFound, InputError."""
    from sememe.evaluation.candidates import with_bm25_candidates
    from sememe.evaluation.datasets import is_data, read_tasks
    from sememe.evaluation.datasets.records import RetrievalTask

    if not path.exists():
        raise NotFound(f"There is no {path}.")
    if not is_data(path):
        if options.kind not in (None, "retrieval"):
            raise InputError(f"{path} holds no data for {options.kind}; of documents alone only retrieval is made.")
        return [_make_from_documents(path, options, judge)]
    tasks = read_tasks(path, options)
    if options.kind != "reranking":
        return list(tasks)
    return [with_bm25_candidates(some) if isinstance(some, RetrievalTask) else some for some in tasks]


def _make_from_documents(path: Path, options: DataOptions, judge: Judge | None) -> RetrievalTask:
    from sememe.collections.reading.files import Skipped
    from sememe.collections.reading.options import ReadOptions
    from sememe.collections.reading.reader import read_paths
    from sememe.evaluation.datasets.synthetic import SyntheticOptions, make_test_set
    from sememe.evaluation.rag.prompts import ASK_PASSAGE
    from sememe.records import Document

    documents = []
    for read in read_paths([path], ReadOptions()):
        if isinstance(read, Skipped):
            print(f"left out: {read.source}: {read.reason}", file=sys.stderr)
        else:
            documents.append(Document(read.document.id, read.document.text, read.document.title))
    made = SyntheticOptions() if options.limit is None else SyntheticOptions(n_queries=options.limit)
    if judge is None:
        return make_test_set(path.resolve().name, documents, made)
    return make_test_set(
        path.resolve().name, documents, made, ask=lambda passage: judge.ask(ASK_PASSAGE, {"passage": passage})
    )
