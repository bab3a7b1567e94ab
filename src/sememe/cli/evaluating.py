"""One task with one model for `sememe evaluate`: dense vectors, other kinds of embeddings, or scores of pairs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sememe.errors import InputError
from sememe.records import OUTPUTS, Output, OutputDtype, TextEmbedder

if TYPE_CHECKING:
    from sememe.engine.reranker import Reranker
    from sememe.evaluation.datasets import Task
    from sememe.evaluation.options import EvaluationOptions
    from sememe.evaluation.records import TaskResult
    from sememe.evaluation.vectors import Progress


def evaluate_task(
    task: Task,
    embedder: TextEmbedder,
    options: EvaluationOptions,
    kinds: tuple[Output, ...],
    dtype: OutputDtype,
    cache: Path | None,
) -> TaskResult:
    """With a bar on a terminal. kinds: what is compared, () where the model decides. Raises InputError."""
    from sememe.engine.embedder import Embedder
    from sememe.evaluation.kinds import chosen_outputs

    gives = embedder.outputs if isinstance(embedder, Embedder) else OUTPUTS  # a server refuses what it has not
    chosen = chosen_outputs(gives, kinds, embedder.name)
    with task_bar(task.name, "text") as show:
        if chosen == ("dense",):
            return _with_vectors(task, embedder, options, dtype, cache, show)
        return _with_kinds(task, embedder, options, chosen, dtype, cache, show)


@contextmanager
def task_bar(name: str, unit: str) -> Iterator[Progress]:
    """A bar on a terminal, moved by how many are done and how many there are."""
    from tqdm import tqdm

    with tqdm(unit=unit, desc=name, disable=None, leave=False) as bar:

        def show(n_done: int, n: int) -> None:
            bar.total = n
            bar.update(n_done - bar.n)

        yield show


def _with_vectors(
    task: Task,
    embedder: TextEmbedder,
    options: EvaluationOptions,
    dtype: OutputDtype,
    cache: Path | None,
    show: Progress,
) -> TaskResult:
    from sememe.engine.cache import EmbeddingCache
    from sememe.engine.embedder import Embedder
    from sememe.evaluation.tasks import score_task
    from sememe.evaluation.vectors import embed_task

    vectors, store = options.vectors, None
    if isinstance(embedder, Embedder):
        vectors = replace(vectors, similarity=embedder.similarity_fn_name, computed_in=str(embedder.loaded.precision))
    elif cache is not None:  # an Embedder has looked there itself
        store = EmbeddingCache(cache)
    found = embed_task(task, embedder, vectors, cache=store, on_progress=show)
    return score_task(task, found.at(dtype=dtype) if dtype != "float32" else found, options)


def _with_kinds(
    task: Task,
    embedder: TextEmbedder,
    options: EvaluationOptions,
    kinds: tuple[Output, ...],
    dtype: OutputDtype,
    cache: Path | None,
    show: Progress,
) -> TaskResult:
    from sememe.engine.embedder import Embedder
    from sememe.evaluation.kinds import embed_kinds
    from sememe.evaluation.tasks.kinds import score_kinds
    from sememe.similarity import Scoring

    if cache is not None or dtype != "float32":
        wrong = "--cache keeps" if cache is not None else f"--dtype {dtype} rounds"
        raise InputError(f"{wrong} dense vectors only, and {', '.join(kinds)} is compared here. Leave it out.")
    scoring = embedder.scoring if isinstance(embedder, Embedder) else Scoring()
    found = embed_kinds(task, embedder, kinds, scoring, options.vectors, on_progress=show)
    return score_kinds(task, found, options)


def open_scorer(opened: TextEmbedder) -> Reranker | None:
    """The model that was opened as one of pairs, where it gives no embeddings. Raises InputError for labels of pairs."""
    from sememe.engine.embedder import Embedder
    from sememe.engine.reranker import Reranker

    if not isinstance(opened, Embedder) or opened.outputs:
        return None
    reranker = Reranker.of(opened.loaded, opened.name)
    if reranker.n_labels != 1:
        raise InputError(
            f"{opened.name} tells {reranker.n_labels} labels of a pair ({', '.join(reranker.labels)}), which is no score "
            "to rank by. Choose a reranker."
        )
    return reranker
