"""`sememe evaluate`: how good a model is for some data."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sememe.cli.options import (
    BackendOption,
    DeviceOption,
    JsonOption,
    OfflineOption,
    PrecisionOption,
    RecipeOption,
    is_offline,
    read_outputs,
    read_recipe,
)
from sememe.errors import InputError
from sememe.records import EmbedOptions, OutputDtype

if TYPE_CHECKING:
    from sememe.evaluation.rag.judge import Judge
    from sememe.evaluation.records import TaskKind
    from sememe.records import TextEmbedder


def evaluate(
    model: Annotated[str, typer.Argument(help="A folder, an id on the hub, a short name, or a server's http://….")],
    data: Annotated[
        list[Path],
        typer.Option("--data", help="A data set (folder or file), or documents; may be repeated.", show_default=False),
    ],
    recipe: RecipeOption = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="retrieval, reranking, sts, pair_classification, classification, clustering, bitext or rag.",
            show_default="by the files",
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Which part is tested.", show_default="test")] = None,
    language: Annotated[
        list[str] | None, typer.Option(help="Only this language of a set with several; may be repeated.")
    ] = None,
    k: Annotated[str, typer.Option("--k", help="Cuts of the ranking metrics.")] = "1,3,5,10,100",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many queries, pairs or texts.")] = None,
    dimensions: Annotated[int | None, typer.Option(min=1, help="Keep the first so many values.")] = None,
    dtype: Annotated[OutputDtype, typer.Option(help="Type of the values that are compared.")] = "float32",
    outputs: Annotated[
        str | None,
        typer.Option(
            help="Compared of a model that gives several kinds: dense, sparse, multi_vector; with commas, weighed together.",
            show_default="dense where there is",
        ),
    ] = None,
    prompts: Annotated[bool, typer.Option("--prompts/--no-prompts", help="Apply the model's own prompts.")] = True,
    per_label: Annotated[
        int | None, typer.Option(min=1, help="Classification from so many texts of a label, ten times, as mteb does.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap draws for the intervals; 0 gives none.")] = 1000,
    allow_unknown: Annotated[
        bool, typer.Option("--allow-unknown", help="Let judged documents that are not there count as not found.")
    ] = False,
    cache: Annotated[
        Path | None, typer.Option(help="Keep vectors in this file, and take those that are there.")
    ] = None,
    per_query: Annotated[
        Path | None, typer.Option(help="Write every query's results here, one JSON line each.")
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            help="OpenAI-compatible API that judges answers (rag) and asks questions of documents; off without."
        ),
    ] = None,
    judge_model: Annotated[str, typer.Option(help="The judge's model; its key is SEMEME_JUDGE_KEY.")] = "",
    judge_cache: Annotated[Path | None, typer.Option(help="Keep the judge's answers in this file.")] = None,
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    device: DeviceOption = "auto",
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a model on files: retrieval (BEIR), reranking, STS, pairs, classification, clustering, bitext.

    A folder of documents without labels becomes a synthetic test: its titles, headings and sentences are queries.
    A model that reads pairs (a cross-encoder) orders candidates, in retrieval the 100 best by BM25.
    """
    from sememe.cli.evaluating import evaluate_task, open_scorer, task_bar
    from sememe.cli.evaluation_data import read_data
    from sememe.cli.evaluation_tables import print_results, write_items
    from sememe.evaluation.bootstrap import BootstrapOptions
    from sememe.evaluation.datasets import DataOptions
    from sememe.evaluation.options import EvaluationOptions, VectorOptions
    from sememe.evaluation.rag.metrics import evaluate_rag
    from sememe.evaluation.rag.records import read_rag
    from sememe.evaluation.tasks.kinds import run_pairs
    from sememe.evaluation.tasks.scoring import Origin

    wanted = DataOptions(_read_kind(task), split, tuple(language or ()), limit, allow_unknown)
    options = EvaluationOptions(
        vectors=VectorOptions(embed=EmbedOptions(dimensions=dimensions), prompts=prompts),
        bootstrap=BootstrapOptions(n_resamples=resamples),
        cuts=read_cuts(k),
        n_per_label=per_label,
    )
    if recipe and "://" in model:
        raise InputError(f"--recipe is for a model on this machine; {model} uses its own as it was told to.")
    said = read_recipe(recipe, [model])
    asked, kinds = _open_judge(judge, judge_model, judge_cache), read_outputs(outputs)
    # Data are read before the model is loaded, which takes time.
    is_rag = wanted.kind == "rag"
    questions = [(path, read_rag(path, limit)) for path in data] if is_rag else []
    tasks = [] if is_rag else [some for path in data for some in read_data(path, wanted, asked)]
    embedder = open_embedder(
        model,
        recipe=said,
        device=device,
        backend=backend,
        precision=precision,
        offline=is_offline(offline),
        cache=cache,
    )
    scorer = open_scorer(embedder)
    if scorer is not None:
        results = [run_pairs(some, scorer, Origin(embedder.name, embedder.revision, ""), options) for some in tasks]
    else:
        results = [evaluate_task(some, embedder, options, kinds, dtype, cache) for some in tasks]
    for path, rows in questions:
        with task_bar(path.stem, "question") as show:
            results.append(evaluate_rag(path.stem, rows, embedder, asked, options, on_progress=show))
    if per_query is not None:
        write_items(per_query, results)
    if as_json:
        print(json.dumps([result.to_json(with_items=False) for result in results], ensure_ascii=False, allow_nan=False))
    else:
        print_results(results)


def _open_judge(url: str | None, model: str, cache: Path | None) -> Judge | None:
    from sememe.evaluation.rag.judge import Judge, JudgeOptions

    if url is None:
        if model or cache:
            raise InputError("--judge-model and --judge-cache need --judge, the address of an OpenAI-compatible API.")
        return None
    return Judge(JudgeOptions(url, model, os.environ.get("SEMEME_JUDGE_KEY"), cache))


def open_embedder(
    model: str,
    *,
    recipe: tuple[str, ...],
    device: str,
    backend: str,
    precision: str,
    offline: bool,
    cache: Path | None,
) -> TextEmbedder:
    """The model on this machine, or the server at an address. Raises NotFound, CheckpointError, InputError.

    A model that reads pairs is opened too; see `evaluating.open_scorer`.
    """
    if model.startswith(("http://", "https://")):
        from sememe.client.blocking import Client

        return Client(model, api_key=os.environ.get("SEMEME_API_KEY"))
    from sememe.engine import opening

    return opening.open_embedder(
        model,
        recipe,
        device=device,
        backend=backend,
        precision=precision,
        offline=offline,
        embedding_cache=cache,
    )


def read_cuts(text: str) -> tuple[int, ...]:
    """Whole numbers with commas between. Raises InputError."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--k is {text!r}; expected whole numbers such as 1,5,10.") from None


def _read_kind(text: str | None) -> TaskKind | None:
    from sememe.evaluation.records import TASK_KINDS

    if text is None:
        return None
    for kind in TASK_KINDS:
        if kind == text.replace("-", "_"):
            return kind
    raise InputError(f"--task {text!r} is unknown; expected one of {', '.join(TASK_KINDS)}.")
