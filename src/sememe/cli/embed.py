"""`sememe embed`: texts in files → a vector file."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sememe.cli.options import (
    DEFAULT_MODEL,
    BackendOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    OfflineOption,
    PrecisionOption,
    RecipeOption,
    is_offline,
    read_recipe,
)
from sememe.records import EmbedOptions, Output, OutputDtype, Role
from sememe.tables.options import EmbedJob, EncodingErrors, InputFormat, Keep, ReadOptions


class Kind(StrEnum):
    """The kinds of vectors, as the command line writes them."""

    DENSE = "dense"
    SPARSE = "sparse"
    MULTI_VECTOR = "multi-vector"

    @property
    def output(self) -> Output:
        return "multi_vector" if self is Kind.MULTI_VECTOR else self.value  # type: ignore[return-value]  # the others


def embed(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE…",
            help="Texts: .txt (one a line), .jsonl, .csv, .tsv, .parquet, .arrow; - is standard input.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Vectors: .npy, .npz, .jsonl, .parquet or .arrow.", show_default=False)
    ],
    model: ModelOption = DEFAULT_MODEL,
    recipe: RecipeOption = None,
    role: Annotated[Role | None, typer.Option("--role", help="Apply the model's prompt for this role.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Put this text before each input.")] = None,
    prompt_name: Annotated[str | None, typer.Option(help="Apply the model's prompt of this name.")] = None,
    dimensions: Annotated[int | None, typer.Option(min=1, help="Keep the first so many values.")] = None,
    normalize: Annotated[
        bool | None,
        typer.Option("--normalize/--no-normalize", help="Give vectors length 1.", show_default="as the model says"),
    ] = EmbedOptions.normalize,
    dtype: Annotated[OutputDtype, typer.Option(help="Type of the values.")] = EmbedOptions.dtype,
    output: Annotated[
        list[Kind] | None, typer.Option(help="Kind of vectors; may be given several times.", show_default="dense")
    ] = None,
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    device: DeviceOption = "auto",
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Read so many tokens of a text at most.")] = None,
    truncate: Annotated[
        bool, typer.Option("--truncate/--no-truncate", help="Cut longer texts, or stop at the first.")
    ] = EmbedOptions.truncate,
    text_column: Annotated[
        str | None, typer.Option(help="Where the texts stand.", show_default="text, sentence, content, …")
    ] = ReadOptions.text_column,
    id_column: Annotated[
        str | None, typer.Option(help="Where row ids stand.", show_default="id, _id, … where only ids are kept")
    ] = ReadOptions.id_column,
    keep_columns: Annotated[
        Keep, typer.Option(help="Columns of the input that the output gets too.")
    ] = ReadOptions.keep,
    embedding_column: Annotated[str, typer.Option(help="Name of the column of vectors.")] = EmbedJob.column,
    format: Annotated[
        InputFormat | None, typer.Option(help="Format of the input.", show_default="by the ending; text for -")
    ] = ReadOptions.format,
    encoding_errors: Annotated[
        EncodingErrors, typer.Option(help="What bytes that are not UTF-8 do.")
    ] = ReadOptions.encoding_errors,
    window: Annotated[
        int, typer.Option(min=1, help="Rows for the model at once; an interruption costs no more.")
    ] = EmbedJob.window_rows,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output, and drop what another job has left.")
    ] = EmbedJob.overwrite,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Embed the texts of files into a vector file. Interrupted and run again, it goes on where it was."""
    from sememe.cli.embed_messages import Bar, say_interrupted, say_report
    from sememe.tables.job import PreparedJob

    job = EmbedJob(
        inputs=tuple(files),
        out=out,
        embed=EmbedOptions(
            role=role,
            prompt_name=prompt_name,
            prompt=prompt,
            dimensions=dimensions,
            normalize=normalize,
            dtype=dtype,
            truncate=truncate,
            max_tokens=max_tokens,
            outputs=tuple(kind.output for kind in output or [Kind.DENSE]),
        ),
        read=ReadOptions(
            format=format,
            text_column=text_column,
            id_column=id_column,
            keep=keep_columns,
            encoding_errors=encoding_errors,
        ),
        column=embedding_column,
        overwrite=overwrite,
        window_rows=window,
    )
    try:
        said = read_recipe(recipe, [model])
        prepared = PreparedJob(job)  # before the model is brought and loaded, which takes time
        from sememe.engine.opening import open_embedder
        from sememe.tables.running import run_job

        embedder = open_embedder(
            model, said, device=device, backend=backend, precision=precision, offline=is_offline(offline)
        )
        with Bar(quiet) as bar:
            report = run_job(prepared, embedder, bar.show)
    except KeyboardInterrupt:
        say_interrupted(out)
        raise typer.Exit(130) from None
    if not quiet:
        say_report(report)
    if as_json:
        print(json.dumps(asdict(report), ensure_ascii=False))
        sys.stdout.flush()
