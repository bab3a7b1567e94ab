"""`sememe mteb`: mteb's own tasks with a model of ours, in mteb's own results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

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


def mteb(
    model: Annotated[str, typer.Argument(help="A folder, an id on the hub, or a short name.")],
    task: Annotated[
        list[str], typer.Option("--task", "-t", help="A task's name; may be repeated.", show_default=False)
    ],
    recipe: RecipeOption = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Results are written below this folder.")] = Path("results"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Run tasks that have a result there again.")] = False,
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    device: DeviceOption = "auto",
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run tasks of mteb (extra `eval`); its data come from the hub, its results are in its own format."""
    from sememe.engine.opening import open_embedder
    from sememe.evaluation.mteb_encoder import MtebEncoder, run_mteb

    said = read_recipe(recipe, [model])
    embedder = open_embedder(
        model, said, device=device, backend=backend, precision=precision, offline=is_offline(offline)
    )
    encoder = MtebEncoder(embedder, name=embedder.loaded.found.name, similarity_name=embedder.similarity_fn_name)
    results = run_mteb(encoder, task, out, overwrite=overwrite)
    if as_json:
        print(json.dumps([result.model_dump(mode="json") for result in results], ensure_ascii=False))
        return
    for result in results:
        print(f"{result.task_name}\t{result.get_score():.4f}")
