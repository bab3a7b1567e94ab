"""`sememe load`: how a server holds when it is asked much."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from sememe.cli.evaluation_tables import write_text
from sememe.cli.options import JsonOption, OfflineOption, RecipeOption, is_offline, read_recipe
from sememe.errors import InputError
from sememe.evaluation.load.options import LoadOptions


def load(
    target: Annotated[
        str, typer.Argument(metavar="URL|MODEL", help="A server's address, or a model to serve for the run.")
    ],
    clients: Annotated[
        str | None,
        typer.Option(help="Closed loop: so many clients; 1,4,16 are stages, 1..32 a ramp.", show_default="8"),
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="Open loop: requests a second (Poisson); stages and ramps as with --clients.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Length of a stage.")] = LoadOptions.stage_seconds,
    requests: Annotated[
        int | None, typer.Option(min=1, help="A stage ends after so many, if not before.", show_default="no end")
    ] = LoadOptions.max_requests,
    objective_ms: Annotated[
        float, typer.Option(help="An answer within this is good (goodput).")
    ] = LoadOptions.objective_seconds * 1e3,
    data: Annotated[
        Path | None,
        typer.Option(help="Requests: text lines, or .jsonl with text, texts or input.", show_default="built-in mix"),
    ] = None,
    batch_size: Annotated[
        list[int] | None, typer.Option(min=1, help="Texts of a request; several are mixed evenly.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The name to ask for.", show_default="its first")
    ] = None,
    dialect: Annotated[str, typer.Option(help="openai or tei.")] = "openai",
    api_key_file: Annotated[Path | None, typer.Option(help="A file whose first line is the key.")] = None,
    pid: Annotated[
        int | None, typer.Option(help="The server's process.", show_default="who listens there, if here")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds for one request.")] = LoadOptions.timeout_seconds,
    max_connections: Annotated[int, typer.Option(min=1, help="Open loop: at most so many at once.")] = (
        LoadOptions.max_connections
    ),
    checks: Annotated[
        int, typer.Option(min=0, help="Requests taken at rest, to compare vectors under load with.")
    ] = LoadOptions.n_checked,
    seed: Annotated[int, typer.Option(help="Of arrivals and of the mix.")] = LoadOptions.seed,
    html: Annotated[Path | None, typer.Option(help="Write a page with charts.")] = None,
    precision: Annotated[str, typer.Option(help="Of a MODEL: auto, float32, bfloat16, float16 or int8.")] = "auto",
    recipe: RecipeOption = None,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put load on a server of embeddings: latencies, goodput, errors, and whether the vectors stay right."""
    from sememe.evaluation.load import asking, report
    from sememe.evaluation.load.address import read_address
    from sememe.evaluation.load.dialects import make_dialect
    from sememe.evaluation.load.mix import built_in_mix, read_mix
    from sememe.evaluation.load.options import read_levels
    from sememe.evaluation.load.own_server import own_server
    from sememe.evaluation.load.running import run_load
    from sememe.evaluation.load.watching import listening_process

    if clients is not None and rate is not None:
        raise InputError("Give --clients (closed loop) or --rate (open loop), not both.")
    if recipe and "://" in target:
        raise InputError(f"--recipe is for a MODEL that is served for the run; {target} runs already.")
    said = read_recipe(recipe, [target])
    options = LoadOptions(
        levels=read_levels("open", rate) if rate is not None else read_levels("closed", clients or "8"),
        stage_seconds=seconds,
        max_requests=requests,
        objective_seconds=objective_ms / 1e3,
        timeout_seconds=timeout,
        max_connections=max_connections,
        n_checked=checks,
        seed=seed,
    )
    mix = read_mix(data, seed, batch_size or ()) if data is not None else built_in_mix(seed, batch_size or ())
    key = _read_key(api_key_file) if api_key_file is not None else ""
    with ExitStack() as stack:
        url = target
        if "://" not in target:
            print(f"serving {target} for this run", file=sys.stderr)
            more = [option for word in said for option in ("--recipe", word)]
            more += ["--offline"] if is_offline(offline) else []
            server = stack.enter_context(own_server([target, "--precision", precision, *more]))
            url, pid, model = server.url, server.pid, model or target
        path = make_dialect(dialect, "").path
        address = read_address(url, path, key)
        if model is None:
            model = asking.first_model(address) if dialect == "openai" else "the one it has"
        if pid is None and address.is_loopback:
            pid = listening_process(address.port)
        result = run_load(address, make_dialect(dialect, model), model, mix, options, pid)
    if html is not None:
        write_text(html, report.to_html(result))
        print(f"charts: {html}", file=sys.stderr)
    print(json.dumps(report.to_json(result)) if as_json else "\n".join(report.lines(result)))
    sys.stdout.flush()
    if result.interrupted:
        raise typer.Exit(130)


def _read_key(file: Path) -> str:
    try:
        return file.read_text("utf-8").split()[0]
    except (OSError, UnicodeDecodeError, IndexError) as exc:
        raise InputError(f"The file of the API key {file} cannot be read, or is empty.") from exc
