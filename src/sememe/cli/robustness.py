"""`sememe robustness`: whether a model minds how a question is written."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from sememe.cli.evaluation_tables import write_text
from sememe.cli.options import (
    BackendOption,
    DeviceOption,
    JsonOption,
    OfflineOption,
    PrecisionOption,
    RecipeOption,
    is_offline,
    read_recipe,
)


def robustness(
    model: Annotated[str, typer.Argument(help="A folder, id or short name.", show_default=False)],
    data: Annotated[
        list[Path], typer.Option(help="Retrieval data (BEIR folder); may be given several times.", show_default=False)
    ],
    recipe: RecipeOption = None,
    change: Annotated[list[str] | None, typer.Option(help="Only this change; may be given several times.")] = None,
    split: Annotated[str | None, typer.Option(help="Which split to test.", show_default="test")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="So many queries of each set, evenly spaced.")] = None,
    prompts: Annotated[bool, typer.Option("--prompts/--no-prompts", help="With the model's prompts.")] = True,
    seed: Annotated[int, typer.Option(help="Of the changes and the tests.")] = 0,
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    device: DeviceOption = "auto",
    offline: OfflineOption = False,
    html: Annotated[Path | None, typer.Option(help="Write a page with charts.")] = None,
    as_json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Ask the same with typos, other case, spaces, digits, length, negation: how far scores and rankings move."""
    from sememe.cli.evaluation_data import read_data
    from sememe.cli.status import StatusLine
    from sememe.engine.opening import open_embedder
    from sememe.evaluation.datasets.options import DataOptions
    from sememe.evaluation.options import VectorOptions
    from sememe.evaluation.robustness import report
    from sememe.evaluation.robustness.running import RobustnessOptions, retrieval_tasks, run_robustness

    said = read_recipe(recipe, [model])
    options = RobustnessOptions(seed=seed, changes=tuple(change or ()))
    read = DataOptions(split=split, limit=limit)
    tasks = retrieval_tasks([task for path in data for task in read_data(path, read)])  # before any model is loaded
    with StatusLine(quiet) as status:
        status.show(f"loading {model}")
        embedder = open_embedder(
            model, said, device=device, backend=backend, precision=precision, offline=is_offline(offline)
        )
        vectors = VectorOptions(prompts=prompts, similarity=embedder.similarity_fn_name)
        options = RobustnessOptions(seed=seed, changes=options.changes, vectors=vectors)
        found = run_robustness(tasks, embedder, options, status.show)
    if html is not None:
        write_text(html, report.to_html(found))
        print(f"charts: {html}", file=sys.stderr)
    print(json.dumps(report.to_json(found), ensure_ascii=False) if as_json else "\n".join(report.lines(found)))
