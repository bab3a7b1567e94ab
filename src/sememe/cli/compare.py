"""`sememe compare`: which model, in which form, on your own data."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from sememe.cli.options import JsonOption, OfflineOption, RecipeOption, is_offline, read_recipe
from sememe.errors import InputError
from sememe.evaluation.compare.options import STORED_DTYPES, CompareOptions, StoredDtype

_PROMPTS = {"on": True, "off": False}


def compare(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL…", help="Folders, ids or short names.", show_default=False)
    ],
    data: Annotated[
        list[Path],
        typer.Option(help="Evaluation data, as for sememe evaluate; may be given several times.", show_default=False),
    ],
    recipe: RecipeOption = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the reports, and of what the next run goes on with.")
    ] = Path("sememe-compare"),
    dimensions: Annotated[str | None, typer.Option(help="Widths, as 64,256,full.", show_default="full")] = None,
    dtype: Annotated[str, typer.Option(help=f"How vectors are kept: {', '.join(STORED_DTYPES)}.")] = "float32",
    precision: Annotated[str, typer.Option(help="Computed in, as float32,bfloat16,int8.")] = "auto",
    prompt: Annotated[str, typer.Option(help="With the model's prompts: on, off, or on,off.")] = "on",
    baselines: Annotated[
        bool, typer.Option("--baselines/--no-baselines", help="BM25, and its fusion with each embedding.")
    ] = CompareOptions.baselines,
    language: Annotated[str | None, typer.Option(help="Of BM25's stemmer, as en.", show_default="none")] = None,
    split: Annotated[str | None, typer.Option(help="Which split to test.", show_default="test")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="So many queries of each set, evenly spaced.")] = None,
    price_per_hour: Annotated[float | None, typer.Option(help="What this machine costs, for prices.")] = None,
    currency: Annotated[str, typer.Option(help="Of the price.")] = CompareOptions.currency,
    tolerance: Annotated[
        float, typer.Option(help="What the recommended system may lose to the best, with 95 % confidence.")
    ] = CompareOptions.tolerance,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Compare models on your data: quality with tests, speed, memory, size, price; what to take, and why.

    Writes report.html, report.md and report.json. Interrupted and run again, it goes on where it was.
    """
    from sememe.cli.evaluation_data import read_data
    from sememe.cli.status import StatusLine
    from sememe.engine.precision import read_precision
    from sememe.evaluation.compare import report
    from sememe.evaluation.compare.running import run_comparison
    from sememe.evaluation.datasets.options import DataOptions

    options = CompareOptions(
        models=tuple(models),
        recipe=read_recipe(recipe, models),
        data=tuple(data),
        folder=out,
        dimensions=_read_widths(dimensions),
        dtypes=tuple(_read_dtype(name) for name in _listed(dtype)),
        precisions=tuple(read_precision(name) for name in _listed(precision)),
        prompts=tuple(_read_prompt(name) for name in _listed(prompt)),
        baselines=baselines,
        language=language,
        read=DataOptions(split=split, limit=limit),
        price_per_hour=price_per_hour,
        currency=currency,
        tolerance=tolerance,
        offline=is_offline(offline),
    )
    try:
        with StatusLine(quiet) as status:
            found = run_comparison(options, read_with=read_data, say=status.show)
    except KeyboardInterrupt:
        print(f"interrupted; the same command goes on with what {out} holds", file=sys.stderr)
        raise typer.Exit(130) from None
    text = json.dumps(report.to_json(found), ensure_ascii=False)
    markdown = report.to_markdown(found)
    for name, content in (
        ("report.html", report.to_html(found, options.n_shown_queries)),
        ("report.md", markdown),
        ("report.json", text),
    ):
        part = out / f"{name}.part"
        part.write_text(content, "utf-8")
        part.replace(out / name)
    print(text if as_json else markdown)
    if not quiet:
        print(f"report: {out / 'report.html'}", file=sys.stderr)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _read_widths(text: str | None) -> tuple[int | None, ...]:
    try:
        return tuple(None if part == "full" else int(part) for part in _listed(text or "full"))
    except ValueError as exc:
        raise InputError(f"Dimensions are {text!r}; expected whole numbers and `full`, as 64,256,full.") from exc


def _read_dtype(name: str) -> StoredDtype:
    for known in STORED_DTYPES:
        if name == known:
            return known
    raise InputError(f"dtype {name!r} is not one of {', '.join(STORED_DTYPES)}.")


def _read_prompt(name: str) -> bool:
    if name not in _PROMPTS:
        raise InputError(f"prompt {name!r} is not one of on, off.")
    return _PROMPTS[name]
